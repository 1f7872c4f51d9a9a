"""Where one arm overtakes another along a sweep."""

import math
from dataclasses import dataclass
from itertools import pairwise

from xbench.analysis.results import Results
from xbench.analysis.sweeps import Sweep
from xbench.metrics.definitions import METRICS
from xbench.statistics.crossings import crossing
from xbench.statistics.estimates import Estimate
from xbench.statistics.verdicts import verdict
from xbench.study.conditions import Conditions, axis_value


@dataclass(frozen=True)
class Crossover:
    """Where another arm becomes the better one, in pixels a side (axis "res") or in tokens.

    Attributes:
        at: the crossing, by a bent curve where there is one.
        low, high: its 95 % interval, over the noise of the measured ratios and over the ways to draw a curve between
            the sizes; see ``crossovers``. The bracket itself where two sizes are all there is.
        below, above: labels of the better arm at smaller and at larger sizes.
        bracket: the measured sizes next to it where either arm is *shown* to be the better one.
    """

    at: float
    low: float
    high: float
    below: str
    above: str
    bracket: tuple[float, float]


def crossovers(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None = None) -> list[Crossover]:
    """Where the ratio of two arms crosses 1 along the sweep: of speed, or of the metric named.

    Only between sizes where opposite signs are shown, by the same rule as every other verdict; see ``advantages``. The
    log of the ratio is drawn over that of the extent; how, says ``statistics.crossings``.
    """
    key = ("crossovers", sweep, arm, to, metric)
    return results.once(key, lambda: _crossovers(results, sweep, arm, to, metric))


def _crossovers(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None) -> list[Crossover]:
    points = [one for one in advantages(results, sweep, arm, to, metric) if math.isfinite(one.times.half_width)]
    shown = [i for i, point in enumerate(points) if point.better is not None]
    found = []
    for first, last in pairwise(shown):
        below, above = points[first].better, points[last].better
        if below is None or above is None or below == above:
            continue
        before = min(first, 1)
        near = points[first - before : last + 2]
        logs = [math.log(point.place.extent) for point in near]
        crossed = crossing(logs, [point.times for point in near], before, before + last - first)
        at, low, high = (axis_value(math.exp(x), sweep.axis) for x in crossed)
        ends = [axis_value(points[i].place.extent, sweep.axis) for i in (first, last)]
        bracket = (ends[0], ends[1])
        low, high = bracket if len(near) == 2 else (low, high)
        found.append(Crossover(at, low, high, below, above, bracket))
    return found


@dataclass(frozen=True)
class Advantage:
    """How many times as good an arm is as another at one size, and which of the two is *shown* to be better, if any."""

    place: Conditions
    times: Estimate
    better: str | None


def advantages(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None = None) -> list[Advantage]:
    """One per size of the sweep that has both arms and whose control did not fail: in speed, or in the metric named."""
    found = []
    for conditions in sweep.conditions:
        times = results.ratio(conditions, arm, metric, to) if metric else results.speed_ratio(conditions, arm, to)
        if times is None or not results.trusted(conditions, metric):
            continue
        if metric and METRICS[metric].better == "lower":
            times = times.inverse
        control = None if metric and METRICS[metric].exact else results.control_ratio(conditions, metric)
        better = {"higher": arm, "lower": to}.get(verdict(times, control))
        found.append(Advantage(conditions, times, better))
    return found
