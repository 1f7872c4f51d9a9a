"""Kills controllers, workers and both at random moments of what takes time, and counts what that cost.

    python tests/trials/kill_trials.py [--kills 100] [--seed 0] [--report FILE]

Of every verb one run is left alone first. It says how long what is timed lasts, and what a whole run leaves. Each trial
is a run in a folder of its own, killed at a moment drawn from that time; then the same command runs again.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--res", "32", "--size", "xxs", "--threads", "1"]
METRICS = ["--metrics", "macs", "throughput", "peak_memory"]
STUDY = 'attn = ["xfa"]\nres = [32]\nsize = "xxs"\nthreads = [1]\nmetrics = ["macs", "throughput", "peak_memory"]\n'
EPOCHS = 8
VERBS = {
    "compare": ["compare", "--attn", "xfa", "mhsa", *SMALL, "--quick", *METRICS],
    "sweep": ["sweep", "--attn", "xfa", "mhsa", "--level", "block", *SMALL, "--quick", *METRICS],
    "train": ["train", "--attn", "xfa", "--data", "digits", *SMALL, "--epochs", str(EPOCHS)],
    "check": ["check", "study.toml", "--against", "HEAD", "--budget", "0.1"],
}
VICTIMS = ("controller", "worker", "both")
ENDINGS = {"compare": {0}, "sweep": {0}, "train": {0}, "check": {0, 1}}  # on a loaded machine a check may fail
PATIENCE = 600.0
COUNTS = ("lost", "twice", "processes", "worktrees", "temporary", "files")
MARK = "XBENCH_KILL_TRIAL"


@dataclass
class Run:
    """A verb in a folder that is a repository, with a folder for temporary files beside it."""

    verb: str
    place: Path
    repository: Path = field(init=False)
    temporary: Path = field(init=False)

    def __post_init__(self) -> None:
        self.repository, self.temporary = self.place / "mine", self.place / "tmp"
        self.temporary.mkdir()
        self.repository.mkdir()
        (self.repository / "study.toml").write_text(STUDY)
        (self.repository / ".gitignore").write_text("run/\n__pycache__/\n")
        if self.verb == "check":  # which measures what lies in the repository
            for package in ("xbench", "attention_variants"):
                shutil.copytree(ROOT / package, self.repository / package)
        self.shell("git", "init", "-q")
        self.shell("git", "add", "-A")
        self.shell("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")

    def shell(self, *command: str) -> str:
        return subprocess.run(command, cwd=self.repository, check=True, capture_output=True, text=True).stdout

    @property
    def folder(self) -> Path:
        return self.repository / "run"

    def start(self) -> subprocess.Popen:
        code = self.repository if self.verb == "check" else ROOT
        environment = {**os.environ, "PYTHONPATH": str(code), "TMPDIR": str(self.temporary)}
        environment |= {MARK: str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", "-m", "xbench", *VERBS[self.verb], "--out", "run"]
        with (self.place / "said.txt").open("w") as said:
            return subprocess.Popen(command, cwd=self.repository, env=environment, stdout=said, stderr=said)

    def lines(self) -> list[bytes]:
        """Whole lines of the ledgers."""
        texts = [path.read_bytes() for path in sorted(self.folder.rglob("records.jsonl"))]
        return [line for text in texts for line in text.splitlines(keepends=True) if line.endswith(b"\n")]

    def records(self) -> list[dict[str, Any]]:
        return [record for record in map(json.loads, self.lines()) if record["case"] and record["status"] == "ok"]

    def epochs(self) -> int:
        """Epochs that are on disk."""
        try:
            return len(torch.load(self.folder / "resume.pt", weights_only=True)["history"])
        except FileNotFoundError:
            return EPOCHS if (self.folder / "config.json").exists() else 0

    def timed(self) -> bool:
        """Whether it has come to what takes time."""
        if self.verb == "train":
            return any((self.folder / name).exists() for name in ("resume.pt", "config.json"))
        exact = {record["case"]["arm"] for record in self.records() if record["metric"] == "peak_memory"}
        return len(exact) >= 2

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.place) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "xbench.worker" in _command(process)]

    def temporaries(self) -> set[str]:
        return {path.name for path in self.temporary.iterdir()}

    def files(self) -> set[str]:
        """What lies in the folder of the run; TensorBoard's log has a file per attempt, by design."""
        names = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}
        return {name for name in names if not name.startswith("tensorboard")}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


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
    workers = run.workers()
    while victim == "worker" and not workers and process.poll() is None:
        workers = run.workers()
    if process.poll() is not None:
        return False
    if victim == "worker":
        dice.choice(workers).kill()
        return True
    for worker in workers if victim == "both" else []:
        try:
            worker.kill()
        except psutil.NoSuchProcess:
            continue
    process.send_signal(signal.SIGKILL)
    return True


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


def plan(kills: int) -> Iterator[tuple[str, str]]:
    """Verbs in turn, with each victim in turn. A training of its own has no workers."""
    for number in range(kills):
        verb = list(VERBS)[number % len(VERBS)]
        yield verb, "controller" if verb == "train" else VICTIMS[number // len(VERBS) % len(VICTIMS)]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--report", type=Path, help="also write the table here")
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    alone: dict[str, Alone] = {}
    counts: dict[tuple[str, str], Counter[str]] = {}
    for verb, victim in plan(asked.kills):
        found = None
        while found is None:
            with tempfile.TemporaryDirectory() as folder:
                if verb not in alone:
                    (Path(folder) / "alone").mkdir()
                    alone[verb] = left_alone(verb, Path(folder).resolve() / "alone")
                (Path(folder) / "trial").mkdir()
                found = trial(verb, victim, Path(folder).resolve() / "trial", alone[verb], dice)
        print(verb, victim, dict(found), flush=True)
        counts.setdefault((verb, victim), Counter()).update(found)
    text = table(counts)
    print(text)
    if asked.report:
        asked.report.write_text(f"# Kills at random moments\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
