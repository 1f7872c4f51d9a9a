"""Accuracy: what is said of it, by intervals of paired seeds, and what is held against a comparison."""

import math

import pytest
from made_records import MadeArm, place, timed, trained
from scipy import stats

from xbench.report.accuracy import accuracy_sentences, fairness
from xbench.report.tables import result_grids
from xbench.results import Results

MHSA = MadeArm("mhsa", attn="mhsa")
XFA = MadeArm("xfa", attn="xfa")
WHERE = place(64)
MHSA_TOP1, XFA_TOP1 = [90.0, 92.0, 91.0], [88.5, 89.5, 89.2]


def results(*records):
    return Results([record for own in records for record in own], against="mhsa")


def test_differences_are_those_of_paired_seeds():
    found = results(trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, XFA_TOP1))
    difference = found.difference(WHERE, "xfa")
    expected = stats.ttest_rel(XFA_TOP1, MHSA_TOP1)
    interval = expected.confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
    assert difference.pairs == 3
    mean = found.cell(WHERE, "mhsa", "top1").figure
    half = stats.t.ppf(0.975, 2) * stats.sem(MHSA_TOP1)
    assert (mean.value, mean.low, mean.high) == pytest.approx((91.0, 91.0 - half, 91.0 + half))
    assert found.ratio(WHERE, "xfa", "top1") is None


def test_seeds_of_different_runs_are_pairs_and_the_newest_counts():
    old = trained(XFA, WHERE, [10.0, 10.0, 10.0])
    new = trained(XFA, WHERE, XFA_TOP1)
    for record in [*old, *new]:
        object.__setattr__(record, "run", "another")
    found = results(trained(MHSA, WHERE, MHSA_TOP1), old, new)
    assert found.difference(WHERE, "xfa").value == pytest.approx(sum(XFA_TOP1) / 3 - 91.0)


@pytest.mark.parametrize(
    ("top1", "said"),
    [
        (XFA_TOP1, "worse: xfa −1.9"),
        ([92.5, 94.6, 93.4], "better: xfa +2.5"),
        ([90.1, 91.9, 91.0], "equal within 1 point: xfa"),
        ([80.0, 99.0, 91.0], "no difference shown: xfa"),
    ],
)
def test_the_whole_interval_decides_what_is_said(top1, said):
    (sentence,) = accuracy_sentences(results(trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, top1)))
    assert said in sentence
    assert "mhsa reaches 91 ±2 % top-1" in sentence or "mhsa reaches 91.0 ±2.5 % top-1" in sentence
    assert "3 paired seeds" in sentence


def test_one_seed_is_a_look():
    (sentence,) = accuracy_sentences(results(trained(MHSA, WHERE, [90.0]), trained(XFA, WHERE, [80.0])))
    assert "a look: xfa −10.0 (?)" in sentence
    assert math.isnan(results(trained(MHSA, WHERE, [90.0]), trained(XFA, WHERE, [80.0])).difference(WHERE, "xfa").low)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"shared_weights": "other"}, "UNFAIR: At 64 px the arms' initial weights outside the attention differ"),
        ({"data_order": "other"}, "order and pixels of the training images differ"),
        ({"data": {"name": "more"}}, "recipe or data differ"),
        ({"parameters": 1_030_000}, "more than 2% more or fewer trained parameters than mhsa (1.00 M): xfa 1.03 M"),
        ({"parameters": 1_010_000}, None),
    ],
)
def test_what_is_unfair_is_said(change, said):
    found = fairness(results(trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, XFA_TOP1, **change)))
    assert len(found) == (said is not None)
    assert all(said in sentence for sentence in found)


def test_accuracy_stands_beside_speed_in_one_table():
    found = results(
        timed(MHSA, WHERE), timed(XFA, WHERE), trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, XFA_TOP1)
    )
    (grid,) = result_grids(found)
    row = dict(zip(grid.heads, grid.rows[1], strict=True))
    assert row["arm"] == "xfa"
    assert row["points"].startswith("−1.9 (")
    assert {"img/s", "speed ×", "top-1 %"} <= row.keys()
