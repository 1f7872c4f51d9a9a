"""How many launches each comparison group gets: what a claim needs, and more while that is cheap or the user allows it.

Precision and budget are looked at only at fixed numbers of launches, so that looking does not bend the result.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from xbench.runner.progress import Clock
from xbench.study.case import Case
from xbench.study.study import CLAIM_LAUNCHES, Study

SECONDS_PER_ARM = 60.0  # up to which a run that the user gave no budget goes beyond what a claim needs


@dataclass
class Group:
    """Cases that differ in the arm only, ``against`` being the label of the reference arm.

    A case that can give no more figures leaves ``open``. ``launches`` counts those that every open arm finished,
    ``target`` those that are planned, ``began`` those of this run. By arm: ``process_bytes``, what a worker holds in
    all (measured, or guessed from the predicted peak until then), and ``step_seconds``. ``given_up`` are metrics of a
    case that failed while the case itself lives on. ``tried_again`` are cases that other processes' load ended once.
    ``stock_seconds`` were spent on what a plain script gets.
    """

    cases: list[Case]
    against: str
    open: list[Case] = field(default_factory=list)
    given_up: set[tuple[Case, str]] = field(default_factory=set)
    tried_again: set[Case] = field(default_factory=set)
    launches: int = 0
    began: int = 0
    target: int = 0
    launch_seconds: float | None = None
    stock_seconds: float = 0.0
    process_bytes: dict[str, int] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open = self.open or list(self.cases)

    @property
    def alive(self) -> bool:
        """Whether any arm can still give figures; a control alone says nothing."""
        return any(not case.arm.control for case in self.open)

    def leave(self, case: Case) -> None:
        """The case gives no more figures; nor does the control of a reference arm that is gone."""
        self.open.remove(case)
        if case.arm.label == self.against:
            self.open = [other for other in self.open if not other.arm.control]


class Schedule:
    """The groups of a study and how far each is to go.

    Args:
        budget: seconds that the run should stay within; None where the user named none.
        clock: tells how long the run has lasted.
    """

    def __init__(self, study: Study, budget: float | None, clock: Clock):
        self.groups = [Group(cases, study.against) for cases in study.groups()]
        self._stops = study.launches
        self._clock = clock
        self._budget = budget or SECONDS_PER_ARM * sum(len(group.cases) for group in self.groups)
        for group in self.groups:
            group.target = self._stops[0] if budget else min(CLAIM_LAUNCHES, self._stops[-1])

    def worth_a_launch(self, group: Group, precise: Callable[[Group], bool]) -> bool:
        """Whether the group is to be launched once more. ``precise`` tells whether its intervals are narrow enough."""
        if not group.alive:
            return False
        if group.launches < group.target:
            return True
        further = [stop for stop in self._stops if stop > group.launches]
        if not further or (group.launches >= CLAIM_LAUNCHES and precise(group)):
            return False
        expected = (further[0] - group.launches) * self._launch_seconds(group)
        if self._clock.total + self.seconds_left() + expected > self._budget:
            return False
        group.target = further[0]
        return True

    def seconds_left(self) -> float:
        """What the launches planned so far will take."""
        alive = [group for group in self.groups if group.alive]
        return sum(max(0, group.target - group.launches) * self._launch_seconds(group) for group in alive)

    def _launch_seconds(self, group: Group) -> float:
        """What a launch of the group took, or will about take, judging by other groups and by its own steps."""
        known = [other.launch_seconds for other in self.groups if other.launch_seconds]
        guess = max(sum(known) / len(known) if known else 0.0, 3 * sum(group.step_seconds.values()))
        return group.launch_seconds or guess
