"""Where a curve through noisy points crosses zero."""

from collections.abc import Sequence

import numpy as np

from xbench.statistics.estimates import Estimate, t_quantile

MORE_BENT = 1.5  # than a lone third size says: found to hold the crossing of N² + N and N, from mostly N² to mostly N
DRAWS = 4000


def crossing(x: Sequence[float], ratios: Sequence[Estimate], first: int, last: int) -> tuple[float, float, float]:
    """Where the log of the ratio at ``x`` crosses 0 between the places ``first`` and ``last``, whose signs are
    opposite, and the 95 % interval of that.

    The log is drawn by straight lines between the two, and by the parabola through them and a third place, for each
    that lies between or beside them. A lone third place says roughly how bent the curve is; then a parabola half as
    bent again is drawn too. The interval is the hull of all of theirs, for how the curve runs between two places is
    known less well than where it is at them. It holds the crossings of curves through values from the ratios' t
    distributions. A curve that has lost the sign of an end crosses beyond it and counts as at that end.
    """
    random = np.random.default_rng(0)
    at_x = np.asarray(x)
    centre = np.log([ratio.value for ratio in ratios])
    degrees = np.array([max(1, ratio.launches - 1) for ratio in ratios])
    scale = np.array([ratio.half_width for ratio in ratios]) / [t_quantile(int(n)) for n in degrees]
    curves = np.vstack([centre, centre + scale * random.standard_t(degrees, size=(DRAWS, len(at_x)))])
    within = slice(first, last + 1)
    thirds = [[first, i, last] for i in range(len(at_x)) if i not in (first, last)]
    ways = [
        _by_lines(at_x[within], curves[:, within]),
        *(_by_parabola(at_x[three], curves[:, three]) for three in thirds),
    ]
    if len(at_x) == 3 and last - first == 1:
        ways.append(_by_parabola(at_x[thirds[0]], curves[:, thirds[0]], times_bent=MORE_BENT))
    above = curves > 0
    lost_first, lost_last = (above[:, end] != above[0, end] for end in (first, last))
    placed = [np.where(lost_first, at_x[first], np.where(lost_last, at_x[last], way)) for way in ways]
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
    crossed: np.ndarray = x[0] + u * (x[2] - x[0])
    return crossed
