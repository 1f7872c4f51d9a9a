"""Percentages and their differences, with intervals that stay within what a percentage can be."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special, stats

from xbench.statistics.estimates import CONFIDENCE, Difference, Estimate, mean_and_half_interval


def percent_over_seeds(values: Sequence[float], images: int = 0) -> Estimate:
    """Arithmetic mean of percentages, one per seed, with an interval that stays within 0 and 100 %.

    It is the t interval on the scale of the log-odds, its standard error taken over by the delta method, as in surveys
    for a proportion over few clusters: Korn and Graubard, "Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data", Survey Methodology 24 (1998); ``svyciprop(method="logit")``
    of R's survey package. Seeds that agree exactly show no spread, and so it would be none at 100 %: there it is
    Wilson's interval over all ``images`` that all seeds together classified, where that number is known.

    Raises:
        ValueError: no value.
    """
    if not len(values):
        raise ValueError("no seed has a value")
    centre, half = (number / 100 for number in mean_and_half_interval(np.asarray(values)))
    if half > 0:
        low, high = _bounded(centre, half, special.logit, special.expit, 1 / (centre * (1 - centre)))
    elif half == 0 and images:
        low, high = wilson(round(centre * images), images)
    else:
        low, high = centre - half, centre + half
    return Estimate(100 * centre, 100 * low, 100 * high, len(values))


def wilson(correct: int, images: int) -> tuple[float, float]:
    """The ends of Wilson's 95 % interval of a share, so many of so many."""
    found: Any = stats.binomtest(correct, images).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def paired_points(of: Mapping[Any, float], to: Mapping[Any, float], images: int = 0) -> Difference | None:
    """``of`` less ``to``, both percentages, paired by key, with an interval within ± 100 points. None without a pair.

    It is the t interval of the pairs on Fisher's scale, artanh, as that of ``percent_over_seeds`` is on the log-odds'.
    Where all pairs differ by exactly as much it is Newcombe's, over the ``images`` that the pairs together classified
    on either side, where that number is known.
    """
    keys = sorted(of.keys() & to.keys())
    if not keys:
        return None
    centre, half = (number / 100 for number in mean_and_half_interval(np.array([of[key] - to[key] for key in keys])))
    low, high = centre - half, centre + half
    if half > 0:
        low, high = _bounded(centre, half, np.arctanh, np.tanh, 1 / (1 - centre**2))
    elif half == 0 and images:
        left, right = (sum(side[key] for key in keys) / len(keys) / 100 for side in (of, to))
        low, high = newcombe((round(left * images), images), (round(right * images), images))
    return Difference(100 * centre, 100 * low, 100 * high, len(keys))


def newcombe(of: tuple[int, int], to: tuple[int, int]) -> tuple[float, float]:
    """The ends of the 95 % interval of the difference of two shares, each so many of so many.

    Method 10 of Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), from Wilson's intervals of both.
    """
    (left, ours), (right, theirs) = ((count / total, wilson(count, total)) for count, total in (of, to))
    low = left - right - math.hypot(left - ours[0], theirs[1] - right)
    return low, left - right + math.hypot(ours[1] - left, right - theirs[0])


def _bounded(
    centre: float, half: float, there: Callable[[float], Any], back: Callable[[float], Any], slope: float
) -> tuple[float, float]:
    """The ends of an interval that is symmetric on another scale, on which ``slope`` is that of ``there``."""
    middle, reach = float(there(centre)), half * slope
    return float(back(middle - reach)), float(back(middle + reach))
