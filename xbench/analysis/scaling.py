"""How figures grow along a sweep: the power of N, and where one arm overtakes another.

An exponent says how time or memory grows once there is much to attend to; a crossover, from which size on another arm
is the better one. Both are read off measured points, without the sizes whose control failed. Their intervals hold the
noise of the points and what the points themselves say of the line drawn through them; neither knows of anything unusual
between two sizes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from xbench.analysis.results import Results
from xbench.analysis.sweeps import Sweep
from xbench.attention.registry import facts_of, stated_exponent
from xbench.metrics.definitions import MEMORY, METRICS
from xbench.statistics.estimates import launch_logs
from xbench.statistics.slopes import Slope, slope_between, slope_of_line
from xbench.study.conditions import Conditions

UPPER_RANGE = 16.0  # the headline is fitted where N is within this factor of the largest
MIN_SIZES = 3  # two sizes have a slope and cannot contradict a power law
LINE_SIZES = 4  # from which a line has an interval of its own that is worth something
SAME_EXPONENT = 0.05  # the smallest difference of exponents that matters


@dataclass(frozen=True)
class Exponent:
    """ "figure ∝ N^value" in the upper part of a sweep.

    Attributes:
        value, low, high: the headline and its 95 % interval; see ``exponent``.
        local: (N halfway, slope, low, high) between neighbours over the whole sweep. The ends are NaN where one of the
            two has a single launch, and equal the slope where the figures are exact.
        theory: the power that the attention's stated cost gives, for N → ∞ at every level, since everything else in the
            model is linear in N; None where none is stated.
        points: sizes that the headline rests on, the largest of the sweep: 2 for the slope between the last two.
        straight: False where two of the local slopes in the upper part differ beyond their intervals: not one power.
            None where that cannot be seen.
    """

    value: float
    low: float
    high: float
    local: list[tuple[float, float, float, float]]
    theory: float | None
    points: int
    straight: bool | None


def exponent(results: Results, sweep: Sweep, arm: str, metric: str) -> Exponent | None:
    """The power of N, the number of tokens, with which a figure grows.

    Of times, of rates as the time of an image, and of memory as that of the activations, for parameters do not grow.
    The upper part of the sweep are the sizes whose N lies within a factor of 16 of the largest, or the three largest,
    because at small sizes what does not grow shows most. Where it has four sizes or more, the headline is the slope of
    a line through one mean per size, whose t interval has as many degrees of freedom as sizes less two: launches repeat
    the noise of a size, but not how far the size lies from the line. Three sizes say too little of that; there the
    headline is the slope between the two largest, which has no misfit, with Welch's interval over their launches.

    None where fewer than three sizes have a figure, and for metrics that are neither time nor memory.
    """
    if len(sweep.conditions) < 2 or (METRICS[metric].exact and metric not in MEMORY):
        return None
    logs: dict[float, list[float]] = {}
    for conditions in sweep.conditions:
        if results.trusted(conditions, metric) and (found := launch_times(results, conditions, arm, metric)):
            logs.setdefault(math.log(conditions.n_tokens), []).extend(found)
    sizes = sorted(logs)
    if len(sizes) < MIN_SIZES:
        return None
    local = [
        ((left + right) / 2, _local_slope(left, right, logs, exact=METRICS[metric].exact))
        for left, right in pairwise(sizes)
    ]
    within = [x for x in sizes if x >= sizes[-1] - math.log(UPPER_RANGE) - 1e-9]
    upper = within if len(within) > MIN_SIZES else sizes[-MIN_SIZES:]
    if len(upper) >= LINE_SIZES:
        headline, points = slope_of_line(upper, [float(np.mean(logs[x])) for x in upper]), len(upper)
    else:
        headline, points = local[-1][1], 2
    return Exponent(
        value=headline.value,
        low=headline.low,
        high=headline.high,
        local=[(math.exp(x), slope.value, slope.low, slope.high) for x, slope in local],
        theory=theory(results.cases[arm]["attn"], metric, results.stated.get(arm, {})),
        points=points,
        straight=_straight([slope for x, slope in local if x > upper[0]]),
    )


def _local_slope(left: float, right: float, logs: dict[float, list[float]], exact: bool) -> Slope:
    slope = slope_between((left, right), (logs[left], logs[right]))
    return Slope(slope.value, slope.value, slope.value) if exact else slope


def _straight(slopes: Sequence[Slope]) -> bool | None:
    known = [slope for slope in slopes if not math.isnan(slope.low)]
    if len(known) < 2:
        return None
    return max(slope.low for slope in known) - min(slope.high for slope in known) <= SAME_EXPONENT


def launch_times(results: Results, conditions: Conditions, arm: str, metric: str) -> list[float]:
    """One log per launch of what is to grow: seconds or bytes. One in all for exact figures."""
    records = results.measured(conditions, arm, metric)
    if not records:
        return []
    if METRICS[metric].exact:
        activations = records[-1].detail.get("activations")
        return [math.log(activations)] if activations else []
    sign = -1 if METRICS[metric].better == "higher" else 1
    return [sign * log for log in launch_logs(results.samples(conditions, arm, metric)).values()]


def theory(attn: str | None, metric: str, stated: Mapping[str, str] = MappingProxyType({})) -> float | None:
    """The power of N in the stated cost, or in the stated memory for memory; at least 1, since all tokens are read.

    ``stated`` is what the records keep of an attention from outside, which is not imported to be asked; of others they
    keep nothing, and the registry knows. None where nothing is stated, and for the step of the optimizer, which no
    attention decides.
    """
    if metric == "optimizer_time":
        return None
    if not stated and (info := facts_of((attn or "").partition(":")[0])):
        stated = {"cost": info.cost, "memory": info.memory}
    cost, memory = stated.get("cost", ""), stated.get("memory", "")
    power = stated_exponent(memory or cost if metric in MEMORY else cost)
    return None if power is None else max(1.0, power)
