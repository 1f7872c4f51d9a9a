"""Accuracy figures: every model is trained in a process of its own, as many side by side as there are threads for.

All first seeds come before all second ones, so that an interrupted run has whole pairs. What a process had reached when
it was killed is gone on with by the next run into the same folder.
"""

import selectors
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xbench.crew import START_SECONDS, Bench
from xbench.process import ArmError, ChildProcess, worker_environment
from xbench.records import Record
from xbench.study import Case
from xbench.training.job import Job

# Parts of what a training run tells of itself that a record holds; by the last three arms are held to be equal.
KEPT = ("correct", "images", "low", "high", "history", "job", "data", "parameters", "shared_weights", "data_order")


class Trainings:
    """The training runs that a study still needs.

    Args:
        folder: gets a folder for each, with weights, configuration and TensorBoard's log.
        at_once: processes side by side, each with one thread on a CPU.
    """

    def __init__(self, bench: Bench, folder: Path, at_once: int):
        self._bench = bench
        self._folder = folder
        self._at_once = at_once
        self._began = time.monotonic()

    def run(self, cases: Iterable[Case]) -> None:
        """Trains what has no record yet, and keeps a record of each as it ends."""
        book = self._bench.book
        seeds = range(book.study.seeds)
        found = list(cases)
        waiting = [(case, seed) for seed in seeds for case in found if seed in book.missing_seeds(case)]
        lost: set[Case] = set()
        running: dict[ChildProcess, tuple[Case, int]] = {}
        with selectors.DefaultSelector() as selector:
            try:
                while waiting or running:
                    while waiting and len(running) < self._at_once:
                        case, seed = waiting.pop(0)
                        if case in lost:
                            continue
                        with self._bench.clock.counting("start"):
                            self._start(case, seed, running, selector)
                    with self._bench.clock.counting("model"):
                        ready = selector.select(timeout=self._bench.turn_seconds + START_SECONDS)
                    # Where none spoke in all that time, each is given up.
                    for process in [key.data for key, _ in ready] or list(running):
                        case, seed = running[process]
                        try:
                            ended = self._hear(process, case, seed)
                        except ArmError as end:
                            ended = True
                            self._keep(case, seed, [], {}, end)
                            # Its other seeds would end in the same way.
                            if end.status in ("unsupported", "oom"):
                                lost.add(case)
                        if ended:
                            selector.unregister(process)
                            process.stop()
                            del running[process]
            finally:
                for process in running:
                    process.stop()

    def _start(
        self, case: Case, seed: int, running: dict[ChildProcess, tuple[Case, int]], selector: selectors.BaseSelector
    ) -> None:
        job = self._bench.book.study.job(case, seed)
        self._bench.observer.doing(case, f"training with seed {seed}")
        try:
            environment = worker_environment(job.device, job.threads, self._bench.memory_limit // self._at_once)
            process = ChildProcess("xbench.training", environment)
            process.say(job=job.as_dict(), folder=str(self._place(case, job)))
        except ArmError as end:
            self._keep(case, seed, [], {}, end)
            return
        running[process] = (case, seed)
        selector.register(process, selectors.EVENT_READ, data=process)

    def _place(self, case: Case, job: Job) -> Path:
        """By what was asked and by the code that does it: nothing is gone on with that another code began."""
        readable = "".join(letter if letter.isalnum() else "-" for letter in job.name)
        size = "x".join(map(str, job.img_size))
        return self._folder / f"{readable}-{size}-p{job.patch_size}-seed{job.seed}-{self._bench.book.key(case, 'top1')}"

    def _hear(self, process: ChildProcess, case: Case, seed: int) -> bool:
        """Takes in what the process has said; True once it has given its result."""
        while True:
            heard = process.hear(self._bench.turn_seconds)
            if "result" in heard:
                result = heard["result"]
                self._keep(case, seed, [result["top1"]], {key: result[key] for key in KEPT})
                return True
            if "step" in heard:
                self._bench.observer.learning(case, seed, heard["step"])
            if not process.pending:
                return False

    def _keep(
        self, case: Case, seed: int, samples: list[float], detail: dict[str, Any], end: ArmError | None = None
    ) -> None:
        book = self._bench.book
        record: Record = book.record(case, "top1", samples, detail, launch=seed)
        book.keep([book.ended(record, end) if end else record])
