"""The workers of some cases of a comparison group. What ends a worker ends its case; the others go on.

Nothing is written down here: whoever has the workers is told what ended, and how the group stands.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from xbench.parsing.axes import ENGINES
from xbench.processes.parent import ArmError
from xbench.runner.arm_process import ArmProcess
from xbench.runner.progress import Clock, Observer
from xbench.study.case import Case

START_SECONDS = 120.0  # a worker may take to start, on top of the time limit of a turn


@dataclass(frozen=True)
class Setup:
    """What every worker of a run gets: inputs, and limits of memory (bytes) and of the time of one answer (seconds).

    ``room`` is the memory in bytes that all workers of a heat have together. ``exports`` is a folder for what engines
    run, which the workers share. ``clock`` and ``observer`` are told what
    the workers do meanwhile.
    """

    clock: Clock
    observer: Observer
    photos: list[str]
    memory_limit: int
    room: int
    turn_seconds: float
    exports: str = ""

    def photos_of(self, case: Case) -> list[str]:
        """Those that are the case's inputs: as many as its batch, if there are."""
        return self.photos[: case.batch] if case.sees_photos else []


@dataclass(frozen=True)
class Ending:
    """Why a case gives no more figures of ``metric``; of all that are still to come where that is None."""

    case: Case
    why: ArmError
    metric: str | None = None


@dataclass(frozen=True)
class Standing:
    """Which cases of a group can still give figures, and of what. ``against`` is the label of the reference arm.

    Attributes:
        open: cases that live.
        given_up: metrics of a case that failed while the case itself lives on.
        tried_again: cases that other processes' load ended once, and that had their second attempt.
    """

    open: tuple[Case, ...]
    against: str
    given_up: frozenset[tuple[Case, str]] = frozenset()
    tried_again: frozenset[Case] = frozenset()

    @property
    def alive(self) -> bool:
        """Whether any arm can still give figures; a control alone says nothing."""
        return any(not case.arm.control for case in self.open)

    def has(self, case: Case, metric: str | None) -> bool:
        """Whether the case can still give figures, and this metric, where one is named."""
        return case in self.open and (case, metric) not in self.given_up

    def after(self, ending: Ending) -> "Standing":
        """Without what ended; nor with the control of a reference arm that is gone."""
        if ending.metric is not None:
            return replace(self, given_up=self.given_up | {(ending.case, ending.metric)})
        left = [case for case in self.open if case != ending.case]
        if ending.case.arm.label == self.against:
            left = [case for case in left if not case.arm.control]
        return replace(self, open=tuple(left))


class Workers:
    """Fresh processes with their cases built. Use as a context manager; all have ended when it is left.

    Starting and building overlap, because nothing is measured meanwhile.

    Attributes:
        standing: of the group, as it is by now.
        again: cases whose worker ended for the first time through other processes' doing. No record says so yet:
            whoever has the workers measures them once more.
    """

    def __init__(
        self,
        setup: Setup,
        standing: Standing,
        cases: Iterable[Case],
        only: str | None = None,
        policy: str | None = None,
    ):
        """``only``: the one metric that they are for, so that what ends a worker costs no other. ``policy``: the one
        that they run under, where that is not the case's own.
        """
        self._only = only
        self._policy = policy
        self._setup = setup
        self._cases = list(cases)
        self._processes: dict[Case, ArmProcess] = {}
        self._endings: list[Ending] = []
        self.standing = standing
        self.again: list[Case] = []

    def __enter__(self) -> "Workers":
        try:
            with self._setup.clock.counting("start"):
                self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        for case in self._cases:
            self._setup.observer.doing(case, "starting a process")
            with self._ending(case):
                self._processes[case] = ArmProcess(
                    case, self._setup.memory_limit, self._setup.turn_seconds, self._policy
                )
        for case in self.open:
            with self._ending(case):
                # A worker of an older commit knows of no exports.
                exports = {"exports": self._setup.exports} if case.arm.mode in ENGINES else {}
                photos = self._setup.photos_of(case)
                self._processes[case].send("build", case=case.request(), photos=photos, **exports)
        for case in self.open:
            with self._ending(case):
                self._processes[case].receive(extra_seconds=START_SECONDS)

    def _stop(self) -> None:
        for process in self._processes.values():
            process.stop()

    @property
    def open(self) -> list[Case]:
        """Cases that can still give figures."""
        return [case for case in self._cases if self._is_open(case, self._only)]

    def _is_open(self, case: Case, metric: str | None) -> bool:
        return case not in self.again and self.standing.has(case, metric)

    def take_endings(self) -> tuple[Ending, ...]:
        """What ended since this was last asked."""
        taken, self._endings = tuple(self._endings), []
        return taken

    def in_turn(
        self, doing: str, do: str, cases: Sequence[Case], metric: str | None = None, **arguments: Any
    ) -> Iterator[tuple[Case, Any]]:
        """Asks one after the other, and gives the answers of those that could answer. ``doing`` says it to the user.

        Where the answer is for one ``metric`` alone, a worker that fails and lives on gives up that metric only.
        """
        for case in cases:
            if self._is_open(case, metric or self._only):
                self._setup.observer.doing(case, doing)
                answers = []
                with self._ending(case, metric), self._setup.clock.counting("model"):
                    answers.append(self._processes[case].ask(do, **arguments))
                for answer in answers:
                    yield case, answer

    @contextmanager
    def _ending(self, case: Case, metric: str | None = None) -> Iterator[None]:
        """Notes the end of a worker as what its case can no longer give, or has to be tried again for."""
        try:
            yield
        except ArmError as end:
            process = self._processes.get(case)
            lives = metric is not None and process is not None and process.alive
            if process is not None and not lives:
                process.stop()
            if end.by_others:
                if case not in self.standing.tried_again:
                    self.standing = replace(self.standing, tried_again=self.standing.tried_again | {case})
                    self.again.append(case)
                    self._setup.observer.noted(case, {"tried again": end.reason})
                    return
                end = end.of_second_attempt()
            ending = Ending(case, end, self._only or (metric if lives else None))
            self._endings.append(ending)
            self.standing = self.standing.after(ending)
