"""Plants changes in a clone of this repository and counts how often ``xbench check --against`` finds them.

    python tests/trials/planted_cases.py --trials 30

Each trial is a whole check, as a user would run it, against the commit before the plant. What is done is kept in
results/reports/gate-trials.jsonl; the same command goes on from there. The table goes into results/reports/gate.md.
Times want a machine that does nothing else.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "results" / "reports" / "gate.md"
KEPT = ROOT / "results" / "reports" / "gate-trials.jsonl"
SLOWER = 0.10
EXACT_TRIALS = 3  # what is exact repeats

BLOCK = 'attn = ["xfa"]\nsize = "xxs"\nres = [128]\nthreads = [1]\n'
TIMED = BLOCK + 'level = ["block"]\nmetrics = ["throughput"]\n'
EXACT = BLOCK + 'level = ["op", "block", "model"]\ntokens = [64]\nmetrics = ["params", "macs", "peak_memory"]\n'

# Places in the code that plants go before or after.
LAYERS, XFA = "xbench/models/layers.py", "attention_variants/xfa.py"
BLOCK_INIT = "        self.conv_kxk = ConvNormAct(chs, chs, 3)\n"
BLOCK_FORWARD = "        # x: [B, chs, H, W]\n        shortcut"
ATTENTION_FORWARD = "        q, context, feature = self.scores(x, grid)\n        weights"
EXTRA_WORK = "        for _ in range({units}):\n            {work}\n"
WORK = "torch.ones(48, 48) @ torch.ones(48, 48)"


@dataclass(frozen=True)
class Plant:
    """``text`` goes before ``place`` in ``file``; ``metric`` is to tell of it in a check of ``study``.

    ``least`` and ``most`` are the shares of checks that may fail.
    """

    name: str
    study: str
    metric: str
    file: str
    place: str
    text: str
    least: float = 1.0
    most: float = 1.0

    @property
    def timed(self) -> bool:
        return self.study == TIMED


HELD = "        held = x.new_empty(1)\n"
MAC = "        x.flatten()[:1, None] @ x.flatten()[None, :1]\n"
PARAMETER = "        self.planted = nn.Parameter(torch.zeros(1))\n"
PLANTS = [
    Plant("nothing", TIMED, "throughput", LAYERS, BLOCK_FORWARD, "", least=0.0, most=1 / 30),
    Plant("10 % more time", TIMED, "throughput", LAYERS, BLOCK_FORWARD, EXTRA_WORK, least=28 / 30),
    Plant("4 bytes that the attention holds", EXACT, "peak_memory", XFA, ATTENTION_FORWARD, HELD),
    Plant("a multiply–accumulate in the block", EXACT, "macs", LAYERS, BLOCK_FORWARD, MAC),
    Plant("a multiply–accumulate in the attention, unstated", EXACT, "macs", XFA, ATTENTION_FORWARD, MAC),
    Plant("a parameter in the block", EXACT, "params", LAYERS, BLOCK_INIT, PARAMETER),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="checks of each planted time; the exact ones get 3")
    parser.add_argument("--kept", type=Path, default=KEPT, help="file of the trials so far")
    parser.add_argument("--report", type=Path, default=REPORT, help="file for the table")
    asked = parser.parse_args()
    done = read(asked.kept)
    for trial in range(asked.trials):
        for plant in PLANTS:
            wanted = asked.trials if plant.timed else min(asked.trials, EXACT_TRIALS)
            if trial < wanted and sum(one["plant"] == plant.name for one in done) <= trial:
                done.append(run_trial(plant))
                keep(asked.kept, done[-1])
                asked.report.write_text(report(done), encoding="utf-8")
    asked.report.write_text(report(done), encoding="utf-8")
    if not all(met(plant, of(plant, done)) for plant in PLANTS):
        sys.exit(1)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def keep(path: Path, trial: dict) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(trial) + "\n")
    print(json.dumps(trial), flush=True)


def run_trial(plant: Plant) -> dict:
    """One check in a fresh clone with the plant committed."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "clone")
        git("clone", "--quiet", str(ROOT), str(clone))
        file = clone / plant.file
        code = file.read_text(encoding="utf-8")
        assert code.count(plant.place) == 1, f"{plant.file} has changed; mend this script"
        text = plant.text
        if text == EXTRA_WORK:
            text = EXTRA_WORK.format(units=units_of_work(clone), work=WORK)
        file.write_text(code.replace(plant.place, text + plant.place), encoding="utf-8")
        git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--allow-empty", "-am", "plant", at=clone)
        (clone / "planted.toml").write_text(plant.study, encoding="utf-8")
        began, load = time.monotonic(), os.getloadavg()[0]
        command = [sys.executable, "-P", "-m", "xbench", "check", "planted.toml", "--against", "HEAD~1"]
        done = subprocess.run(
            [*command, "--json-file", "check.json"], cwd=clone, env=environment(clone), capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        assert done.returncode in (0, 1), done.stderr
        found = json.loads((clone / "check.json").read_text(encoding="utf-8"))
    findings = [one for one in found["findings"] if one["metric"] == plant.metric]
    others = [one for one in found["findings"] if one["metric"] != plant.metric and one["verdict"] == "FAIL"]
    failing = [one for one in findings if one["verdict"] == "FAIL"]
    told = (failing or findings)[0]
    times = [told[key]["value"] for key in ("times", "again") if told[key]]
    return {
        "plant": plant.name,
        "verdict": told["verdict"],
        "reason": told["reason"],
        "times": times,
        "also": sorted({one["metric"] for one in others}),
        "exit": done.returncode,
        "seconds": round(seconds, 1),
        "load": round(load, 1),
    }


def units_of_work(clone: Path) -> int:
    """How often the extra work makes a tenth of the block's time, measured in turns in one process of its own."""
    asked = subprocess.run(
        [sys.executable, "-P", __file__, "units"], env=environment(clone), capture_output=True, text=True, check=True
    )
    return int(asked.stdout)


def measure_units() -> None:
    """Tries the block with so much work before it, until that makes a tenth."""
    import torch

    from xbench.study.request import StudyRequest, make_study
    from xbench.worker.subject import Subject

    case = next(make_study(StudyRequest(["xfa"], [128], level=["block"], size="xxs", threads=[1])).cases())
    step = Subject(case, []).step()
    exec(f"def work(units):\n{EXTRA_WORK.format(units='units', work=WORK)}", {"torch": torch}, names := {})

    def seconds(units):
        began = time.perf_counter()
        for _ in range(10):
            with torch.inference_mode():
                names["work"](units)
            step()
        return time.perf_counter() - began

    units = 10
    for _ in range(3):
        ratios = [seconds(units) / seconds(0) for _ in range(150)]
        units = max(1, round(units * SLOWER / max(0.02, statistics.median(ratios[10:]) - 1)))
    print(units)


def environment(clone: Path) -> dict[str, str]:
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    heap = {"MALLOC_MMAP_THRESHOLD_": str(2**40), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    return {**os.environ, **quiet, **heap, "PYTHONPATH": str(clone)}


def git(*arguments: str, at: Path = ROOT) -> None:
    subprocess.run(["git", *arguments], cwd=at, check=True, capture_output=True)


def of(plant: Plant, done: Sequence[dict]) -> list[dict]:
    return [one for one in done if one["plant"] == plant.name]


def met(plant: Plant, trials: Sequence[dict]) -> bool:
    share = sum(one["verdict"] == "FAIL" for one in trials) / len(trials) if trials else math.nan
    return plant.least <= share <= plant.most


def report(done: Sequence[dict]) -> str:
    rows = [HEADS, ["---", *["---:"] * (len(HEADS) - 1)]]
    for plant in PLANTS:
        if trials := of(plant, done):
            counts = [sum(one["verdict"] == verdict for one in trials) for verdict in ("FAIL", "INCONCLUSIVE", "PASS")]
            first = [one["times"][0] for one in trials if one["times"]]
            spread = f"{statistics.mean(first):.3f}, {min(first):.3f} to {max(first):.3f}" if first else ""
            expected = f"{plant.least:.0%} to {plant.most:.0%}" if plant.least != plant.most else "always"
            seconds, load = (statistics.median(one[key] for one in trials) for key in ("seconds", "load"))
            holds = "yes" if met(plant, trials) else "no"
            rows.append(
                [
                    plant.name,
                    str(len(trials)),
                    *map(str, counts),
                    expected,
                    holds,
                    spread,
                    f"{seconds:.0f}",
                    f"{load:.1f}",
                ]
            )
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return TEXT.format(table=table, timed=TIMED, exact=EXACT)


HEADS = ["planted", "checks", "FAIL", "INCONCLUSIVE", "PASS", "to fail", "holds", "times as long", "s a check", "load"]
TEXT = """\
# Does the gate find what is planted, and nothing else?

`python tests/trials/planted_cases.py` commits a change into a clone of this repository and runs
`xbench check --against HEAD~1` there, as a user would. A verdict is that on the metric which is to tell; "times as
long" is the mean of the first runs and their range, "load" what else the machine was doing when a check began (load
average, median).

{table}

The planted time is a loop of small matrix products in the block's forward pass, as many as measure a tenth of it.
Of equals at most one check in thirty may fail, and of the slow-downs at most two may be missed.

Times are checked with the study

```toml
{timed}```

and what is exact with

```toml
{exact}```

An allocation shows in peak memory where the peak is: what an attention holds shows when it stands alone (level op), and
need not show in a whole model, whose peak may lie elsewhere.
"""

if __name__ == "__main__":
    if sys.argv[1:] == ["units"]:
        measure_units()
    else:
        main()
