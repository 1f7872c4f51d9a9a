"""What records say together: pairing, levels and directions side by side, sweeps, the frame."""

import numpy as np
import pytest
from made_records import launches, make, place

from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results


def test_unpaired_samples_are_compared_by_their_medians():
    records = [make(arm, place(), "device_time", ms, 1) for arm, ms in (("a", [1, 1, 1, 1, 9]), ("b", [9, 2, 2]))]
    results = Results(records)
    assert results.ratio(results.conditions[0], "b", "device_time").value == pytest.approx(2.0)


def test_the_order_and_the_reference_asked_for_go_before_what_was_recorded():
    results = Results(launches("a", [10] * 3) + launches("b", [5] * 3), ["b", "a"], against="b")
    assert results.arms == ["b", "a"]
    assert results.ratio(results.conditions[0], "a", "throughput").value == pytest.approx(2.0)


def test_levels_and_directions_stand_side_by_side_each_with_its_own_measure_of_speed():
    op, training = place(tokens=1024), place(64, direction="training")
    records = launches("a", [10.0] * 3) + launches("b", [5.0] * 3)
    records += launches("a", [4.0] * 2, training) + launches("b", [2.0] * 2, training)
    records += launches("a", [8.0] * 4, op, "latency") + launches("b", [2.0] * 4, op, "latency")
    results = Results(records)
    inference, training, alone = results.conditions
    assert [results.speed_metric_at(where) for where in results.conditions] == ["throughput", "throughput", "latency"]
    assert [results.launches(where)["b"] for where in results.conditions] == [3, 2, 4]
    assert results.speed_ratio(inference, "b").value == pytest.approx(0.5)
    assert results.speed_ratio(training, "b").value == pytest.approx(0.5)
    assert results.speed_ratio(alone, "b").value == pytest.approx(4.0)
    frame = tidy_frame(results)
    assert set(frame["level"]) == {"model", "op"}
    assert set(frame["direction"]) == {"inference", "training"}
    assert set(frame["mode"]) == {"eager"}
    assert frame[frame["level"] == "op"]["tokens"].tolist() == [1024, 1024]
    assert frame[frame["level"] == "op"]["res"].isna().all()
    assert frame["n_tokens"].tolist() == [16, 16, 16, 16, 1024, 1024]


def test_samples_are_paired_within_a_heat_and_across_heats_through_the_reference():
    # In the second heat everything runs at half speed: only pairs within a heat tell the truth.
    records = []
    for launch in range(1, 5):
        for heat, arm, speed in ((0, "a", 10), (0, "b", 20), (1, "a", 5), (1, "c", 5)):
            records.append(make(arm, place(), "throughput", [speed * (1 + 0.01 * launch)], launch, heat=heat))
    results = Results(records)
    (where,) = results.conditions
    assert results.ratio(where, "b", "throughput").value == pytest.approx(2.0)
    assert results.ratio(where, "c", "throughput").value == pytest.approx(1.0)
    assert results.ratio(where, "b", "throughput", to="c").value == pytest.approx(2.0)
    assert results.cell(where, "a", "throughput").figure.launches == 4, "heats are no launches"
    assert results.cell(where, "a", "throughput").figure.value == pytest.approx(np.sqrt(50), rel=0.05)


def test_what_explains_is_measured_and_no_column():
    detail = {"parts": {"attention": [3.0], "MLP": [1.0]}}
    records = [
        *launches("a", [10.0] * 3),
        *(make("a", place(64), "breakdown", [4.0], n, detail=detail) for n in (1, 2)),
    ]
    results = Results(records)
    assert results.metrics == ["throughput"]
    frame = tidy_frame(results).set_index("metric")
    assert frame["value"].drop("throughput").to_dict() == {"attention_share": 0.75, "ceiling": 4.0}
    assert frame["launches"]["ceiling"] == 2


def test_a_ratio_to_nothing_is_none():
    results = Results([make("a", place(), "max_batch", [0]), make("b", place(), "max_batch", [3])])
    assert results.ratio(results.conditions[0], "b", "max_batch") is None
    assert tidy_frame(results)["ratio"].isna().all()


def test_largest_batches_under_different_limits_are_no_ratio():
    batches = [make("a", place(), "max_batch", [4], detail={"limit": 2**30})]
    for limit, ratio in ((2**30, 2.0), (2**31, None)):
        results = Results([*batches, make("b", place(), "max_batch", [8], detail={"limit": limit})])
        found = results.ratio(results.conditions[0], "b", "max_batch")
        assert (found and found.value) == ratio


def test_memory_is_spoken_of_by_what_was_measured_and_else_by_what_was_predicted():
    records = [make(arm, place(), "predicted_memory", [2.0]) for arm in "ab"]
    assert Results(records).memory_metric_at(place()) == "predicted_memory"
    lost = make("a", place(), "peak_memory", [], status="oom")
    assert Results([*records, lost]).memory_metric_at(place()) == "predicted_memory"
    assert (
        Results([*records, lost, make("b", place(), "peak_memory", [3.0])]).memory_metric_at(place()) == "peak_memory"
    )
    assert Results(launches("a", [1.0])).memory_metric_at(place(64)) is None


def test_sweeps_are_conditions_that_differ_in_extent_alone():
    records = [make("a", place(res, batch=batch), "macs", [1]) for res in (256, 64, 128) for batch in (1, 8)]
    records += [make("a", place(tokens=n), "macs", [1]) for n in (4096, 1024)]
    sweeps = Results(records).sweeps()
    assert [(sweep.axis, [c.extent for c in sweep.conditions]) for sweep in sweeps] == [
        ("res", [64.0**2, 128.0**2, 256.0**2]),
        ("res", [64.0**2, 128.0**2, 256.0**2]),
        ("tokens", [1024.0, 4096.0]),
    ]
    assert [sweep.conditions[0].batch for sweep in sweeps] == [1, 8, 1]


def test_conditions_that_a_newer_version_recorded_make_groups_of_their_own():
    cold, warm = (place(64, cache=cache) for cache in ("cold", "warm"))
    records = launches("a", [1, 1], cold) + launches("b", [2, 2], cold) + launches("b", [5, 5], warm)
    results = Results(records)
    assert results.conditions == [cold, warm]
    assert len(results.sweeps()) == 2
    assert results.ratio(cold, "b", "throughput").value == pytest.approx(2)
    assert results.ratio(warm, "b", "throughput") is None
    assert tidy_frame(results)["cache"].tolist() == ["cold", "cold", "warm"]
