"""Accuracy figures: every model is trained in a process of its own, as many side by side as there are threads for.

All first seeds come before all second ones, so that an interrupted run has whole pairs. What a process had reached when
it was killed is gone on with by the next run into the same folder.
"""

import selectors
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbench.probing.job import ProbeJob
from xbench.processes.parent import ArmError, ChildProcess, worker_environment
from xbench.runner.workers import START_SECONDS, Setup
from xbench.study.case import Case
from xbench.training.job import Job


@dataclass(frozen=True)
class Training:
    """The training behind ``metrics`` of a case with a seed that a study still needs; ``folder`` is the one of
    ``training_folder``.
    """

    case: Case
    metrics: tuple[str, ...]
    seed: int
    job: Job | ProbeJob
    folder: Path


@dataclass(frozen=True)
class TrainingOutcome:
    """What came of a training: the result it told, or why there is none."""

    training: Training
    result: dict[str, Any] | None = None
    why: ArmError | None = None


class Trainings:
    """Trainings side by side. Nothing is written down here but what the processes put into their folders.

    Args:
        at_once: processes side by side, each with one thread on a CPU.
    """

    def __init__(self, setup: Setup, at_once: int):
        self._setup = setup
        self._at_once = at_once
        self._running: dict[ChildProcess, Training] = {}
        self._waiting: deque[Training] = deque()
        self._tried_again: set[Training] = set()
        self._lost: set[tuple[Case, tuple[str, ...]]] = set()

    def run(self, wanted: Iterable[Training]) -> Generator[TrainingOutcome, None, None]:
        """Trains, and gives what came of each as it ends; what is lost with another seed of its case gives nothing."""
        waiting = self._waiting = deque(wanted)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._at_once:
                    yield from self._start(waiting.popleft())
                for process in self._speaking():
                    yield from self._listen(process)
        finally:
            for process in self._running:
                process.stop()

    def _start(self, training: Training) -> Iterator[TrainingOutcome]:
        if (training.case, training.metrics) in self._lost:
            return
        job = training.job
        self._setup.observer.doing(training.case, f"training for {training.metrics[0]} with seed {training.seed}")
        try:
            environment = worker_environment(job.device, job.threads, self._setup.memory_limit // self._at_once)
            with self._setup.clock.counting("start"):
                process = ChildProcess(
                    "xbench.probing" if isinstance(job, ProbeJob) else "xbench.training", environment
                )
                process.say(job=job.as_dict(), folder=str(training.folder))
        except ArmError as end:
            yield TrainingOutcome(training, why=end)
        else:
            self._running[process] = training

    def _speaking(self) -> list[ChildProcess]:
        """Those that have something to say, waited for; all of them where none has spoken for so long."""
        if not self._running:  # all that waited were lost with another seed
            return []
        with selectors.DefaultSelector() as selector:
            for process in self._running:
                selector.register(process, selectors.EVENT_READ, data=process)
            with self._setup.clock.counting("model"):
                ready = selector.select(timeout=self._setup.turn_seconds + START_SECONDS)
        return [key.data for key, _ in ready] or list(self._running)

    def _listen(self, process: ChildProcess) -> Iterator[TrainingOutcome]:
        """Takes in what a process has said, and ends it with its result or its failure."""
        training = self._running[process]
        try:
            result = self._result(process, training)
            if result is None:
                return
            outcome: TrainingOutcome | None = TrainingOutcome(training, result)
        except ArmError as end:
            outcome = self._failed(training, end)
        process.stop()
        del self._running[process]
        if outcome is not None:
            yield outcome

    def _failed(self, training: Training, end: ArmError) -> TrainingOutcome | None:
        """None where it is tried again, because other processes ended it."""
        if end.by_others:
            if training in self._tried_again:
                return TrainingOutcome(training, why=end.of_second_attempt())
            self._tried_again.add(training)
            self._waiting.append(training)
            self._setup.observer.noted(training.case, {"tried again": end.reason})
            return None
        # Its other seeds would end in the same way.
        if end.status in ("unsupported", "oom"):
            self._lost.add((training.case, training.metrics))
        return TrainingOutcome(training, why=end)

    def _result(self, process: ChildProcess, training: Training) -> dict[str, Any] | None:
        while True:
            heard = process.hear(self._setup.turn_seconds)
            if "step" in heard:
                self._setup.observer.learning(training.case, training.metrics[0], training.seed, heard["step"])
            if "result" in heard or not process.pending:
                return heard.get("result")


def training_folder(root: Path, job: Job | ProbeJob, key: str) -> Path:
    """A folder for each, with weights, configuration and TensorBoard's log, by what was asked and by the code that
    does it, which is in the ``key``: nothing is gone on with that another code began.
    """
    readable = "".join(letter if letter.isalnum() else "-" for letter in job.name)
    return root / f"{readable}-{job.place}-seed{job.seed}-{key}"
