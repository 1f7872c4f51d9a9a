"""Makes a great many records of plausible studies, has every reader read them, and says what each took.

    python tests/trials/load_trial.py [records] [verb …]

Heaps of so many records each, in folders of their own: a "deep" run with many launches, a "broad" one with many sets of
conditions, a sweep on "paper" with still more, and "many", a history of a hundred narrow runs. Processor time and
memory are those of the verb's process as the kernel counts them, so a machine that is shared does not disturb.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice, product
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from made_records import CONTROL, LINEAR, QUADRATIC, MadeArm, exact, place, timed

from xbench.files.run_folders import RUNS
from xbench.records.provenance import commit
from xbench.records.record import Record
from xbench.study.conditions import Conditions

RECORDS = 100_000
HISTORY = 100  # runs
# Limits that every verb has to stay within, at the default number of records.
CPU_SECONDS, MIB = 20.0, 1024.0

POWERS = [1.0 + 0.1 * i for i in range(9)]
ARMS = [QUADRATIC, LINEAR, *(MadeArm(f"xfa:rank={i + 2}", p, 6e-6 / 2**i, attn="xfa") for i, p in enumerate(POWERS))]
SIZES = (128, 256, 384, 512, 768, 1024, 1536)
FACTS = {"machine": {"cpu": "Some CPU", "physical_cores": 2, "memory_mib": 8192, "system": "Linux"}}
FACTS |= {"versions": {"xbench": "0.1.0", "torch": "2.14.1"}, "commit": commit()}


def deep() -> Iterator[Record]:
    """Arms at 252 sets of conditions, ten launches each."""
    for where in _places(SIZES, (1, 2, 8), (1, 2)):
        for arm in [*ARMS, CONTROL]:
            yield from exact(arm, where)
            yield from timed(arm, where, launches=10)


def broad() -> Iterator[Record]:
    """Five arms and a control at 1,300 sets of conditions, three launches each."""
    for where in _places(range(128, 2048, 96), (1, 2, 4, 8, 16, 32), (1, 2, 4)):
        for arm in [*ARMS[:5], CONTROL]:
            yield from exact(arm, where)
            yield from timed(arm, where, launches=3)


def paper() -> Iterator[Record]:
    """What is counted without a run, at 3,000 sets of conditions."""
    for where in _places(range(128, 2048, 32), (1, 2, 4, 8, 16, 32, 64, 128), (1, 2, 4)):
        for arm in ARMS:
            yield from exact(arm, where, ("params", "macs", "predicted_memory"))


def _places(sizes: Iterable[int], batches: Sequence[int], threads: Sequence[int]) -> Iterator[Conditions]:
    axes = product(batches, (1, 2, 4), ("fp32", "bf16"), threads, sizes)
    for batch, patch, dtype, count, size in axes:
        yield place(size, patch_size=patch, batch=batch, dtype=dtype, threads=count)


def narrow(run: int, records: int) -> Iterator[Record]:
    """A run of a history."""
    found = (record for size in SIZES for arm in ARMS for record in _narrow(arm, place(size), run))
    return islice(found, records)


def _narrow(arm: MadeArm, where: Conditions, run: int) -> list[Record]:
    return [*exact(arm, where), *timed(arm, where, launches=3, seed=run)]


def write(path: Path, records: Iterator[Record], **fields) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            key = f"{record.case['arm']}{record.case['img_size']}"
            file.write(json.dumps(asdict(replace(record, key=key, **FACTS, **fields))) + "\n")


def make(folder: Path, records: int) -> None:
    for heap in (deep, broad, paper):
        name, found = heap.__name__, islice(heap(), records)
        write(folder / name / RUNS / name / "records.jsonl", found, time="2026-01-02T03:04:05+00:00", run=name)
    for run in range(HISTORY):
        time = f"2026-02-{1 + run // 24:02}T{run % 24:02}:00:00+00:00"
        ledger = folder / "many" / RUNS / f"{run:03}" / "records.jsonl"
        write(ledger, narrow(run, records // HISTORY), time=time, run=f"run{run}")


# By what is said of it: the heap, and what is called there.
VERBS = {f"list {heap}": (heap, ["show"]) for heap in ("deep", "many")}
for heap in ("deep", "broad", "paper"):
    VERBS[f"show {heap}"] = heap, ["show", heap]
    VERBS[f"report {heap}"] = heap, ["report", heap, "-o", "report.html"]
for form in ("pytest-benchmark", "bmf", "asv"):
    VERBS[f"export {form}"] = "broad", ["export", "broad", "--format", form, "-o", f"out-{form}"]
VERBS["history of 100 runs"] = "many", ["history", "-o", "charts"]
VERBS["history of one run"] = "broad", ["history", "broad", "-o", "charts"]


def measure(verb: list[str], folder: Path) -> tuple[int, float, float]:
    """Exit code, seconds of processor time and peak MiB of a verb in a process of its own."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
        os.execv(sys.executable, [sys.executable, "-m", "xbench", *verb])
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    asked = sys.argv[2:] or list(VERBS)
    beyond = False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, records)
        print(f"| {records:,} records: verb | exit code | CPU seconds | peak MiB |\n| --- | --- | --- | --- |")
        for name in asked:
            heap, verb = VERBS[name]
            code, seconds, mib = measure(verb, folder / heap)
            print(f"| {name} | {code} | {seconds:.1f} | {mib:,.0f} |", flush=True)
            beyond |= code != 0 or seconds > CPU_SECONDS or mib > MIB
    sys.exit(beyond)


if __name__ == "__main__":
    main()
