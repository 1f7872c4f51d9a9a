"""Kills, hangs, fills and tears a small study in every way that happens, and says what was lost and measured again.

    python tests/trials/survival_trials.py results/reports/survival.md

Each trial ends with running the same command again: it has to finish, and to measure only what is missing.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ARMS = ["xfa", "mhsa", "separable"]
STUDY = ["compare", "--attn", *ARMS, "--res", "64", "96", "--size", "xxs", "--threads", "1", "--quick", "--json"]
STUDY += ["--metrics", "macs", "throughput", "peak_memory"]
CELLS = len(ARMS) * 2
WHOLE = CELLS * 2 + CELLS * 3  # static and exact figures, and three launches
PATIENCE = 900.0


class Trial:
    """A folder with a run in it that something happens to."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ledger = folder / "run" / "records.jsonl"
        self.log: list[str] = []

    def start(self, *more: str, prepare: Callable[[], None] | None = None) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "xbench", *STUDY, *more, "--out", "run"],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )

    def finish(self, process: subprocess.Popen) -> int:
        _, errors = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in errors, errors
        return process.returncode

    def records(self) -> list[dict]:
        """Whole records of figures in the ledger."""
        found = []
        for line in self.ledger.read_text().splitlines() if self.ledger.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [record for record in found if record["case"]]

    def wait_for(self, there: Callable[[list[dict]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not there(self.records()):
            assert time.monotonic() < deadline, "the run never came so far"
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if "xbench.worker" in (process.info["cmdline"] or []) and process.info["cwd"] == str(self.folder):
                found.append(process)
        return found

    def wait_for_no_worker(self) -> None:
        """A worker that still starts up ends when it comes to read its first request."""
        deadline = time.monotonic() + 20
        while self.workers():
            assert time.monotonic() < deadline, "a worker outlives its controller"
            time.sleep(0.1)

    def again(self) -> str:
        """Runs the command once more, and says what it measured."""
        before = self.records()
        code = self.finish(self.start())
        new = self.records()[len(before) :]
        whole = {(r["case"]["arm"], str(r["case"]["img_size"]), r["metric"]) for r in self.records() if r["samples"]}
        assert code == 0, f"exit code {code}"
        assert len(whole) == CELLS * 3, "a cell has no figure"
        return f"{len(before)} records were there; {len(new)} of {WHOLE} measured again; exit code {code}"


def first_launch(records: list[dict]) -> bool:
    return any(record["launch"] for record in records)


def controller_killed(trial: Trial) -> str:
    process = trial.start()
    trial.wait_for(first_launch)
    process.kill()
    trial.finish(process)
    trial.wait_for_no_worker()
    return "kill -9 of the controller after the first launch was shown; no worker was left"


def worker_killed(trial: Trial) -> str:
    process = trial.start()
    trial.wait_for(first_launch)
    victims: list[psutil.Process] = []
    while not victims:
        victims = trial.workers()
    victims[0].kill()
    code = trial.finish(process)
    lost = {(r["case"]["arm"], r["status"], r["reason"]) for r in trial.records() if r["status"] != "ok"}
    assert code == 3, code
    return f"kill -9 of one worker during a launch: exit code {code}, row {sorted(lost)[0]}"


def both_killed(trial: Trial) -> str:
    process = trial.start()
    trial.wait_for(bool)
    for worker in trial.workers():
        worker.kill()
    process.kill()
    trial.finish(process)
    return "kill -9 of the controller and of all workers while exact figures were taken"


def worker_hangs(trial: Trial) -> str:
    process = trial.start("--time-limit", "20")
    trial.wait_for(first_launch)
    victims: list[psutil.Process] = []
    while not victims:
        victims = trial.workers()
    victims[0].send_signal(signal.SIGSTOP)
    code = trial.finish(process)
    lost = {(r["case"]["arm"], r["status"]) for r in trial.records() if r["status"] != "ok"}
    assert code == 3, code
    return f"one worker stopped for ever, --time-limit 20: exit code {code}, row {sorted(lost)[0]}"


def hung_and_killed(trial: Trial) -> str:
    process = trial.start()
    trial.wait_for(first_launch)
    victims: list[psutil.Process] = []
    while not victims:
        victims = trial.workers()
    victims[0].send_signal(signal.SIGSTOP)
    process.kill()
    trial.finish(process)
    trial.wait_for_no_worker()
    return "one worker stopped for ever, then kill -9 of the controller; no worker was left"


def disk_full(trial: Trial) -> str:
    limit = 20_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = trial.start(prepare=small_files)
    code = trial.finish(process)
    assert code == 2, code
    return f"no file may grow beyond {limit:,} bytes: exit code {code}"


def torn_line(trial: Trial) -> str:
    assert trial.finish(trial.start()) == 0
    whole = trial.ledger.read_bytes().splitlines(keepends=True)
    figures = [line for line in whole if b'"case": {"arm"' in line]
    trial.ledger.write_bytes(b"".join(figures)[: -len(figures[-1]) // 2])
    return "the last line of the ledger cut in half"


def eight_at_once(trial: Trial) -> str:
    processes = [trial.start() for _ in range(8)]
    codes = [trial.finish(process) for process in processes]
    assert codes == [0] * 8, codes
    found = Counter((r["case"]["arm"], str(r["case"]["img_size"]), r["metric"], r["launch"]) for r in trial.records())
    again = found.total() - len(found)
    assert not again, f"{again} measured more than once"
    return f"eight runs into one folder at once: exit codes {codes}, {found.total()} records, none of a cell twice"


TRIALS = [
    controller_killed,
    worker_killed,
    both_killed,
    worker_hangs,
    hung_and_killed,
    disk_full,
    torn_line,
    eight_at_once,
]


@contextmanager
def fresh_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(os.path.realpath(folder))


def main() -> None:
    command = f"xbench {' '.join(STUDY)}"
    lines = ["# Survival trials", "", f"`{command}`, {WHOLE} records when whole.", ""]
    lines += ["| what happened | then the same command again |", "| --- | --- |"]
    for happens in TRIALS:
        with fresh_folder() as folder:
            trial = Trial(folder)
            what = happens(trial)
            lines.append(f"| {what} | {trial.again()} |")
            print(lines[-1], flush=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
