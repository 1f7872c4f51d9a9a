"""From samples to figures with intervals, over launches, because the spread lies between launches.

Samples come as one list per launch, by the launch's identity. Sample i of two arms in one launch was taken in the same
round, so ratios are paired.
The estimator is the median of the paired log-ratios in each launch, and over launches Student's t on those logs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
EFFECT = 0.05  # the smallest relative difference that matters to a user

Launches = Mapping[tuple[str, int], Sequence[float]]  # by (run, launch)
Verdict = Literal["higher", "lower", "equal", "not shown"]


@dataclass(frozen=True)
class Estimate:
    """A positive quantity with its 95 % interval over launches. With a single launch the interval is unknown (NaN).

    ``doubtful`` says that the median's distribution-free interval contradicts the t interval about 1 (ratios only).
    """

    value: float
    low: float
    high: float
    launches: int
    doubtful: bool = False

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A figure that repeats to the last digit."""
        return cls(value, value, value, launches=1)

    @property
    def half_width(self) -> float:
        """Half the interval, relative to the value; infinite when unknown."""
        return math.log(self.high / self.low) / 2 if self.low > 0 else math.inf

    @property
    def inverse(self) -> "Estimate":
        """The ratio the other way round."""
        return Estimate(1 / self.value, 1 / self.high, 1 / self.low, self.launches, self.doubtful)

    def excludes(self, value: float) -> bool:
        """Whether the interval is known and leaves the value out."""
        return self.low > value or self.high < value


def estimate(launches: Launches) -> Estimate:
    """The quantity itself: the median of each launch, and the t interval of their logs."""
    return _over_launches(np.log([np.median(samples) for samples in launches.values() if len(samples)]))


def ratio(of: Launches, to: Launches) -> Estimate:
    """How many times ``to`` is ``of``, from samples paired by launch and round.

    Launches or rounds that only one side finished are left out.

    Raises:
        ValueError: no launch has a pair.
    """
    logs = []
    for launch in of.keys() & to.keys():
        left, right = of[launch], to[launch]
        pairs = min(len(left), len(right))
        if pairs:
            logs.append(np.median(np.log(left[:pairs]) - np.log(right[:pairs])))
    if not logs:
        raise ValueError("no launch has samples of both sides")
    return _over_launches(np.asarray(logs))


def _over_launches(logs: np.ndarray) -> Estimate:
    """Geometric mean over launches with its t interval, from one log per launch."""
    centre = float(logs.mean())
    low = high = math.nan
    doubtful = False
    if len(logs) > 1 and np.ptp(logs) == 0:
        low = high = centre  # launches that repeat exactly have no spread
    elif len(logs) > 1:
        low, high = stats.t.interval(CONFIDENCE, len(logs) - 1, loc=centre, scale=stats.sem(logs))
        median: Any = stats.quantile_test(logs, q=0.0, p=0.5).confidence_interval(CONFIDENCE)
        if math.isfinite(median.low) and math.isfinite(median.high):
            doubtful = (low > 0 or high < 0) != bool(median.low > 0 or median.high < 0)
    return Estimate(math.exp(centre), math.exp(low), math.exp(high), len(logs), doubtful)


def verdict(ratio: Estimate, control: Estimate | None = None, effect: float = EFFECT) -> Verdict:
    """What the interval of a ratio allows one to say.

    "higher" or "lower" when it leaves out 1 and, where a control ran, lies beyond the control's interval too, for what
    equals show between them is no finding. "equal" when it lies within ± ``effect`` of 1, else "not shown".
    """
    if ratio.doubtful or not math.isfinite(ratio.half_width):
        return "not shown"
    if 1 - effect < ratio.low and ratio.high < 1 + effect:
        return "equal"
    known = control is not None and math.isfinite(control.half_width)
    low, high = (control.low, control.high) if control is not None and known else (1.0, 1.0)
    if ratio.low > max(1.0, high):
        return "higher"
    if ratio.high < min(1.0, low):
        return "lower"
    return "not shown"


def control_holds(control: Estimate, effect: float = EFFECT) -> bool:
    """Whether the reference arm, measured against itself, came out as itself within ± ``effect``."""
    return abs(math.log(control.value)) <= math.log1p(effect)
