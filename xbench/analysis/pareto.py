"""What an arm is worth against what it costs: which arms no other beats on both sides, as far as intervals can say.

An arm is dominated by another that is shown to be better on one side and is no worse on the other: there, the interval
of the two arms' difference or ratio leaves no room for a worse that matters. Where the intervals leave that open, and
where an arm was still rising when its training was stopped, that arm is not dominated.
"""

from dataclasses import dataclass, replace

from xbench.analysis.ability import ability, probed
from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS, PROBES, PUBLISHED
from xbench.statistics.estimates import Difference, Estimate
from xbench.statistics.verdicts import EFFECT, POINTS
from xbench.study.conditions import Conditions

ALIKE = 0.01  # relative difference of costs under which they are the same
COSTS = ("macs", "params")  # beside speed and memory


@dataclass(frozen=True)
class Point:
    """An arm's ``worth`` in % and its ``cost``, less of which is better; ``dominated_by`` the first arm that does."""

    arm: str
    worth: Estimate
    cost: Estimate
    decided: bool
    dominated_by: str | None = None


@dataclass(frozen=True)
class Front:
    """The arms by what they cost, cheapest first, for what they reach in ``task`` at ``trained``.

    ``metric`` is taken at ``place``, which differs from ``trained`` at most in the extent. A higher metric (throughput)
    is turned round: then the cost is the time of an image or a sequence, in ms.
    """

    task: str
    trained: Conditions
    metric: str
    place: Conditions
    points: tuple[Point, ...]

    @property
    def best(self) -> list[Point]:
        """Those that none dominates and that reach at least a point more than every cheaper one of them."""
        steps: list[Point] = []
        for point in self.points:
            if point.dominated_by is None and (not steps or point.worth.value >= steps[-1].worth.value + POINTS):
                if steps and point.cost.value < (1 + ALIKE) * steps[-1].cost.value:
                    steps.pop()  # for the same cost
                steps.append(point)
        return steps


def fronts(results: Results) -> list[Front]:
    """For each made-up task, for the score of trained models and for the published one of timm models, against time,
    memory and multiply–accumulates: at the largest extent with a cost.
    """
    return results.once(("fronts",), lambda: _fronts(results))


def _fronts(results: Results) -> list[Front]:
    found = []
    scored = [(name, place, place) for name in (results.score, PUBLISHED) for place in results.trained_places(name)]
    for task, trained, place in [*((task, at, _largest(results, at)) for task, at in probed(results)), *scored]:
        for metric in (results.speed_metric_at(place), results.memory_metric_at(place), *COSTS):
            front = _front(results, task, trained, metric, place) if metric else None
            if front and len(front.points) > 1:
                found.append(front)
    return found


def _largest(results: Results, trained: Conditions) -> Conditions:
    """Where costs were taken at the largest extent, all else being equal."""
    near = [place for place in results.conditions if place.but_extent == trained.but_extent]
    return max(near, key=lambda place: place.extent)


def _front(results: Results, task: str, trained: Conditions, metric: str, place: Conditions) -> Front | None:
    if metric not in results.metrics or not results.trusted(place, metric):
        return None
    points = []
    for arm in results.arms:
        worth, cost = results.cell(trained, arm, task), results.cell(place, arm, metric)
        if worth and worth.figure and cost and cost.figure:
            reached = ability(results, trained, arm, task) if task in PROBES else None
            decided = reached is None or reached.decided
            points.append(Point(arm, worth.figure, as_cost(metric, cost.figure), decided))
    points.sort(key=lambda point: point.cost.value)
    front = Front(task, trained, metric, place, tuple(points))
    return Front(task, trained, metric, place, tuple(_judged(results, front, point) for point in points))


def as_cost(metric: str, figure: Estimate) -> Estimate:
    """The figure where less is better, else the milliseconds of one image or sequence."""
    return figure if METRICS[metric].better == "lower" else figure.inverse.times(1000.0)


def _judged(results: Results, front: Front, point: Point) -> Point:
    others = (other for other in front.points if other != point)
    by = next((other.arm for other in others if _dominates(results, front, other, point)), None)
    return replace(point, dominated_by=by)


def _points_between(results: Results, front: Front, one: Point, other: Point) -> Difference | None:
    """Paired by seed; of a published figure, which stands without an interval, as it is."""
    if METRICS[front.task].how == "trained":
        return results.difference(front.trained, one.arm, other.arm, front.task)
    points = one.worth.value - other.worth.value
    return Difference(points, points, points, pairs=1)


def _dominates(results: Results, front: Front, one: Point, other: Point) -> bool:
    """Whether ``one`` is shown better on one side and not worse on the other."""
    if not other.decided:
        return False
    points = _points_between(results, front, one, other)
    times = results.ratio(front.place, one.arm, front.metric, other.arm)
    if points is None or times is None:
        return False
    if METRICS[front.metric].better == "higher":
        times = times.inverse
    cheaper, as_cheap = times.high < 1 - EFFECT, times.high < 1 + EFFECT
    better, as_good = points.low > POINTS, points.low > -POINTS
    return (cheaper and as_good) or (better and as_cheap)
