"""Rank correlation with an interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from xbench.statistics.estimates import CONFIDENCE

RESAMPLES = 9999


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float, float]:
    """Spearman's ρ, its 95 % interval over the pairs, and how often a random order would correlate as much.

    The interval is the bootstrap's over the pairs, for which arms there are decides more than the noise of each; the
    last is a permutation test's. Both repeat.
    """
    random = np.random.default_rng(0)
    found: Any = stats.pearsonr(
        stats.rankdata(x), stats.rankdata(y), method=stats.PermutationMethod(n_resamples=RESAMPLES, rng=random)
    )
    bootstrap = stats.BootstrapMethod(n_resamples=RESAMPLES, method="percentile", rng=random)
    low, high = found.confidence_interval(CONFIDENCE, method=bootstrap)
    return float(found.statistic), float(low), float(high), float(found.pvalue)
