"""Slopes with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from xbench.statistics.estimates import t_quantile


@dataclass(frozen=True)
class Slope:
    """How fast y rises with x, and its 95 % interval, NaN where it is unknown."""

    value: float
    low: float
    high: float


def slope_of_line(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Least squares of one value of y per place, with the t interval of the residuals: len(x) − 2 degrees of freedom.

    So the interval holds the misfit of the line, and of the noise what shows in these values.
    """
    fit: Any = stats.linregress(x, y)
    half = t_quantile(len(x) - 2) * float(fit.stderr) if len(x) > 2 else math.nan
    return Slope(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)


def slope_between(x: tuple[float, float], y: tuple[Sequence[float], Sequence[float]]) -> Slope:
    """From the first to the second place, each with its own independent values of y.

    The interval is Welch's, for the two places need not spread alike. Values that repeat exactly have an exact slope.
    """
    left, right = (np.asarray(values) for values in y)
    run = x[1] - x[0]
    value = float(right.mean() - left.mean()) / run
    if min(len(left), len(right)) < 2:
        return Slope(value, math.nan, math.nan)
    parts = [values.var(ddof=1) / len(values) for values in (left, right)]
    if not sum(parts):
        return Slope(value, value, value)
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (left, right), strict=True)
    )
    half = t_quantile(degrees) * math.sqrt(sum(parts)) / abs(run)
    return Slope(value, value - half, value + half)
