"""Shares of the time and the roofline, against figures worked out by hand."""

import math

import pytest
from made_records import MadeArm, launches, make, place
from scipy import stats

from xbench.analysis.results import Results
from xbench.analysis.roofline import attained, ceiling, limits, shares


def broken_down(values):
    """A breakdown per launch with these shares of attention; the second iteration was disturbed."""
    return [
        make(
            "a",
            place(64),
            "breakdown",
            [1.0, 9.0, 2.0],
            launch,
            detail={"parts": {"MLP": [1 - s, 9, 2 - 2 * s], "attention": [s, 0, 2 * s]}},
        )
        for launch, s in enumerate(values)
    ]


def test_a_share_is_the_median_of_a_launch_and_its_interval_is_over_launches():
    results = Results(broken_down([0.4, 0.5, 0.6]))
    (where,) = results.conditions
    found = shares(results, where, "a")
    assert list(found) == ["attention", "MLP"], "in the order of the components"
    low, high = stats.ttest_1samp([0.4, 0.5, 0.6], 0).confidence_interval()
    assert (found["attention"].value, found["attention"].low, found["attention"].high) == pytest.approx(
        (0.5, low, high)
    )
    most = ceiling(results, where, "a")
    assert (most.value, most.low, most.high) == pytest.approx((2.0, 1 / (1 - low), 1 / (1 - high)))


def test_shares_near_nothing_stay_between_0_and_1():
    results = Results(broken_down([0.0, 0.01, 0.05]))
    (where,) = results.conditions
    assert shares(results, where, "a")["attention"].low == 0.0
    assert ceiling(results, where, "a").low == 1.0
    whole = Results(broken_down([1.0, 1.0]))
    assert ceiling(whole, whole.conditions[0], "a").value == math.inf
    one = Results(broken_down([0.5]))
    assert math.isnan(ceiling(one, one.conditions[0], "a").low)


def test_heats_of_a_launch_are_one_launch():
    records = [
        make(
            "a", place(64), "breakdown", [1.0], launch, heat=heat, detail={"parts": {"attention": [s], "MLP": [1 - s]}}
        )
        for launch, heat, s in ((1, 0, 0.2), (1, 1, 0.4), (2, 0, 0.5))
    ]
    results = Results(records)
    (where,) = results.conditions
    found = shares(results, where, "a")["attention"]
    assert found.launches == 2
    assert found.value == pytest.approx(0.4)


def test_nothing_is_said_where_the_control_failed():
    control = launches(MadeArm("a again", attn="a", control=True), [8.0] * 3)
    results = Results([*broken_down([0.4, 0.5, 0.6]), *launches("a", [10.0] * 3), *control])
    (where,) = results.conditions
    assert shares(results, where, "a") == {}
    assert ceiling(results, where, "a") is None


def test_what_was_not_measured_has_no_bound():
    results = Results(launches("a", [10.0] * 3))
    (where,) = results.conditions
    assert shares(results, where, "a") == {}
    assert ceiling(results, where, "a") is None
    assert limits(results, where) is None
    assert attained(results, where, "a") is None


def against_the_roof(arm, traffic):
    where = place(64, batch=8)
    own = [*launches(arm, [0.5, 0.55, 0.45], where), make(arm, where, "macs", [1e9])]
    own += [make(arm, where, "predicted_memory", [1.0], detail={"traffic": traffic})]
    return own + [make(arm, where, "limits", [2e10], n, detail={"copy_bytes_per_second": 1e10}) for n in (1, 2, 3)]


@pytest.mark.parametrize(("traffic", "roof"), [(8e9, 8 * 1e9 / 8e9 * 1e10), (8e6, 2e10)])
def test_the_roof_is_the_lower_of_memory_and_arithmetic(traffic, roof):
    results = Results(against_the_roof("a", traffic))
    (where,) = results.conditions
    found = attained(results, where, "a")
    assert found.by_memory == (traffic == 8e9)
    assert found.intensity == pytest.approx(8e9 / traffic)
    assert found.roof == pytest.approx(roof)
    assert found.macs_per_second.value == pytest.approx(0.498e9, rel=0.01)
    assert found.share.value == pytest.approx(found.macs_per_second.value / roof)
    assert limits(results, where).copy_bytes_per_second.value == pytest.approx(1e10)


def test_speeds_and_limits_of_one_heat_belong_together():
    # In the second heat of each launch everything is at half speed.
    records = [
        make("a", place(64), "macs", [1e9]),
        make("a", place(64), "predicted_memory", [1.0], detail={"traffic": 1}),
    ]
    for launch in (1, 2):
        for heat, speed in ((0, 1.0), (1, 0.5)):
            detail = {"copy_bytes_per_second": 1e12}
            records.append(make("a", place(64), "limits", [4e9 * speed], launch, heat=heat, detail=detail))
            records.append(make("a", place(64), "throughput", [2 * speed], launch, heat=heat))
        records.append(make("b", place(64), "throughput", [1.0], launch, heat=1))
    records += [
        make("b", place(64), "macs", [1e9]),
        make("b", place(64), "predicted_memory", [1.0], detail={"traffic": 1}),
    ]
    results = Results(records)
    (where,) = results.conditions
    assert [attained(results, where, arm).share.value for arm in "ab"] == pytest.approx([0.5, 0.5])


def test_compiled_arms_have_no_roof_since_fusion_does_away_with_traffic():
    results = Results(against_the_roof(MadeArm("a compiled", mode="compile"), 8e9))
    assert attained(results, results.conditions[0], "a compiled") is None
