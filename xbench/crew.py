"""The workers of some cases of a comparison group. What ends a worker ends its case, as records; the others go on."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from xbench.book import Book
from xbench.plan import Group
from xbench.process import ArmError, ArmProcess
from xbench.study import Case
from xbench.watch import Clock, Observer

START_SECONDS = 120.0  # a worker may take to start, on top of the time limit of a turn


@dataclass(frozen=True)
class Bench:
    """What every worker of a run gets: inputs, and limits of memory (bytes) and of the time of one answer (seconds)."""

    book: Book
    clock: Clock
    observer: Observer
    photos: list[str]
    memory_limit: int
    turn_seconds: float


class Crew:
    """Fresh processes with their cases built. Use as a context manager; all have ended when it is left.

    Starting and building overlap, because nothing is measured meanwhile.
    """

    def __init__(self, bench: Bench, group: Group, cases: Iterable[Case]):
        self._bench = bench
        self._group = group
        self._cases = list(cases)
        self._processes: dict[Case, ArmProcess] = {}

    def __enter__(self) -> "Crew":
        try:
            with self._bench.clock.counting("start"):
                self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        for case in self._cases:
            self._bench.observer.doing(case, "starting a process")
            self._processes[case] = ArmProcess(case, self._bench.memory_limit, self._bench.turn_seconds)
        for case in self.open:
            with self._ending(case):
                self._processes[case].send("build", case=case.flat(), photos=self._bench.photos)
        for case in self.open:
            with self._ending(case):
                self._processes[case].receive(extra_seconds=START_SECONDS)

    def _stop(self) -> None:
        for process in self._processes.values():
            process.stop()

    def dismiss(self, case: Case) -> None:
        """Ends the worker of a case that is no longer needed."""
        self._processes[case].stop()

    @property
    def open(self) -> list[Case]:
        """Cases that can still give figures."""
        return [case for case in self._cases if case in self._group.open]

    def in_turn(self, doing: str, do: str, cases: Sequence[Case], **arguments: Any) -> Iterator[tuple[Case, Any]]:
        """Asks one after the other, and gives the answers of those that could answer. ``doing`` says it to the user."""
        for case in cases:
            if case in self._group.open:
                self._bench.observer.doing(case, doing)
                with self._ending(case), self._bench.clock.counting("model"):
                    answer = self._processes[case].ask(do, **arguments)
                if case in self._group.open:
                    yield case, answer

    @contextmanager
    def _ending(self, case: Case) -> Iterator[None]:
        """Turns the end of a worker into records of what it cannot give, and takes the case out of the group."""
        try:
            yield
        except ArmError as end:
            self._processes[case].stop()
            self._group.open.remove(case)
            self._bench.book.end(case, end)
