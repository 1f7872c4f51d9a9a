"""What attentions can do: what is said of it, which arms are dominated and which may not be called so."""

from dataclasses import asdict

import pytest
from made_records import MadeArm, exact, make, place, probed, timed

from xbench.analysis.ability import ability
from xbench.analysis.pareto import fronts
from xbench.analysis.results import Results
from xbench.metrics.definitions import PUBLISHED
from xbench.records.schema import check
from xbench.report.plots.catalogue import plot
from xbench.report.tables.ability import ability_grids, show_capacity
from xbench.report.text.ability import ability_fairness, ability_sentences
from xbench.report.text.answers import answers
from xbench.report.text.headline import headline

WHERE = place(level="layer", tokens=64, size="xxs")
LARGE = place(level="layer", tokens=4096, size="xxs")
MHSA, XFA, IDENTITY = MadeArm("mhsa", 2.0, 2e-8), MadeArm("xfa", attn="xfa"), MadeArm("identity", 1.0, 1e-6, "identity")
FULL = [{4: 100.0, 32: 99.8}, {4: 100.0, 32: 99.9}, {4: 100.0, 32: 99.7}]
HALF = [{4: 95.0, 32: 40.0}, {4: 96.0, 32: 42.0}, {4: 97.0, 32: 41.0}]
NOTHING = [{4: 6.0, 32: 6.5}, {4: 6.4, 32: 6.1}, {4: 6.1, 32: 6.2}]


def results(*records):
    return Results([record for own in records for record in own], against="mhsa")


def of_three(finished=True, half=HALF):
    found = [probed(MHSA, WHERE, FULL), probed(XFA, WHERE, half, finished=finished), probed(IDENTITY, WHERE, NOTHING)]
    return results(*found, *(timed(arm, LARGE) for arm in (MHSA, XFA, IDENTITY)))


def test_capacity_is_of_the_mean_and_of_the_ends_of_its_interval():
    found = of_three()
    own = {arm: ability(found, WHERE, arm, "recall") for arm in found.arms}
    assert {arm: show_capacity(one) for arm, one in own.items()} == {"mhsa": "32", "xfa": "4", "identity": "0"}
    wide = results(probed(XFA, WHERE, [{4: 91.0, 8: 80.0}, {4: 93.0, 8: 95.0}]))
    assert show_capacity(ability(wide, WHERE, "xfa", "recall")) == "4 (0–8)"
    one = results(probed(XFA, WHERE, HALF[:1]))
    assert show_capacity(ability(one, WHERE, "xfa", "recall")) == "4 (?)"
    assert own["xfa"].steps_to_held(4) == 1000
    assert own["xfa"].steps_to_held(32) is None


def test_published_accuracies_make_a_front_too():
    where = place(1024)
    records = [timed(arm, where) for arm in (MHSA, XFA, IDENTITY)]
    worth = [make(arm, where, PUBLISHED, [points]) for arm, points in ((MHSA, 70.0), (XFA, 75.0), (IDENTITY, 60.0))]
    front = next(front for front in fronts(results(*records, worth)) if front.metric == "throughput")
    assert (front.task, [point.arm for point in front.best]) == (PUBLISHED, ["identity", "xfa"])
    assert {point.arm: point.dominated_by for point in front.points}["mhsa"] == "xfa"
    (choice,) = [said for said in headline(results(*records, worth)) if "choose" in said]
    assert choice.startswith("At 1024 px, of the models with a published accuracy, choose by what published top-1 ")
    assert "xfa reaches 75.0 % at " in choice


def test_tables_are_sorted_and_have_both_guesses_among_the_arms():
    shares, steps = ability_grids(of_three())
    assert [row[0] for row in shares.rows] == ["mhsa", "xfa", "commonest value", "blind guess", "identity"]
    assert shares.rows[2][1:3] == ["33.7", "15.1"]
    assert [row[1:] for row in steps.rows] == [["1,000", "1,000"], ["1,000", "never"], ["never", "never"]]


