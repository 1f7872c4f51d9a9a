"""Intervals of percentages: within bounds, and over the truth as often as they claim."""

import numpy as np
import pytest
from scipy import stats

from xbench.statistics.proportions import newcombe, paired_points, percent_over_seeds


def seeds_of_a_test(rng, images, share, concentration, seeds):
    """Percentages right of the same test images, each image with its own probability; and what they are on average."""
    odds = rng.beta(concentration * share, concentration * (1 - share), images)
    return 100 * (rng.random((seeds, images)) < odds).mean(1), 100 * odds.mean()


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("images", "share"), [(270, 0.99), (64, 0.95), (1000, 0.78), (100, 0.03)])
def test_intervals_of_percentages_cover_as_often_as_they_claim_and_stay_in_bounds(images, share, seeds):
    rng = np.random.default_rng(5)
    covered = plain = 0
    for _ in range(400):
        values, truth = seeds_of_a_test(rng, images, share, 2.0, seeds)
        found = percent_over_seeds(values, images * seeds)
        assert 0 <= found.low <= found.value <= found.high <= 100
        covered += found.low <= truth <= found.high
        half = stats.t.ppf(0.975, seeds - 1) * stats.sem(values)
        plain += abs(values.mean() - truth) <= half
    assert covered / 400 >= 0.93
    assert covered >= plain - 4, "no worse than Student's t, which leaves the bounds"


@pytest.mark.parametrize("share", [0.99, 0.6])
def test_intervals_of_points_cover_as_often_as_they_claim(share):
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(400):
        pairs = [seeds_of_a_test(rng, 200, one, 2.0, 3) for one in (share, share - 0.03)]
        of, to = (dict(enumerate(values)) for values, _ in pairs)
        found = paired_points(of, to, 600)
        covered += found.low <= pairs[0][1] - pairs[1][1] <= found.high
    assert covered / 400 >= 0.93


def test_seeds_that_agree_leave_open_what_so_few_images_do():
    # Wilson's interval of 48 of 48 is 1 / (1 + z² / n) to 1.
    perfect = percent_over_seeds([100.0] * 3, 48)
    assert (perfect.low, perfect.high) == pytest.approx((100 / (1 + stats.norm.ppf(0.975) ** 2 / 48), 100))
    # Newcombe's own example (a) of his method 10.
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    found = paired_points({0: 80.0, 1: 80.0}, {0: 60.0, 1: 60.0}, 100)
    assert (found.low, found.high) == pytest.approx(tuple(100 * end for end in newcombe((80, 100), (60, 100))))
    assert np.isnan(percent_over_seeds([100.0], 16).low)
    assert np.isnan(paired_points({0: 100.0}, {0: 0.0}, 16).high)
    apart = paired_points({0: 100.0, 1: 100.0}, {0: 0.0, 1: 0.0}, 32)
    assert 0 < apart.low < apart.value == apart.high == 100
