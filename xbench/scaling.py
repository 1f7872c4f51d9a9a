"""How figures grow along a sweep: the power of N, and where one arm overtakes another.

An exponent says how time or memory grows once there is much to attend to; a crossover, from which size on another arm
is the better one. Both are read off measured points: their intervals hold the noise of these, and assume that nothing
unusual happens between two of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xbench.errors import UserError
from xbench.metrics import METRICS
from xbench.registry import catalogue, describe, stated_exponent
from xbench.results import Results
from xbench.statistics import Estimate, Slope, launch_logs, slope_between, slope_of_line, t_quantile, verdict
from xbench.sweeps import Conditions, Sweep, axis_value, extent

MEMORY = ("peak_memory", "predicted_memory")
UPPER_RANGE = 16.0  # the headline is fitted where the extent is within this factor of the largest
MIN_SIZES = 3  # two sizes have a slope and cannot contradict a power law
SAME_EXPONENT = 0.05  # the smallest difference of exponents that matters
DRAWS = 4000


@dataclass(frozen=True)
class Exponent:
    """ "figure ∝ N^value" in the upper part of a sweep.

    Attributes:
        value, low, high: slope of log figure against log extent and its 95 % interval; of exact figures the interval
            holds the misfit alone.
        local: (extent halfway, slope, low, high) between neighbours over the whole sweep. The ends are NaN where one
            of the two has a single launch, and equal the slope where the figures are exact.
        theory: the power that the attention's stated cost gives, for N → ∞ at every level, since everything else in the
            model is linear in N; None where none is stated.
        points: sizes in the upper part.
        straight: False where two of the local slopes in the upper part differ beyond their intervals: not one power.
    """

    value: float
    low: float
    high: float
    local: list[tuple[float, float, float, float]]
    theory: float | None
    points: int
    straight: bool


def exponent(results: Results, sweep: Sweep, arm: str, metric: str) -> Exponent | None:
    """The power of the extent with which a figure grows; None where fewer than three sizes have one.

    Times, rates as the time of an image, and exact figures. Of memory it is that of the activations: parameters do not
    grow. The headline is fitted to all launches of the sizes whose extent lies within a factor of 16 of the largest, or
    of the three largest sizes, because at small sizes what does not grow shows most.
    """
    sizes = [(extent(conditions), _logs(results, conditions, arm, metric)) for conditions in sweep.conditions]
    points = [(math.log(x), logs) for x, logs in sizes if logs]
    if len({x for x, _ in points}) < MIN_SIZES:
        return None
    distinct = sorted({x for x, _ in points})
    start = min(distinct[-MIN_SIZES], next(x for x in distinct if x >= distinct[-1] - math.log(UPPER_RANGE) - 1e-9))
    upper = [(x, log) for x, logs in points if x >= start for log in logs]
    line = slope_of_line([x for x, _ in upper], [log for _, log in upper])
    local = [
        ((left[0] + right[0]) / 2, slope_between((left[0], right[0]), (left[1], right[1])))
        for left, right in pairwise(points)
        if right[0] > left[0]
    ]
    if METRICS[metric].exact:
        local = [(x, Slope(slope.value, slope.value, slope.value)) for x, slope in local]
    return Exponent(
        value=line.value,
        low=line.low,
        high=line.high,
        local=[(math.exp(x), slope.value, slope.low, slope.high) for x, slope in local],
        theory=theory(results.cases[arm]["attn"], metric),
        points=sum(x >= start for x in distinct),
        straight=_straight([slope for x, slope in local if x > start]),
    )


def _straight(slopes: Sequence[Slope]) -> bool:
    known = [slope for slope in slopes if not math.isnan(slope.low)]
    if not known:
        return True
    return max(slope.low for slope in known) - min(slope.high for slope in known) <= SAME_EXPONENT


def _logs(results: Results, conditions: Conditions, arm: str, metric: str) -> list[float]:
    """One log per launch of what is to grow: seconds, bytes, operations. One in all for exact figures."""
    records = results.measured(conditions, arm, metric)
    if not records:
        return []
    if METRICS[metric].exact:
        figure = records[-1].detail.get("activations") if metric in MEMORY else records[-1].samples[0]
        return [math.log(figure)] if figure else []
    sign = -1 if METRICS[metric].better == "higher" else 1
    return [sign * log for log in launch_logs(results.samples(conditions, arm, metric)).values()]


def theory(attn: str | None, metric: str) -> float | None:
    """The power of N in the stated cost, or in the stated memory for memory; at least 1, since all tokens are read.

    None where nothing is stated, and for what the attention does not decide.
    """
    if metric in ("params", "optimizer_time"):
        return None
    name = (attn or "").partition(":")[0]
    try:
        info = describe(name) if name in catalogue() else None
    except UserError:
        return None
    if info is None:
        return None
    power = stated_exponent(info.memory or info.cost if metric in (*MEMORY, "max_batch") else info.cost)
    return None if power is None else max(1.0, power)


@dataclass(frozen=True)
class Crossover:
    """Where another arm becomes the better one, in pixels a side (axis "res") or in tokens.

    Attributes:
        at: by straight lines between the measured sizes, of the log-ratio against the log of the extent.
        low, high: its 95 % interval, from the noise of the measured ratios; equal to ``at`` for exact figures.
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

    Only between sizes where opposite signs are shown, by the same rule as every other verdict; see ``advantages``.
    """
    found = []
    points = [point for point in advantages(results, sweep, arm, to, metric) if point.times is not None]
    shown = [i for i, point in enumerate(points) if point.better is not None]
    for first, last in pairwise(shown):
        below, above = points[first].better, points[last].better
        if below is None or above is None or below == above:
            continue
        between = points[first : last + 1]
        x = np.log([point.extent for point in between])
        place = [axis_value(math.exp(at), sweep.axis) for at in _crossing(x, [p.times for p in between if p.times])]
        bracket = (axis_value(between[0].extent, sweep.axis), axis_value(between[-1].extent, sweep.axis))
        found.append(Crossover(place[0], place[1], place[2], below, above, bracket))
    return found


@dataclass(frozen=True)
class Advantage:
    """How many times as good an arm is as another at one size, and which of the two is *shown* to be better, if any."""

    extent: float
    times: Estimate | None
    better: str | None


def advantages(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None = None) -> list[Advantage]:
    """One per size of the sweep, in speed or in the metric named. Where the control failed nothing is shown."""
    found = []
    for conditions in sweep.conditions:
        times = results.ratio(conditions, arm, metric, to) if metric else results.speed_ratio(conditions, arm, to)
        if times and metric and METRICS[metric].better == "lower":
            times = times.inverse
        better = None
        if times and results.trusted(conditions, metric):
            control = None if metric and METRICS[metric].exact else results.control_ratio(conditions, metric)
            better = {"higher": arm, "lower": to}.get(verdict(times, control))
        found.append(Advantage(extent(conditions), times, better))
    return found


def _crossing(x: np.ndarray, times: Sequence[Estimate]) -> tuple[float, float, float]:
    """Where log times crosses 0 on x, and the interval: crossings of curves drawn from the estimates' t distributions.

    The ends have opposite signs. A curve that has lost the sign of an end crosses beyond it and counts as at that end.
    """
    random = np.random.default_rng(0)
    centre = np.log([estimate.value for estimate in times])
    half = np.array([estimate.half_width for estimate in times])
    degrees = np.array([max(1, estimate.launches - 1) for estimate in times])
    scale = np.where(np.isfinite(half), half, 0.0) / np.array([t_quantile(int(n)) for n in degrees])
    curves = np.vstack([centre, centre + scale * random.standard_t(degrees, size=(DRAWS, len(x)))])
    above = curves > 0
    rise = np.diff(curves, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = x[:-1] - curves[:, :-1] / rise * np.diff(x)
    crossings = np.where(above[:, :-1] != above[:, 1:], crossings, np.nan)
    lost_first, lost_last = above[:, 0] != above[0, 0], above[:, -1] != above[0, -1]
    kept = ~(lost_first | lost_last)
    # The ends differ in sign, so there is an odd number of crossings, and the median of them is one.
    at = np.where(lost_first, x[0], x[-1])
    at[kept] = np.nanmedian(crossings[kept], axis=1)
    low, high = np.quantile(at[1:], [0.025, 0.975])
    return float(at[0]), float(low), float(high)