def test_an_arm_that_was_still_rising_gets_no_verdict():
    found = of_three(finished=False)
    sentences = ability_sentences(found)
    assert any("xfa 68.5 % was still rising when training was stopped, so no verdict" in one for one in sentences)
    assert not any("xfa answers" in one for one in sentences)
    assert "≥ 4" in ability_grids(found)[0].rows[1]
    # At the largest number of pairs there is nothing that more steps could bring.
    done = results(probed(MHSA, WHERE, FULL, finished=False))
    assert "≥" not in ability_grids(done)[0].rows[0][3]


def test_what_is_said():
    sentences = ability_sentences(of_three())
    start = "At N = 64, layers of XFormer-xxs alone, recall:"
    assert sentences[0] == (
        f"{start} mhsa answers 90 % or more with up to 32 pairs; xfa answers 90 % or more with up to 4 pairs; "
        "identity answers less than that with 4 pairs already."
    )
    assert sentences[2] == f"{start} identity is no better than naming the commonest value (24.4 %)."
    assert sentences[1].startswith(
        "At N = 4,096, layers of XFormer-xxs alone, of recall and time the front is identity (6.2 % at "
    )
    assert ", then xfa +62.3 points for" in sentences[1]


def front_of(*records):
    (front,) = [front for front in fronts(results(*records)) if front.metric == "throughput"]
    return {point.arm: point.dominated_by for point in front.points}


def test_dominated_is_who_is_shown_worse_on_one_side_and_no_better_on_the_other():
    slow = MadeArm("slow", 2.0, 4e-8)
    clear = [*(timed(arm, WHERE) for arm in (MHSA, slow, IDENTITY)), probed(MHSA, WHERE, FULL)]
    assert front_of(*clear, probed(slow, WHERE, FULL)) == {"mhsa": None, "slow": "mhsa"}
    assert front_of(*clear, probed(slow, WHERE, HALF), probed(IDENTITY, WHERE, FULL)) == {
        "identity": None,
        "mhsa": "identity",
        "slow": "identity",
    }


@pytest.mark.parametrize(
    ("of_slow", "finished"),
    [
        ([{4: 100.0, 32: 60.0}, {4: 100.0, 32: 99.0}, {4: 60.0, 32: 99.9}], True),  # so wide that it may be as good
        (HALF, False),
    ],
)
def test_nobody_is_dominated_where_the_intervals_leave_it_open(of_slow, finished):
    other = MadeArm("other", 2.0, 2e-8)
    alike = [*(timed(arm, WHERE) for arm in (MHSA, other)), probed(MHSA, WHERE, FULL)]
    assert front_of(*alike, probed(other, WHERE, of_slow, finished=finished)) == {"mhsa": None, "other": None}


def test_memory_and_macs_have_fronts_too_and_plots_are_drawn():
    found = results(*(probed(a, WHERE, s) + exact(a, WHERE) for a, s in ((MHSA, FULL), (XFA, HALF))))
    assert {front.metric for front in fronts(found)} == {"peak_memory", "macs", "params"}
    for name in ("ability", "ability_learning", "pareto"):
        assert plot(found, name) is not None
    assert plot(results(timed(MHSA, WHERE)), "pareto") is None


def test_what_differs_beside_the_attention_is_said():
    assert not ability_fairness(of_three())
    odd = probed(XFA, WHERE, HALF, shared_weights="others")
    (said,) = ability_fairness(results(probed(MHSA, WHERE, FULL), odd))
    assert said.startswith("UNFAIR: At N = 64, layers of XFormer-xxs alone the arms' initial weights")


def test_nothing_is_said_of_a_cost_that_nobody_asked_for():
    sentences = answers(results(probed(MHSA, WHERE, FULL), probed(XFA, WHERE, HALF)))
    assert len(sentences) == 1
    assert "mhsa answers" in sentences[0]


def test_a_record_is_checked():
    (record, *_) = probed(MHSA, WHERE, FULL)
    check(asdict(record), {})
    for spoilt in ({"by_pairs": {}}, {"rate": 0}, {"finished": "perhaps"}, {"history": []}, {"job": {}}):
        line = asdict(record) | {"detail": record.detail | spoilt}
        with pytest.raises(ValueError, match=next(iter(spoilt))):
            check(line, {})
