"""From samples to figures with intervals, over launches, because the spread lies between launches.

Samples come as one list per place: (run, launch, heat), the identity of what ran side by side. Sample i of two arms at
one place was taken in the same round, so ratios are paired.
The estimator is the median of the paired log-ratios at each place, the mean over the heats of a launch, and over
launches Student's t on those logs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

Launches = Mapping[tuple[Any, ...], Sequence[float]]  # by (run, launch, …)
Logs = Mapping[tuple[Any, ...], float]  # one per (run, launch)


@dataclass(frozen=True)
class Estimate:
    """A positive quantity with its 95 % interval over launches. With a single launch the interval is unknown (NaN).

    ``median`` is the distribution-free interval of the median of the launches; None where they are too few for one.
    """

    value: float
    low: float
    high: float
    launches: int
    median: tuple[float, float] | None = None

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A figure that repeats to the last digit."""
        return cls(value, value, value, launches=1)

    @classmethod
    def at_least(cls, value: float) -> "Estimate":
        """A lower bound: how much more it is nobody knows."""
        return cls(value, value, math.inf, launches=1)

    @property
    def bound(self) -> Literal["", "≥", "≤"]:
        """How it reads where one end alone is known: "≥" of a lower bound, "≤" of an upper bound on a ratio."""
        if not 0 < self.value < math.inf:
            return ""
        if (self.low, self.high) == (self.value, math.inf):
            return "≥"
        return "≤" if (self.low, self.high) == (0.0, self.value) else ""

    @property
    def half_width(self) -> float:
        """Half the interval, relative to the value; infinite when unknown."""
        return math.log(self.high / self.low) / 2 if self.low > 0 else math.inf

    @property
    def inverse(self) -> "Estimate":
        """The ratio the other way round."""
        median = (1 / self.median[1], 1 / self.median[0]) if self.median else None
        return Estimate(1 / self.value, 1 / self.high, 1 / self.low, self.launches, median)

    def over(self, other: "Estimate") -> "Estimate | None":
        """The ratio of two figures that are exact or lower bounds; None where nothing is known of it."""
        low, high = self.low / other.high, self.high / other.low
        return None if (low, high) == (0.0, math.inf) else Estimate(self.value / other.value, low, high, launches=1)

    def times(self, factor: float) -> "Estimate":
        """The quantity in another unit; ``factor`` is above 0."""
        median = (self.median[0] * factor, self.median[1] * factor) if self.median else None
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.launches, median)

    @property
    def differs(self) -> bool:
        """Of a ratio: whether its interval is known and leaves out 1."""
        return self.low > 1 or self.high < 1

    @property
    def doubtful(self) -> bool:
        """Of a ratio: whether it differs from 1 by the mean of the launches, and by their median might not."""
        return self.differs and self.median is not None and self.median[0] <= 1 <= self.median[1]


def estimate(launches: Launches) -> Estimate:
    """The quantity itself: the median of each launch, and the t interval of their logs."""
    return over_launches(launch_logs(launches))


def launch_logs(launches: Launches) -> dict[tuple[Any, ...], float]:
    """By (run, launch), the log of the median of the samples; the mean of those where a launch has several heats."""
    return by_launch({place: math.log(np.median(samples)) for place, samples in launches.items() if len(samples)})


def ratio(of: Launches, to: Launches) -> Estimate:
    """How many times ``to`` is ``of``, from samples paired by place and round.

    Launches or rounds that only one side finished are left out.

    Raises:
        ValueError: no place has a pair.
    """
    return over_launches(launch_log_ratios(of, to))


def launch_log_ratios(of: Launches, to: Launches) -> dict[tuple[Any, ...], float]:
    """By (run, launch), the median of the paired log-ratios; the mean of those where a launch has several heats."""
    logs = {}
    for place in sorted(of.keys() & to.keys(), key=str):
        left, right = of[place], to[place]
        pairs = min(len(left), len(right))
        if pairs:
            logs[place] = float(np.median(np.log(left[:pairs]) - np.log(right[:pairs])))
    return by_launch(logs)


def by_launch(values: Mapping[tuple[Any, ...], float]) -> dict[tuple[Any, ...], float]:
    """By (run, launch), the mean over its heats, from one value per (run, launch, heat)."""
    heats: dict[tuple[Any, ...], list[float]] = {}
    for place, value in values.items():
        heats.setdefault(place[:2], []).append(value)
    return {launch: sum(found) / len(found) for launch, found in heats.items()}


def over_launches(logs: Logs) -> Estimate:
    """Geometric mean over launches with its t interval, from one log per launch.

    Raises:
        ValueError: no launch.
    """
    if not logs:
        raise ValueError("no launch has samples of both sides")
    values = np.sort(list(logs.values()))
    centre, half = mean_and_half_interval(values)
    ranks = _median_ranks(len(values))
    median = (math.exp(values[ranks[0]]), math.exp(values[ranks[1]])) if ranks else None
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(values), median)


def share_over_launches(shares: Mapping[tuple[Any, ...], float]) -> Estimate:
    """Mean and t interval of shares of a whole, one per launch, clipped to 0 and 1. Not on logs: a share may be 0."""
    centre, half = mean_and_half_interval(np.asarray(list(shares.values())))
    low, high = (float(np.clip(end, 0.0, 1.0)) for end in (centre - half, centre + half))
    return Estimate(centre, low, high, len(shares))


def mean_and_half_interval(values: np.ndarray) -> tuple[float, float]:
    """The mean and half its t interval: NaN for a single value, 0 for values that repeat exactly."""
    if len(values) < 2:
        return float(values[0]), math.nan
    if np.ptp(values) == 0:
        return float(values[0]), 0.0
    return float(values.mean()), t_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


@cache
def t_quantile(degrees: float) -> float:
    """How many standard errors half an interval is."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))


@cache
def _median_ranks(n: int) -> tuple[int, int] | None:
    """Which of n sorted values bound the median's distribution-free interval; None where there are too few."""
    interval: Any = stats.quantile_test(np.arange(n), p=0.5).confidence_interval(CONFIDENCE)
    ends = interval.low, interval.high
    return (int(ends[0]), int(ends[1])) if all(map(math.isfinite, ends)) else None


@dataclass(frozen=True)
class Difference:
    """One quantity less another, in their unit, from so many ``pairs``; the interval is NaN with a single one."""

    value: float
    low: float
    high: float
    pairs: int
