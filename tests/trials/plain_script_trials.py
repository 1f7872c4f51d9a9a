"""Is the latency that xbench reports the one that a user's own script gets? Both are run in turn, launch by launch.

    python tests/trials/plain_script_trials.py [LAUNCHES] [PIXELS,THREADS ...]

After every launch of a comparison each of its models runs in a plain script: a fresh process, alone, that imports no
worker of ours, under the settings that ``xbench env`` prints. A ratio is of medians, launch by launch; its interval
(95 %, Student's t) is over launches. The machine must be idle. About 25 minutes on two cores; intervals within 3 % take
24 launches and more, 40 minutes for 1024,2 alone. Standard error gets what every launch and every script gave.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from xbench.processes.policy import find_policy
from xbench.records.ledger import Ledger
from xbench.records.record import Record
from xbench.runner.progress import Progress, RunLimits, Silent
from xbench.runner.runner import Runner
from xbench.statistics.estimates import Estimate, over_launches
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import Study

ATTENTIONS, WHOLE = ("xfa", "mhsa", "separable"), "mobilevit_s"
CELLS = [(res, threads) for res in (64, 256, 1024) for threads in (1, 2)]

PLAIN = """
import json, sys, time
import timm, torch
from xbench import build_model
name, res, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = (timm.create_model(name) if "_" in name else build_model(name)).eval()
x = torch.rand(1, 3, res, res)
times = []
with torch.inference_mode():
    while len(times) < 5 or (sum(times) < 2 and len(times) < 200):
        start = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - start)
print(json.dumps(times[2:]))
"""


class Fixed(Study):
    """As many launches as the trial is told to make."""

    launches = (6,)


@dataclass
class Beside(Silent):
    """Runs the plain scripts after each launch, in random order, and keeps their latencies in ms by arm."""

    res: int
    threads: int

    def __post_init__(self) -> None:
        self.plain: dict[str, list[float]] = {arm: [] for arm in (*ATTENTIONS, WHOLE)}

    def advanced(self, progress: Progress) -> None:
        for arm in random.sample(list(self.plain), len(self.plain)):
            command = [sys.executable, "-c", PLAIN, arm, str(self.res), str(self.threads)]
            environment = {**os.environ, **find_policy("tuned").environment()}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            self.plain[arm].append(1e3 * median(json.loads(done.stdout)))


def trial(res: int, threads: int) -> list[list[str]]:
    asked = make_study(StudyRequest(ATTENTIONS, [res], model=[WHOLE], threads=[threads], metrics=["latency"]))
    study = Fixed(**{name: getattr(asked, name) for name in Study.__dataclass_fields__})
    beside = Beside(res, threads)
    with tempfile.TemporaryDirectory() as folder:
        # A run that has time makes all the launches that it is told to.
        limits = RunLimits(seconds=24 * 3600)
        records = Runner(study, Ledger(Path(folder, "records.jsonl")), beside, limits).run()
    first, plain = ATTENTIONS[0], beside.plain
    ours = {arm: _latencies(records, arm) for arm in (*plain, f"{first} again")}
    for what, by_arm in (("xbench", ours), ("script", plain)):
        for arm, values in by_arm.items():
            print(f"{res} px, {threads}: {what} {arm}:", *map("{:.4g}".format, values), file=sys.stderr)
    rows = []
    for arm in plain:
        ratios = [_ratio(ours[arm], ours[first]), _ratio(plain[arm], plain[first])]
        # Of the two ratios to the first arm: one over the other, launch by launch.
        kept = _ratio(_over(ours[arm], ours[first]), _over(plain[arm], plain[first]))
        same = _ratio(ours[arm], plain[arm])
        rows.append([arm, _ms(plain[arm]), _ms(ours[arm]), *map(_show, (same, *ratios, kept))])
    rows.append(
        [
            f"{first} again",
            "",
            _ms(ours[f"{first} again"]),
            "",
            _show(_ratio(ours[f"{first} again"], ours[first])),
            "",
            "",
        ]
    )
    return [[f"{res} px, {threads}", *row] for row in rows]


def _over(of: list[float], to: list[float]) -> list[float]:
    return [a / b for a, b in zip(of, to, strict=True)]


def _latencies(records: list[Record], arm: str) -> list[float]:
    found = [record for record in records if record.metric == "latency" and record.case["arm"] == arm]
    return [median(record.samples) for record in sorted(found, key=lambda record: record.launch)]


def _ratio(of: list[float], to: list[float]) -> Estimate:
    return over_launches({("", n): math.log(ratio) for n, ratio in enumerate(_over(of, to))})


def _ms(values: list[float]) -> str:
    return f"{median(values):,.4g}"


def _show(ratio: Estimate) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f})"


def main() -> None:
    Fixed.launches = (int(sys.argv[1]),) if len(sys.argv) > 1 else Fixed.launches
    heads = ["pixels, threads", "model", "script, ms", "xbench, ms", "xbench / script"]
    heads += ["× xfa in xbench", "× xfa in scripts", "ratio of these"]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    cells = [tuple(map(int, cell.split(","))) for cell in sys.argv[2:]] or CELLS
    for res, threads in cells:
        for row in trial(res, threads):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
