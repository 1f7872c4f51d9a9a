"""The estimators against simulated launches whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from xbench.statistics.estimates import Estimate, estimate, ratio
from xbench.statistics.slopes import slope_between, slope_of_line
from xbench.statistics.verdicts import alike, control_holds, verdict


def simulate(rng, times: float, launches: int, rounds: int, between: float, drift: float):
    """Two arms whose true ratio is ``times``; each launch has its own level, and the machine drifts within it."""
    of, to = {}, {}
    for launch in range(launches):
        level = np.exp(drift * rng.standard_normal(rounds).cumsum())
        bias = np.exp(between * rng.standard_normal(2))
        of["run", launch] = list(times * bias[0] * level * np.exp(0.01 * rng.standard_normal(rounds)))
        to["run", launch] = list(bias[1] * level * np.exp(0.01 * rng.standard_normal(rounds)))
    return of, to


@pytest.mark.parametrize("launches", [3, 6, 10])
def test_interval_covers_the_true_ratio_as_often_as_it_claims(launches):
    rng = np.random.default_rng(0)
    found = [ratio(*simulate(rng, 1.3, launches, 7, between=0.02, drift=0.1)) for _ in range(400)]
    covered = np.mean([e.low <= 1.3 <= e.high for e in found])
    assert 0.92 <= covered <= 0.98


def test_pairing_removes_a_drift_that_hits_both_arms():
    rng = np.random.default_rng(1)
    of, to = simulate(rng, 1.1, 6, 9, between=0.0, drift=0.5)
    assert ratio(of, to).half_width < 0.02
    assert estimate(of).half_width > 0.1


def test_no_false_alarm_between_equals():
    rng = np.random.default_rng(2)
    verdicts = [verdict(ratio(*simulate(rng, 1.0, 6, 9, between=0.01, drift=0.1))) for _ in range(300)]
    assert sum(v in ("higher", "lower") for v in verdicts) == 0
    assert verdicts.count("equal") > 250


def test_verdicts_follow_the_interval():
    assert verdict(Estimate(1.2, 1.1, 1.3, 6)) == "higher"
    assert verdict(Estimate(0.8, 0.7, 0.9, 6)) == "lower"
    assert verdict(Estimate(1.0, 0.97, 1.03, 6)) == "equal"
    assert verdict(Estimate(1.1, 0.9, 1.3, 6)) == "not shown"
    assert verdict(Estimate(1.2, 1.1, 1.3, 6, median=(0.9, 1.3))) == "not shown"
    assert verdict(Estimate(1.02, 1.01, 1.03, 6, median=(0.99, 1.03))) == "equal", "doubt is of a difference"
    assert verdict(ratio({("r", 1): [2.0]}, {("r", 1): [1.0]})) == "not shown", "one launch shows nothing"


def test_a_verdict_must_lie_beyond_the_control():
    finding = Estimate(1.1, 1.06, 1.14, 6)
    assert verdict(finding, Estimate(1.01, 0.99, 1.03, 6)) == "higher"
    assert verdict(finding, Estimate(1.04, 1.01, 1.07, 6)) == "not shown"
    assert verdict(finding.inverse, Estimate(0.96, 0.93, 0.99, 6)) == "not shown"
    assert verdict(finding, None) == "higher"


def test_only_what_both_arms_finished_is_paired():
    of = {("r", 1): [2.0, 4.0, 100.0], ("r", 2): [2.0], ("s", 1): [50.0]}
    to = {("r", 1): [1.0, 2.0], ("r", 2): [1.0], ("r", 3): [9.0]}
    found = ratio(of, to)
    assert found.value == pytest.approx(2.0)
    assert found.launches == 2
    with pytest.raises(ValueError, match="no launch"):
        ratio({("r", 1): [1.0]}, {("r", 2): [1.0]})


def test_a_difference_that_the_median_does_not_have_is_doubtful():
    logs = [-0.01, -0.01, 0.2, 0.2, 0.2, 0.2, 0.3]
    found = ratio({("r", i): [float(np.exp(x))] for i, x in enumerate(logs)}, {("r", i): [1.0] for i in range(7)})
    assert found.differs
    assert found.doubtful
    assert found.inverse.doubtful
    assert verdict(found) == "not shown"
    assert not Estimate(1.2, 1.1, 1.3, 6, median=(1.05, 1.4)).doubtful
    assert not Estimate(1.2, 1.1, 1.3, 3).doubtful, "three launches have no such interval"


def test_control_that_leaves_the_effect_fails():
    assert control_holds(Estimate(1.04, 1.0, 1.08, 6))
    assert not control_holds(Estimate(1.06, 1.05, 1.07, 6))
    assert not control_holds(Estimate(0.94, 0.93, 0.95, 6))


def test_one_rule_says_what_is_equal_whichever_side_is_divided_by_which():
    for ratio_of in (1.0, 1.049, 1.05, 1 / 1.05, 0.953):
        assert alike(ratio_of)
        assert alike(1 / ratio_of)
        assert control_holds(Estimate(ratio_of, 0.5, 2.0, 6))
        assert verdict(Estimate(1.0, *sorted((1.0, ratio_of)), 6)) == "equal"
    # Within 0.05 of 1, and 1.052 times the other way round.
    for ratio_of in (0.951, 1.051):
        assert not alike(ratio_of)
        assert not control_holds(Estimate(ratio_of, 0.5, 2.0, 6))
        assert verdict(Estimate(1.0, *sorted((1.0, ratio_of)), 6)) == "not shown"
    assert alike(0.951, 1.051, effect=0.1)


def test_heats_of_a_launch_are_one_launch():
    of = {("r", 1, 0): [2.0], ("r", 1, 1): [8.0], ("r", 2, 0): [4.0]}
    to = {("r", 1, 0): [1.0], ("r", 1, 1): [2.0], ("r", 2, 0): [1.0]}
    assert ratio(of, to).value == pytest.approx(np.exp((np.log(8) / 2 + np.log(4)) / 2))
    assert estimate(of).launches == 2


def test_the_interval_of_the_median_is_the_one_of_scipy():
    values = np.random.default_rng(3).standard_normal(10) + 0.8
    found = ratio({("r", i): [np.exp(x)] for i, x in enumerate(values)}, {("r", i): [1.0] for i in range(10)})
    median = stats.quantile_test(values, q=0.0, p=0.5).confidence_interval(0.95)
    mean = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (np.log(found.low), np.log(found.high)) == pytest.approx(tuple(mean))
    assert np.log(found.median) == pytest.approx((median.low, median.high))


def test_slopes_are_those_of_numpy_and_of_welch():
    random = np.random.default_rng(4)
    x = np.repeat([0.0, 1.0, 2.5], 4)
    y = 1.5 * x + 0.1 * random.standard_normal(12)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    half = stats.t.ppf(0.975, 10) * np.sqrt(covariance[0, 0])
    found = slope_of_line(x, y)
    assert (found.value, found.low, found.high) == pytest.approx((slope, slope - half, slope + half))
    between = slope_between((0.0, 2.5), (y[:4], y[8:]))
    welch = stats.ttest_ind(y[8:], y[:4], equal_var=False).confidence_interval()
    assert (between.low, between.high) == pytest.approx((welch.low / 2.5, welch.high / 2.5))
    assert np.isnan(slope_between((0.0, 1.0), ([1.0], [2.0, 2.1])).low)
