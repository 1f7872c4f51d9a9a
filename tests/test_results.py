"""What records say together: pairing, levels and directions side by side, sweeps, the frame."""

import numpy as np
import pytest
from small_records import launches, make

from xbench.results import Results
from xbench.sweeps import extent, tokens_of


def test_unpaired_samples_are_compared_by_their_medians():
    records = [make("a", "device_time", [1, 1, 1, 1, 9], 1), make("b", "device_time", [9, 2, 2], 1)]
    results = Results(records)
    assert results.ratio(results.conditions[0], "b", "device_time").value == pytest.approx(2.0)


def test_the_order_and_the_reference_asked_for_go_before_what_was_recorded():
    results = Results(launches("a", [10] * 3) + launches("b", [5] * 3), ["b", "a"], against="b")
    assert results.arms == ["b", "a"]
    assert results.ratio(results.conditions[0], "a", "throughput").value == pytest.approx(2.0)


def test_levels_and_directions_stand_side_by_side_each_with_its_own_measure_of_speed():
    op = {"level": "op", "tokens": 1024}
    records = launches("a", [10.0] * 3) + launches("b", [5.0] * 3)
    records += launches("a", [4.0] * 2, direction="training") + launches("b", [2.0] * 2, direction="training")
    records += launches("a", [8.0] * 4, "latency", **op) + launches("b", [2.0] * 4, "latency", **op)
    results = Results(records)
    inference, training, alone = results.conditions
    assert [results.speed_metric_at(place) for place in results.conditions] == ["throughput", "throughput", "latency"]
    assert [results.launches(place) for place in results.conditions] == [3, 2, 4]
    assert results.speed_ratio(inference, "b").value == pytest.approx(0.5)
    assert results.speed_ratio(training, "b").value == pytest.approx(0.5)
    assert results.speed_ratio(alone, "b").value == pytest.approx(4.0)
    frame = results.frame
    assert set(frame["level"]) == {"model", "op"}
    assert set(frame["direction"]) == {"inference", "training"}
    assert set(frame["mode"]) == {"eager"}
    assert frame[frame["level"] == "op"]["tokens"].tolist() == [1024, 1024]
    assert frame[frame["level"] == "op"]["res"].isna().all()


def test_samples_are_paired_within_a_heat_and_across_heats_through_the_reference():
    # In the second heat everything runs at half speed: only pairs within a heat tell the truth.
    records = []
    for launch in range(1, 5):
        for heat, arm, speed in ((0, "a", 10), (0, "b", 20), (1, "a", 5), (1, "c", 5)):
            records.append(make(arm, "throughput", [speed * (1 + 0.01 * launch)], launch, heat=heat))
    results = Results(records)
    (place,) = results.conditions
    assert results.ratio(place, "b", "throughput").value == pytest.approx(2.0)
    assert results.ratio(place, "c", "throughput").value == pytest.approx(1.0)
    assert results.ratio(place, "b", "throughput", to="c").value == pytest.approx(2.0)
    assert results.cell(place, "a", "throughput").figure.launches == 4, "heats are no launches"
    assert results.cell(place, "a", "throughput").figure.value == pytest.approx(np.sqrt(50), rel=0.05)


def test_what_explains_is_measured_and_no_column():
    records = [*launches("a", [10.0] * 3), make("a", "breakdown", [1.0], detail={"parts": {"attention": [1.0]}})]
    results = Results(records)
    assert results.metrics == ["throughput"]
    assert set(results.frame["metric"]) == {"throughput"}
    assert len(results.of(results.conditions[0], "a")) == 4


def test_a_ratio_to_nothing_is_none():
    results = Results([make("a", "max_batch", [0]), make("b", "max_batch", [3])])
    assert results.ratio(results.conditions[0], "b", "max_batch") is None
    assert results.frame["ratio"].isna().all()


def test_sweeps_are_conditions_that_differ_in_extent_alone():
    records = [make("a", "macs", [1], res=res, batch=batch) for res in (256, 64, 128) for batch in (1, 8)]
    records += [make("a", "macs", [1], level="op", tokens=n) for n in (4096, 1024)]
    sweeps = Results(records).sweeps()
    assert [(sweep.axis, [extent(c) for c in sweep.conditions]) for sweep in sweeps] == [
        ("res", [64.0**2, 128.0**2, 256.0**2]),
        ("res", [64.0**2, 128.0**2, 256.0**2]),
        ("tokens", [1024.0, 4096.0]),
    ]
    assert [sweep.fixed["batch"] for sweep in sweeps] == [1, 8, 1]
    assert "img_size" not in sweeps[0].fixed


@pytest.mark.parametrize(
    ("img_size", "patch_size", "tokens"), [([1024, 1024], 2, 4096), ([1024, 1024], 1, 16384), ([100, 260], 2, 7 * 17)]
)
def test_tokens_are_those_of_stage_3(img_size, patch_size, tokens):
    assert tokens_of({"level": "model", "img_size": img_size, "patch_size": patch_size}) == tokens
