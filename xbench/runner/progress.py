"""What a run may use, and what it tells while it runs: to whom, how far it is, where its time goes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from xbench.records.record import Record
from xbench.statistics.estimates import Estimate
from xbench.study.case import Case
from xbench.study.conditions import Conditions


@dataclass(frozen=True)
class RunLimits:
    """What a run may use. ``seconds`` bounds the whole run softly: no launch starts that would end later.

    ``memory_bytes`` bounds one worker on the CPU, ``turn_seconds`` one answer of a worker. None: chosen by the runner.
    """

    seconds: float | None = None
    memory_bytes: int | None = None
    turn_seconds: float = 600.0


@dataclass(frozen=True)
class Progress:
    """How far one comparison group is: launches done and planned, ratios so far, and seconds left for the whole run."""

    conditions: Conditions
    launch: int
    planned: int
    ratios: dict[str, Estimate]
    seconds_left: float | None


@dataclass(frozen=True)
class Plan:
    """What is still to be done once all is known on paper: a guess, right to a factor of about two.

    Attributes:
        cases: that are to be measured.
        seconds: of measuring them.
        models: to be trained.
        training_seconds: of training them.
    """

    cases: int
    seconds: float
    models: int
    training_seconds: float


class Observer(Protocol):
    """Sees what a run does while it does it."""

    def waiting(self, why: str) -> None: ...

    def planned(self, plan: Callable[[], Plan]) -> None: ...

    def doing(self, case: Case, what: str) -> None: ...

    def advanced(self, progress: Progress) -> None: ...

    def learning(self, case: Case, metric: str, seed: int, step: dict[str, Any]) -> None: ...

    def noted(self, case: Case, notes: dict[str, str]) -> None: ...

    def recorded(self, records: list[Record]) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def waiting(self, why: str) -> None:
        pass

    def planned(self, plan: Callable[[], Plan]) -> None:
        pass

    def doing(self, case: Case, what: str) -> None:
        pass

    def advanced(self, progress: Progress) -> None:
        pass

    def learning(self, case: Case, metric: str, seed: int, step: dict[str, Any]) -> None:
        pass

    def noted(self, case: Case, notes: dict[str, str]) -> None:
        pass

    def recorded(self, records: list[Record]) -> None:
        pass


@dataclass
class Clock:
    """Where the run's time went, in seconds: process start, model execution, and all of it."""

    start: float = 0.0
    model: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def counting(self, what: str) -> Iterator[None]:
        before = time.monotonic()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.monotonic() - before)

    @property
    def total(self) -> float:
        return time.monotonic() - self.began

    @property
    def overhead(self) -> float:
        """Share of the time that is neither process start nor model execution."""
        return max(0.0, 1 - (self.start + self.model) / self.total)
