"""Accuracy: what is said of it, by intervals of paired seeds, and what is held against a comparison."""

import math

import pytest
from made_records import MadeArm, place, timed, trained
from scipy import stats

from xbench.analysis.results import Results
from xbench.report.tables.grids import result_grids
from xbench.report.text.accuracy import accuracy_sentences, fairness
from xbench.report.text.answers import caveats

MHSA = MadeArm("mhsa", attn="mhsa")
XFA = MadeArm("xfa", attn="xfa")
WHERE = place(64)
MHSA_TOP1, XFA_TOP1 = [90.0, 92.0, 91.0], [88.5, 89.5, 89.2]


def results(*records):
    return Results([record for own in records for record in own], against="mhsa")


def test_differences_are_those_of_paired_seeds():
    found = results(trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, XFA_TOP1))
    difference = found.difference(WHERE, "xfa")
    # So few points are hardly bent by the bounds of ± 100.
    interval = stats.ttest_rel(XFA_TOP1, MHSA_TOP1).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high), abs=0.01)
    assert difference.pairs == 3
    mean = found.cell(WHERE, "mhsa", "top1").figure
    odds = 4.302653 * stats.sem(MHSA_TOP1) / 100 / (0.91 * 0.09)  # t of 2 degrees of freedom, by the table
    assert mean.value == pytest.approx(91.0)
    ends = [math.log(end / (100 - end)) - math.log(0.91 / 0.09) for end in (mean.low, mean.high)]
    assert ends == pytest.approx([-odds, odds])
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
    assert "mhsa reaches 91.0 (88.2–93.2) % top-1" in sentence
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


def test_what_the_figures_are_not_about_is_said():
    unread = {"left_out": 8, "of": 16, "first": ["test/ant/0.jpg (truncated)"]}
    test = {"images": 8, "classes": 2, "unreadable": unread, "also_in_training": {"images": 1, "first": ["test/b.jpg"]}}
    data = {"name": "folder:/x", "splits": {"train": {"images": 16}, "test": test}}
    said = caveats(results(trained(MHSA, WHERE, MHSA_TOP1, data=data), trained(XFA, WHERE, XFA_TOP1, data=data)))
    assert said[:3] == [
        "8 of 16 test images of folder:/x could not be read, and are in none of the figures: "
        "test/ant/0.jpg (truncated), ….",
        "1 of 8 test images of folder:/x are also among those trained on, equal to the pixel: test/b.jpg.",
        "The test images of folder:/x are of 2 of its classes only.",
    ]


def test_no_interval_leaves_what_can_be():
    wide = results(trained(MHSA, WHERE, [1.0, 10.0, 23.5]), trained(XFA, WHERE, [99.0, 95.0, 70.0]))
    (grid,) = result_grids(wide)
    columns = dict(zip(grid.heads, zip(*grid.rows, strict=True), strict=True))
    assert columns["top-1 %"] == ("11.5 (0.8–67.3)", "88.0 (15.4–99.7)")
    assert columns["points"][1] == "+76.5 (−53.4 to +98.9)"


def test_accuracy_stands_beside_speed_in_one_table():
    found = results(
        timed(MHSA, WHERE), timed(XFA, WHERE), trained(MHSA, WHERE, MHSA_TOP1), trained(XFA, WHERE, XFA_TOP1)
    )
    (grid,) = result_grids(found)
    row = dict(zip(grid.heads, grid.rows[1], strict=True))
    assert row["arm"] == "xfa"
    assert row["points"].startswith("−1.9 (")
    assert {"img/s", "speed ×", "top-1 %"} <= row.keys()
