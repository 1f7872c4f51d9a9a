"""Accuracy figures: every model is trained in a process of its own, as many side by side as there are threads for.

All first seeds come before all second ones, so that an interrupted run has whole pairs. What a process had reached when
it was killed is gone on with by the next run into the same folder.
"""

import selectors
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xbench.processes.parent import ArmError, ChildProcess, worker_environment
from xbench.records.record import Record
from xbench.runner.workers import START_SECONDS, Setup
from xbench.study.case import Case
from xbench.training.job import Job

# Parts of what a training run tells of itself that a record holds; by the last three arms are held to be equal.
KEPT = ("correct", "images", "low", "high", "history", "job", "data", "parameters", "shared_weights", "data_order")


class Trainings:
    """The training runs that a study still needs.

    Args:
        folder: gets a folder for each, with weights, configuration and TensorBoard's log.
        at_once: processes side by side, each with one thread on a CPU.
    """

    def __init__(self, setup: Setup, folder: Path, at_once: int):
        self._setup = setup
        self._folder = folder
        self._at_once = at_once
        self._running: dict[ChildProcess, tuple[Case, int]] = {}
        self._waiting: deque[tuple[Case, int]] = deque()
        self._tried_again: set[tuple[Case, int]] = set()
        self._lost: set[Case] = set()

    def run(self, cases: Sequence[Case]) -> None:
        """Trains what has no record yet, and keeps a record of each as it ends."""
        recorder = self._setup.recorder
        waiting = self._waiting = deque(
            (case, seed)
            for seed in range(recorder.study.seeds)
            for case in cases
            if seed in recorder.missing_seeds(case)
        )
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._at_once:
                    self._start(*waiting.popleft())
                for process in self._speaking():
                    self._listen(process)
        finally:
            for process in self._running:
                process.stop()

    def _start(self, case: Case, seed: int) -> None:
        if case in self._lost:
            return
        job = self._setup.recorder.study.job(case, seed)
        self._setup.observer.doing(case, f"training with seed {seed}")
        environment = worker_environment(job.device, job.threads, self._setup.memory_limit // self._at_once)
        try:
            with self._setup.clock.counting("start"):
                process = ChildProcess("xbench.training", environment)
                process.say(job=job.as_dict(), folder=str(self._place(case, job)))
        except ArmError as end:
            self._keep(case, seed, [], {}, end)
        else:
            self._running[process] = (case, seed)

    def _speaking(self) -> list[ChildProcess]:
        """Those that have something to say, waited for; all of them where none has spoken for so long."""
        with selectors.DefaultSelector() as selector:
            for process in self._running:
                selector.register(process, selectors.EVENT_READ, data=process)
            with self._setup.clock.counting("model"):
                ready = selector.select(timeout=self._setup.turn_seconds + START_SECONDS)
        return [key.data for key, _ in ready] or list(self._running)

    def _listen(self, process: ChildProcess) -> None:
        """Takes in what a process has said, and ends it with its result or its failure."""
        case, seed = self._running[process]
        try:
            result = self._result(process, case, seed)
            if result is None:
                return
            self._keep(case, seed, [result["top1"]], {key: result[key] for key in KEPT})
        except ArmError as end:
            if not end.by_others:
                self._keep(case, seed, [], {}, end)
                # Its other seeds would end in the same way.
                if end.status in ("unsupported", "oom"):
                    self._lost.add(case)
            elif (case, seed) in self._tried_again:
                self._keep(case, seed, [], {}, end.of_second_attempt())
            else:
                self._tried_again.add((case, seed))
                self._waiting.append((case, seed))
                self._setup.observer.noted(case, {"tried again": end.reason})
        process.stop()
        del self._running[process]

    def _result(self, process: ChildProcess, case: Case, seed: int) -> dict[str, Any] | None:
        while True:
            heard = process.hear(self._setup.turn_seconds)
            if "step" in heard:
                self._setup.observer.learning(case, seed, heard["step"])
            if "result" in heard or not process.pending:
                return heard.get("result")

    def _place(self, case: Case, job: Job) -> Path:
        """By what was asked and by the code that does it: nothing is gone on with that another code began."""
        readable = "".join(letter if letter.isalnum() else "-" for letter in job.name)
        size = "x".join(map(str, job.img_size))
        return (
            self._folder
            / f"{readable}-{size}-p{job.patch_size}-seed{job.seed}-{self._setup.recorder.key(case, 'top1')}"
        )

    def _keep(
        self, case: Case, seed: int, samples: list[float], detail: dict[str, Any], end: ArmError | None = None
    ) -> None:
        recorder = self._setup.recorder
        record: Record = recorder.record(case, "top1", samples, detail, launch=seed)
        recorder.keep([recorder.ended(record, end) if end else record])
