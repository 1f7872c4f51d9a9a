"""Kills controllers, workers and both at random moments of what takes time, and counts what that cost.

    python tests/trials/kill_trials.py [--kills 104] [--verbs …] [--seed 0] [--at-once 1]
        [--report results/reports/kills.md]

A hundred take about an hour on two cores. Of every verb one run is left alone first: how long what is timed lasts, and
what a whole run leaves. Each trial is a run in a folder of its own, killed at a moment drawn from that time; then the
same command runs again. The report is renewed after each, so one that is ended early says of how many it is. Where
something was lost or left, the folder is kept and named.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from killed_runs import EPOCHS, VERBS, Run

from xbench.records.provenance import commit, machine

VICTIMS = ("controller", "worker", "both")
ENDINGS = {"compare": {0}, "sweep": {0}, "train": {0}, "check": {0, 1}}  # on a loaded machine a check may fail
PATIENCE = 600.0
COUNTS = ("lost", "twice", "processes", "worktrees", "temporary", "files")


def wait_until(there: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@dataclass
class Alone:
    """What a run that nobody kills takes and leaves."""

    seconds: float
    launches: int
    files: set[str]
    temporary: set[str]
    weights: str


def complete_launches(records: list[dict[str, Any]]) -> int:
    """Launches of which every arm has a time."""
    timed = [record for record in records if record["metric"] == "throughput"]
    arms = {record["case"]["arm"] for record in timed}
    found = Counter((record["run"], record["launch"]) for record in timed)
    return sum(count == len(arms) for count in found.values())


def measured_twice(run: Run, alone: Alone) -> int:
    """Figures that are the same each time and are there more than once, and launches beyond those that were planned."""
    records = [json.loads(line) for line in (run.folder / "records.jsonl").read_bytes().splitlines()]
    records = [record for record in records if record["case"] and record["status"] == "ok"]
    exact = Counter(
        (record["metric"], json.dumps(record["case"], sort_keys=True)) for record in records if not record["launch"]
    )
    return sum(count - 1 for count in exact.values()) + max(0, complete_launches(records) - alone.launches)


def weights_of(run: Run) -> str:
    config = run.folder / "config.json"
    return json.loads(config.read_text())["weights_sha256"] if config.exists() else ""


def left_alone(verb: str, place: Path) -> Alone:
    run = Run(verb, place)
    process = run.start()
    wait_until(lambda: run.timed() or process.poll() is not None, "the run never came to what is timed")
    began = time.monotonic()
    code = process.wait(PATIENCE)
    assert code in ENDINGS[verb], (run.place / "said.txt").read_text()
    records = run.records() if verb != "train" else []
    temporary = run.temporaries()  # torch keeps a folder of its own there
    assert not [name for name in temporary if name.startswith("xbench-")], temporary
    return Alone(time.monotonic() - began, complete_launches(records), run.files(), temporary, weights_of(run))


def kill(run: Run, process: subprocess.Popen, victim: str, dice: random.Random) -> bool:
    """Whether there was still somebody to kill."""
    killed = False
    while not killed and process.poll() is None:
        workers = run.workers() if victim != "controller" else []
        for worker in [dice.choice(workers)] if victim == "worker" and workers else workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
                killed = True
        if victim != "worker":
            process.send_signal(signal.SIGKILL)
            killed = True
    return killed


def trial(verb: str, victim: str, place: Path, alone: Alone, dice: random.Random) -> Counter[str] | None:
    """What a kill cost; None where the run was over before it came."""
    run = Run(verb, place)
    process = run.start()
    wait_until(lambda: run.timed() or process.poll() is not None, "the run never came to what is timed")
    time.sleep(dice.uniform(0, alone.seconds))
    before, epochs = run.lines(), run.epochs() if verb == "train" else 0
    if not kill(run, process, victim, dice):
        return None
    process.wait(PATIENCE)
    counts: Counter[str] = Counter(kills=1)
    counts["bad ends"] += "Traceback" in (run.place / "said.txt").read_text()
    end = time.monotonic() + 20
    while run.processes() and time.monotonic() < end:
        time.sleep(0.05)
    counts["processes"] += _end(run)
    code = run.start().wait(PATIENCE)
    said = (run.place / "said.txt").read_text()
    counts["bad ends"] += code not in ENDINGS[verb] or "Traceback" in said
    counts["processes"] += _end(run)
    if verb == "train":
        again = said.count("\nepoch ") + said.startswith("epoch ")
        counts["lost"] += max(0, again - (EPOCHS - epochs)) + (run.epochs() != EPOCHS)
        counts["other weights"] += weights_of(run) != alone.weights
    else:
        after = Counter(run.lines())
        counts["lost"] += sum((Counter(before) - after).values()) + (complete_launches(run.records()) < alone.launches)
        counts["twice"] += measured_twice(run, alone)
    counts["worktrees"] += run.shell("git", "worktree", "list").count("\n") - 1
    counts["temporary"] += len(run.temporaries() - alone.temporary)
    counts["files"] += len({name for name in run.files() - alone.files if not name.startswith("rerun")})
    return counts


def _end(run: Run) -> int:
    """Ends what has been left, and says how many processes that were."""
    left = run.processes()
    for process in left:
        process.kill()
    return len(left)


def plan(kills: int, verbs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Verbs in turn, with each victim in turn. A training of its own has no workers."""
    for number in range(kills):
        verb = verbs[number % len(verbs)]
        yield verb, "controller" if verb == "train" else VICTIMS[number // len(verbs) % len(VICTIMS)]


def table(counts: dict[tuple[str, str], Counter[str]]) -> str:
    names = ["kills", *COUNTS, "other weights", "bad ends"]
    heads = ["verb", "killed", "kills", "finished records lost", "cells measured twice", "processes left"]
    heads += ["worktrees left", "temporary folders left", "files left", "other weights", "bad ends"]
    rows = [[verb, victim, *(str(counts[verb, victim][name]) for name in names)] for verb, victim in sorted(counts)]
    total: Counter[str] = Counter()
    for one in counts.values():
        total.update(one)
    rows.append(["all", "", *(str(total[name]) for name in names)])
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


REPORT = """# Kills at random moments

{kills} times SIGKILL, each in a run of its own, at a moment drawn evenly from the time between the first launch, or
the first epoch, and the end; then the same command again, which has to finish with a whole run. **{found}**

{table}

Lost is a record that was on disk before the kill and is not there after, a launch that is missing in the end, an
epoch that is trained again though it was on disk. Twice is measured an exact figure that stands there twice, and a
launch more than was asked for. A process is left that outlives its controller by 20 seconds; a file, that a run left
alone does not leave. Other weights are those of a training that did not end as one that nobody killed. A bad end is
an exit code other than that of a whole run, or a traceback. A training runs in one process, which is the controller.

| verb | command | seconds that moments are drawn from |
| --- | --- | --- |
{commands}

On {where}, commit {commit}, as `python tests/trials/kill_trials.py --kills {kills} --verbs {verbs} --seed {seed}
--at-once {at_once}`.
"""


def faults_of(found: Counter[str]) -> int:
    return found.total() - found["kills"]


def report(counts: dict[tuple[str, str], Counter[str]], alone: dict[str, Alone], asked: argparse.Namespace) -> str:
    kills, faults = sum(one["kills"] for one in counts.values()), sum(map(faults_of, counts.values()))
    place = machine("cpu")
    rows = [f"| {verb} | `xbench {' '.join(VERBS[verb])}` | {whole.seconds:.0f} |" for verb, whole in alone.items()]
    return REPORT.format(
        kills=kills,
        found=f"{faults} faults." if faults else "Nothing was lost, measured twice or left.",
        table=table(counts),
        commands="\n".join(rows),
        where=f"{place['cpu']}, {place['physical_cores']} cores, {place['system']}, torch {torch.__version__}",
        commit=commit(),
        seed=asked.seed,
        at_once=asked.at_once,
        verbs=" ".join(asked.verbs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=104)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--report", type=Path, help="also write the table here")
    parser.add_argument("--at-once", type=int, default=1, help="trials side by side, on a machine that is then busy")
    asked = parser.parse_args()
    alone = {verb: in_a_folder(lambda place, verb=verb: left_alone(verb, place)) for verb in asked.verbs}
    counts: dict[tuple[str, str], Counter[str]] = {}

    def one(number: int, verb: str, victim: str) -> tuple[str, str, Counter[str]]:
        dice = random.Random(f"{asked.seed} {number}")
        found = None
        while found is None:
            found = in_a_folder(lambda place: trial(verb, victim, place, alone[verb], dice))
        return verb, victim, found

    with ThreadPoolExecutor(asked.at_once) as pool:
        running = [pool.submit(one, number, *what) for number, what in enumerate(plan(asked.kills, asked.verbs))]
        for done in as_completed(running):
            verb, victim, found = done.result()
            print(verb, victim, dict(found), flush=True)
            counts.setdefault((verb, victim), Counter()).update(found)
            if asked.report:
                asked.report.write_text(report(counts, alone, asked), encoding="utf-8")
    print(table(counts))


def in_a_folder(do: Callable[[Path], Any]) -> Any:
    """What it gives in a folder of its own, which stays where a trial shows a fault."""
    folder = Path(tempfile.mkdtemp()).resolve()
    found = do(folder)
    if isinstance(found, Counter) and faults_of(found):
        print("kept in", folder)
    else:
        shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    main()
