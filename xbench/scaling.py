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

from xbench.metrics import MEMORY, METRICS
from xbench.registry import facts_of, stated_exponent
from xbench.results import Results
from xbench.statistics import Estimate, Slope, launch_logs, slope_between, slope_of_line, t_quantile, verdict
from xbench.sweeps import Conditions, Sweep, axis_value, extent, tokens_of

UPPER_RANGE = 16.0  # the headline is fitted where N is within this factor of the largest
MIN_SIZES = 3  # two sizes have a slope and cannot contradict a power law
LINE_SIZES = 4  # from which a line has an interval of its own that is worth something
SAME_EXPONENT = 0.05  # the smallest difference of exponents that matters
MORE_BENT = 1.5  # than a lone third size says: found to hold the crossing of N² + N and N, from mostly N² to mostly N
DRAWS = 4000


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
    if METRICS[metric].exact and metric not in MEMORY:
        return None
    logs: dict[float, list[float]] = {}
    for conditions in sweep.conditions:
        if results.trusted(conditions, metric) and (found := _logs(results, conditions, arm, metric)):
            logs.setdefault(math.log(tokens_of(conditions)), []).extend(found)
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


def _logs(results: Results, conditions: Conditions, arm: str, metric: str) -> list[float]:
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

    ``stated`` is what the records keep of an attention from outside, which is not imported to be asked. None where
    nothing is stated, and for the step of the optimizer, which no attention decides.
    """
    if metric == "optimizer_time":
        return None
    name = (attn or "").partition(":")[0]
    info = facts_of(name)
    cost, memory = (info.cost, info.memory) if info else (stated.get("cost", ""), stated.get("memory", ""))
    power = stated_exponent(memory or cost if metric in MEMORY else cost)
    return None if power is None else max(1.0, power)


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
    log of the ratio is drawn over that of the extent, by straight lines within the bracket, and by the parabola through
    the ends of the bracket and a third size, for each that lies within the bracket or next to it. A lone third size on
    one side says roughly how bent the curve is; then a parabola half as bent again is drawn too. The interval is the
    hull of all of theirs, for how the curve runs between two sizes is known less well than where it is at them.
    """
    key = ("crossovers", *map(results.number_of, sweep.conditions), arm, to, metric)
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
        crossing = _crossing(near, before, before + last - first)
        at, low, high = (axis_value(math.exp(x), sweep.axis) for x in crossing)
        ends = [axis_value(extent(points[i].place), sweep.axis) for i in (first, last)]
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


def _crossing(points: Sequence[Advantage], first: int, last: int) -> tuple[float, float, float]:
    """Where log times crosses 0 between two of the points, of opposite signs, on the log of the extent.

    The interval holds the crossings of curves through values from the estimates' t distributions. A curve that has lost
    the sign of an end crosses beyond it and counts as at that end.
    """
    random = np.random.default_rng(0)
    x = np.log([extent(point.place) for point in points])
    centre = np.log([point.times.value for point in points])
    degrees = np.array([max(1, point.times.launches - 1) for point in points])
    scale = np.array([point.times.half_width for point in points]) / [t_quantile(int(n)) for n in degrees]
    curves = np.vstack([centre, centre + scale * random.standard_t(degrees, size=(DRAWS, len(x)))])
    within = slice(first, last + 1)
    thirds = [[first, i, last] for i in range(len(points)) if i not in (first, last)]
    ways = [_by_lines(x[within], curves[:, within]), *(_by_parabola(x[three], curves[:, three]) for three in thirds)]
    if len(points) == 3 and last - first == 1:
        ways.append(_by_parabola(x[thirds[0]], curves[:, thirds[0]], times_bent=MORE_BENT))
    above = curves > 0
    lost_first, lost_last = (above[:, end] != above[0, end] for end in (first, last))
    placed = [np.where(lost_first, x[first], np.where(lost_last, x[last], way)) for way in ways]
    ends = [np.quantile(at[1:], [0.025, 0.975]) for at in placed]
    bent = placed[1 : 1 + len(thirds)] or placed
    return float(np.mean([at[0] for at in bent])), min(low for low, _ in ends), max(high for _, high in ends)


def _by_lines(x: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """The crossing of each curve; of an odd number of them, which opposite ends have, the median."""
    above = curves > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = x[:-1] - curves[:, :-1] / np.diff(curves, axis=1) * np.diff(x)
    crossings = np.where(above[:, :-1] != above[:, 1:], crossings, np.nan)
    found = np.full(len(curves), np.nan)
    crosses = above[:, 0] != above[:, -1]
    found[crosses] = np.nanmedian(crossings[crosses], axis=1)
    return found


def _by_parabola(x: np.ndarray, curves: np.ndarray, times_bent: float = 1.0) -> np.ndarray:
    """The one root between the first and the last of three places, whose signs are opposite.

    ``times_bent`` other than 1 is a parabola through these two that is as many times as bent as the three places say.
    """
    third = (x[1] - x[0]) / (x[2] - x[0])
    start, at_third, end = curves.T
    # start + u · rise + bend · u · (u − 1), with u from 0 at the first place to 1 at the last
    rise = end - start
    bend = times_bent * (at_third - start - third * rise) / (third * (third - 1))
    slope = rise - bend
    with np.errstate(divide="ignore", invalid="ignore"):
        q = -(slope + np.copysign(np.sqrt(slope**2 - 4 * bend * start), slope)) / 2
        one, other = start / q, q / bend
    u = np.where((one >= 0) & (one <= 1), one, other)
    return x[0] + u * (x[2] - x[0])
