"""Where a series of values makes a step."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

FALSE_DISCOVERIES = 0.05  # the share of wrong ones among the steps that are reported
DRAWS = 20_000


ENDS = 2  # runs before and after a step, at the least: a single odd one is no change


def _level(chances: Sequence[float]) -> float:
    """How small p must be, by Benjamini and Hochberg's rule."""
    if not chances:
        return 0.0
    passed = int((stats.false_discovery_control(chances) <= FALSE_DISCOVERIES).sum())
    return FALSE_DISCOVERIES * passed / len(chances)


def _steps(logs: np.ndarray, errors: np.ndarray, level: float, start: int) -> list[tuple[int, float]]:
    """(place, p) of each step, the first found first; then those in the parts before and after it."""
    found = first_step(logs, errors)
    if found is None or found[1] > level:
        return []
    at, chance = found
    left = _steps(logs[:at], errors[:at], level, start)
    right = _steps(logs[at:], errors[at:], level, start + at)
    return [(start + at, chance), *left, *right]


def first_step(logs: np.ndarray, errors: np.ndarray) -> tuple[int, float] | None:
    """The most likely place of one step, as the index of the first value after it, and its p.

    ``errors`` are the standard errors of the values; their spread about their means counts as no smaller than these,
    so that a few values that happen to agree do not turn noise into a step. None for fewer than four values.
    """
    if len(logs) < 2 * ENDS:
        return None
    (largest,), (at,) = _largest_t(logs[None], float(np.mean(errors**2)))
    null = _null(len(logs))
    return int(at), float((1 + (null >= largest).sum()) / (1 + len(null)))


def _largest_t(rows: np.ndarray, least_variance: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """By row, the largest absolute two-sample t statistic over all places to split it, and that place."""
    n = rows.shape[1]
    left = np.arange(ENDS, n - ENDS + 1)
    sums, squares = np.cumsum(rows, axis=1), np.sum(rows**2, axis=1, keepdims=True)
    before = sums[:, left - 1]
    after = sums[:, -1:] - before
    means = before / left, after / (n - left)
    within = squares - left * means[0] ** 2 - (n - left) * means[1] ** 2
    variance = np.maximum(np.maximum(within, 0) / (n - 2), least_variance)
    difference = np.abs(means[1] - means[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference > 0, difference / np.sqrt(variance * (1 / left + 1 / (n - left))), 0.0)
    return t.max(axis=1), left[t.argmax(axis=1)]


@cache
def _null(n: int) -> np.ndarray:
    """The statistic of flat noise, by simulation: it depends on the number of values alone."""
    return _largest_t(np.random.default_rng(n).standard_normal((DRAWS, n)))[0]
