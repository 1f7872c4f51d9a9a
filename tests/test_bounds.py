"""Shares of the time and the roofline, against figures worked out by hand."""

import math

import pytest
from scipy import stats
from small_records import launches, make

from xbench.bounds import attained, ceiling, limits, shares
from xbench.results import Results


def broken_down(values):
    """A breakdown per launch with these shares of attention; the second iteration was disturbed."""
    return [
        make(
            "a",
            "breakdown",
            [1.0, 9.0, 2.0],
            launch,
            detail={"parts": {"MLP": [1 - s, 9, 2 - 2 * s], "attention": [s, 0, 2 * s]}},
        )
        for launch, s in enumerate(values)
    ]


def test_a_share_is_the_median_of_a_launch_and_its_interval_is_over_launches():
    results = Results(broken_down([0.4, 0.5, 0.6]))
    (place,) = results.conditions
    found = shares(results, place, "a")
    assert list(found) == ["attention", "MLP"], "in the order of the components"
    low, high = stats.ttest_1samp([0.4, 0.5, 0.6], 0).confidence_interval()
    assert (found["attention"].value, found["attention"].low, found["attention"].high) == pytest.approx(
        (0.5, low, high)
    )
    most = ceiling(results, place, "a")
    assert (most.value, most.low, most.high) == pytest.approx((2.0, 1 / (1 - low), 1 / (1 - high)))


def test_shares_near_nothing_stay_between_0_and_1():
    results = Results(broken_down([0.0, 0.01, 0.05]))
    (place,) = results.conditions
    assert shares(results, place, "a")["attention"].low == 0.0
    assert ceiling(results, place, "a").low == 1.0
    whole = Results(broken_down([1.0, 1.0]))
    assert ceiling(whole, whole.conditions[0], "a").value == math.inf
    one = Results(broken_down([0.5]))
    assert math.isnan(ceiling(one, one.conditions[0], "a").low)


def test_what_was_not_measured_has_no_bound():
    results = Results(launches("a", [10.0] * 3))
    (place,) = results.conditions
    assert shares(results, place, "a") == {}
    assert ceiling(results, place, "a") is None
    assert limits(results, place) is None
    assert attained(results, place, "a") is None


@pytest.mark.parametrize(("traffic", "roof"), [(8e9, 8 * 1e9 / 8e9 * 1e10), (8e6, 2e10)])
def test_the_roof_is_the_lower_of_memory_and_arithmetic(traffic, roof):
    batch = {"batch": 8}
    own = [*launches("a", [0.5, 0.55, 0.45], **batch), make("a", "macs", [1e9], **batch)]
    own += [make("a", "predicted_memory", [1.0], detail={"traffic": traffic}, **batch)]
    own += [make("a", "limits", [2e10], n, detail={"copy_bytes_per_second": 1e10}, **batch) for n in (1, 2, 3)]
    results = Results(own)
    (place,) = results.conditions
    found = attained(results, place, "a")
    assert found.intensity == pytest.approx(8e9 / traffic)
    assert found.roof == pytest.approx(roof)
    assert found.macs_per_second.value == pytest.approx(0.498e9, rel=0.01)
    assert found.share.value == pytest.approx(found.macs_per_second.value / roof)
    assert limits(results, place).copy_bytes_per_second.value == pytest.approx(1e10)
