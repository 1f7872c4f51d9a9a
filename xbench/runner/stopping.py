"""How many launches each comparison group gets: what a claim needs, and more while that is cheap or the user allows it.

Precision and budget are looked at only at fixed numbers of launches, so that looking does not bend the result.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from xbench.runner.progress import Clock
from xbench.runner.workers import Standing
from xbench.study.case import Case
from xbench.study.study import CLAIM_LAUNCHES, Study

SECONDS_PER_ARM = 60.0  # up to which a run that the user gave no budget goes beyond what a claim needs


@dataclass(eq=False)
class GroupState:
    """How far a run is with cases that differ in the arm only. Only the runner changes it.

    ``launches`` counts those that every open arm finished, ``began`` those of this run, which took ``launch_seconds``
    at last and ``stock_seconds`` in all on what a plain script gets. By arm: ``process_bytes``, what a worker holds in
    all (measured, or guessed from the predicted peak until then), and ``step_seconds``.
    """

    cases: list[Case]
    standing: Standing
    launches: int = 0
    began: int = 0
    launch_seconds: float | None = None
    stock_seconds: float = 0.0
    process_bytes: dict[str, int] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)


class Schedule:
    """The groups of a study and how far each is to go. It reads how far they are, and changes the plan alone.

    Args:
        budget: seconds that the run should stay within; None where the user named none.
        clock: tells how long the run has lasted.
    """

    def __init__(self, study: Study, budget: float | None, clock: Clock):
        self.groups = [GroupState(cases, Standing(tuple(cases), study.against)) for cases in study.groups()]
        self._stops = study.launches
        self._clock = clock
        self._budget = budget or SECONDS_PER_ARM * sum(len(group.cases) for group in self.groups)
        first = self._stops[0] if budget else min(CLAIM_LAUNCHES, self._stops[-1])
        self._planned = dict.fromkeys(self.groups, first)

    def planned(self, group: GroupState) -> int:
        """Launches that the group is to have by what is known now."""
        return self._planned[group]

    def worth_a_launch(self, group: GroupState, precise: Callable[[GroupState], bool]) -> bool:
        """Whether the group is to be launched once more. ``precise`` tells whether its intervals are narrow enough."""
        if not group.standing.alive:
            return False
        if group.launches < self._planned[group]:
            return True
        further = [stop for stop in self._stops if stop > group.launches]
        if not further or (group.launches >= CLAIM_LAUNCHES and precise(group)):
            return False
        expected = (further[0] - group.launches) * self._launch_seconds(group)
        if self._clock.total + self.seconds_left() + expected > self._budget:
            return False
        self._planned[group] = further[0]
        return True

    def seconds_left(self) -> float:
        """What the launches planned so far will take."""
        alive = [group for group in self.groups if group.standing.alive]
        return sum(max(0, self._planned[group] - group.launches) * self._launch_seconds(group) for group in alive)

    def _launch_seconds(self, group: GroupState) -> float:
        """What a launch of the group took, or will about take, judging by other groups and by its own steps."""
        known = [other.launch_seconds for other in self.groups if other.launch_seconds]
        guess = max(sum(known) / len(known) if known else 0.0, 3 * sum(group.step_seconds.values()))
        return group.launch_seconds or guess
