"""Sentences, from records made by hand whose meaning is known."""

import re
from itertools import combinations

import pytest
from made_records import (
    CONTROL,
    DETAIL,
    LINEAR,
    QUADRATIC,
    WARM,
    MadeArm,
    exact,
    failed,
    launches,
    make,
    place,
    probed,
    timed,
    trained,
)

from xbench.analysis.results import Results
from xbench.report.text.answers import answers, caveats
from xbench.report.text.headline import headline

STEADY = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995]
AGAIN = MadeArm("a again", attn="a", control=True)


def steady(arm, speed, where=None):
    return launches(arm, [speed * s for s in STEADY], where)


def said(records, **asked):
    return answers(Results(records, **asked))


def test_a_difference_is_said_in_the_direction_that_reads_well():
    (sentence,) = said(steady("a", 10) + steady("b", 2) + steady(AGAIN, 10))
    assert sentence.startswith("At 64 px, a is 5.0")
    assert "times as fast as b (95% interval" in sentence
    assert "6 launches" in sentence


def test_without_a_control_or_with_few_launches_it_is_a_look():
    assert said(steady("a", 10) + steady("b", 2))[0].startswith("A look (no control): at 64 px, a is 5.0")
    few = steady("a", 10) + steady("b", 2)[:3] + steady(AGAIN, 10)
    assert said(few)[0].startswith("A look (3 launches of b): at 64 px, ")
    assert caveats(Results(few))[1] == "This is a look, not a claim: 3 launches of b."
    assert (
        "nothing can be said of the speed of b and a from one launch" in said(steady("a", 10) + steady("b", 2)[:1])[0]
    )


def test_no_difference_is_said_to_be_none():
    noisy = launches("a", [10, 12, 9, 11, 8, 10]) + launches("b", [11, 9, 10, 12, 9, 9])
    assert "no difference in speed shown between b and a" in said(noisy)[0]
    same = launches("a", [10, 11, 12, 10, 11, 12]) + launches("b", [10.01, 11, 12.02, 10, 11.01, 12])
    assert "b and a are equally fast to within 5%" in said(same)[0]


def test_what_equals_show_between_them_is_no_finding_and_the_sentence_says_so():
    near = steady("a", 10) + launches("b", [10.6, 10.5, 10.7, 10.6, 10.5, 10.6])
    slow = launches(AGAIN, [10.4, 10.5, 10.3, 10.5, 10.6, 10.1])
    assert "b is 1.058" in said(near)[0]
    assert "b came out 1.058" in said(near + slow)[0]
    assert "but a against itself at 1.0" in said(near + slow)[0]
    assert "not distinguishable" in said(near + slow)[0]


def test_a_difference_that_the_median_does_not_have_is_not_claimed():
    uneven = launches("b", [9.9, 9.9, 12.2, 12.2, 12.2, 12.2, 13.5])
    (sentence,) = said(launches("a", [10] * 7) + uneven)
    assert "b came out 1.1" in sentence
    assert "by the median of the launches at 0.990–1.35: not claimed" in sentence


def test_a_failed_control_voids_the_speed_and_says_so():
    results = Results(steady("a", 10) + steady("b", 5) + steady(AGAIN, 9))
    assert "nothing can be said of the speed" in answers(results)[0]
    assert any(note.startswith("VOID at 64 px (0.900)") for note in caveats(results))
    assert results.arms == ["a", "b"]


def test_a_metric_where_less_is_better_is_said_the_right_way_round():
    records = [
        make(arm, place(64), "latency", [ms, ms * 1.01], n)
        for n in range(6)
        for arm, ms in (("a", 10 + n), ("b", 20 + 2 * n))
    ]
    results = Results(records)
    assert results.speed_ratio(results.conditions[0], "b").value == pytest.approx(0.5)
    assert "a is 2.00 times as fast as b" in answers(results)[0]
    assert "by latency" in answers(results)[0]


def test_an_arm_that_did_not_run_is_said_so_although_it_stands_on_paper():
    large = place(2048)
    records = exact(QUADRATIC, large, ("macs", "predicted_memory")) + failed(QUADRATIC, large, ("throughput",))
    records += exact(LINEAR, large, ("macs", "predicted_memory", "peak_memory")) + timed(LINEAR, large)
    results = Results(records)
    (sentence,) = [text for text in answers(results) if "did not run" in text]
    assert "At 2048 px, mhsa did not run (oom: allocating 16 GiB); xfa did, at 2.68 img/s; xfa has" in sentence
    assert "times the predicted peak memory" in sentence, "and not of the measured one, which mhsa lacks"
    assert not any("ended early" in note or "did not run" in note for note in caveats(results)), "said once"


def test_only_what_had_begun_ended_early():
    small, large = place(512), place(1024)
    records = [r for arm in (QUADRATIC, LINEAR) for r in exact(arm, small) + timed(arm, small)]
    records += failed(LINEAR, small, ("throughput",), status="crash") + failed(LINEAR, large)
    notes = " ".join(caveats(Results(records)))
    assert "xfa ended early at 512 px (crash: allocating 16 GiB)" in notes
    assert "1024" not in notes.partition("xfa ended early")[2]


def test_interference_and_unsettled_arms_are_flagged():
    stolen = DETAIL | {"steal_seconds": 0.1, "warm_up": WARM | {"settled": False}}
    records = launches("a", [10] * 6) + launches("b", [5] * 6, detail=stolen) + launches(AGAIN, [10] * 6)
    notes = caveats(Results(records))
    assert "Other machines on this host took processor time while this was measured: 5% at 64 px." in notes
    assert "Not settled when measuring began: b at 64 px (6 of 6 launches)." in notes


def test_device_time_may_speak_for_speed():
    records = [make(arm, place(64), "device_time", [1.0, 2.0], n, detail={}) for n in range(6) for arm in "ab"]
    assert "by device time" in said(records)[0]
    assert caveats(Results([*records, make(AGAIN, place(64), "device_time", [1.5], detail={})]))


def test_level_and_direction_are_named_where_they_are_not_the_usual_ones():
    op = place(tokens=4096, direction="training")
    (sentence,) = said(steady("a", 10, op) + steady("b", 5, op) + steady(AGAIN, 10, op))
    assert sentence.startswith("At N = 4,096, attention of XFormer-s alone, training, a is 2")


def sweep(arm, power, cost, sizes):
    """Throughput of an arm whose time is cost · pixels^power."""
    return [record for res in sizes for record in steady(arm, 1 / (cost * (res / 256) ** (2 * power)), place(res))]


def test_many_conditions_are_said_at_the_ends_of_the_sweep_and_in_its_meaning():
    sizes = [128 * n for n in range(1, 9)]
    records = sweep("a", 2.0, 1.0, sizes) + sweep("b", 1.0, 2.0, sizes) + sweep(AGAIN, 2.0, 1.0, sizes)
    records.append(make("b", place(512), "peak_memory", [], status="oom", reason="too large"))
    found = said(records)
    assert [sentence.partition(",")[0] for sentence in found[:2]] == ["At 128 px", "At 1024 px"]
    assert "b overtakes a near 362 px." in found, "pure powers cross where every curve says, without noise"
    assert "grows with the number of tokens N as: a N^2.00; b N^1.00." in " ".join(found)
    assert not any("At 256" in sentence for sentence in found)


def test_a_crossover_says_how_far_it_is_known():
    arms = QUADRATIC, MadeArm("xfa", 1.0, 1e-5, attn="xfa"), CONTROL
    places = [place(res) for res in (256, 512, 1024)]
    records = [r for where in places for arm in arms for r in timed(arm, where, launches=10, noise=0.005)]
    text = " ".join(said(records))
    assert "xfa overtakes mhsa near 3" in text
    assert ": noise, and a straight or a bent curve between 256 and 512)." in text
    two = [record for record in records if record.case["img_size"] != [1024, 1024]]
    assert "xfa overtakes mhsa between 256 and 512 px." in said(two)


def test_who_is_ahead_where_is_said_without_claiming_more():
    sizes = [128, 256, 512]
    ahead = sweep("b", 1.0, 0.5, sizes) + sweep("a", 1.0, 1.0, sizes)
    assert "From 128 to 512 px, b is faster than a at every size measured." in said(ahead, against="a")
    level = sweep("b", 1.0, 1.0, sizes) + sweep("a", 1.0, 1.0, sizes)
    assert "From 128 to 512 px, b is not shown to differ from a at any size measured." in said(level, against="a")
    late = sweep("b", 1.0, 0.5, sizes[1:]) + sweep("b", 1.0, 1.0, sizes[:1]) + sweep("a", 1.0, 1.0, sizes)
    text = "From 128 to 512 px, b is faster than a from 256 px on, with no difference shown at 128 px"
    assert f"{text}." in said(late, against="a")
    lost = [*late, make("a", place(1024), "throughput", [], status="oom"), *steady("b", 1.0, place(1024))]
    assert any(
        "with no difference shown at 128 px (without 1024 px, where a did not run)." in t
        for t in said(lost, against="a")
    )
    void = sweep(AGAIN, 1.0, 1.0, sizes[:2]) + sweep(AGAIN, 1.0, 1.2, sizes[2:])
    assert any("(without 512 px, whose control failed)" in sentence for sentence in said(late + void, against="a"))


def test_the_strongest_evaluation_of_a_function_is_named_and_compared_with():
    records = steady("mhsa", 10) + steady("mhsa-sdpa", 12) + steady("xfa", 18)
    records += steady(MadeArm("mhsa compiled", mode="compile"), 15)
    sentence = said(records, against="mhsa")[3]
    assert "of 3 ways to compute mhsa (mhsa, mhsa-sdpa and mhsa compiled) mhsa compiled is the fastest" in sentence
    assert "xfa is 1.2" in sentence
    assert sentence.endswith("times as fast as mhsa compiled.")
    twice = steady("mhsa", 10) + steady(MadeArm("mhsa #2"), 10)
    assert len(said(twice, against="mhsa")) == 1, "the same arm twice is no other way"


def bounded(arm, where, traffic=1e8, limit=2**34):
    records = [*launches(arm, [10.0] * 3, where), make(arm, where, "macs", [1e9])]
    records.append(make(arm, where, "max_batch", [40], detail={"limit": limit}))
    records.append(make(arm, where, "predicted_memory", [1.0], detail={"traffic": traffic, "activations": 5}))
    parts = {"attention": [6.0, 6.0], "MLP": [4.0, 4.0]}
    records += [make(arm, where, "breakdown", [10.0, 10.0], n, detail={"parts": parts}) for n in (1, 2, 3)]
    return records + [make(arm, where, "limits", [2e10], n, detail={"copy_bytes_per_second": 1e10}) for n in (1, 2, 3)]


def test_bounds_and_the_largest_batch_are_said():
    text = " ".join(said(bounded("a", place(64))))
    assert "At 64 px, a's attention takes 60.0% of an instrumented eager pass" in text
    assert "without it the model would be 2.50 times as fast, and no change of attention can do better here" in text
    assert "a reaches 50.0% of what this machine allows at 10 multiply" in text
    assert "the largest batch that fits into 16.0 GiB is 40 for a" in text
    text = " ".join(said(bounded("a", place(64), traffic=1e10) + bounded("b", place(64), limit=2**33)))
    assert "a stands above the memory roof: its data stay in caches" in text
    assert "fits into 16.0 GiB is 40 for a; the largest batch that fits into 8.00 GiB is 40 for b." in text


def test_controls_of_many_conditions_are_one_sentence_and_failed_ones_stay():
    sizes = [64 * n for n in range(1, 9)]
    records = [r for res in sizes for arm in "ab" for r in launches(arm, [10.0] * 6, place(res))]
    records += [r for res in sizes for r in launches(AGAIN, [10.0 if res > 64 else 8.0] * 6, place(res))]
    notes = [note for note in caveats(Results(records)) if "control" in note]
    assert notes[0].startswith("Under 7 conditions the control")
    assert [note.partition(" (")[0] for note in notes[1:]] == ["VOID at 64 px"]


def test_a_large_study_is_said_in_a_few_sentences_with_counts_and_extremes():
    arms = [MadeArm(f"arm{i:02d}", 1 + i / 23, 6e-6 / 30 ** (i / 23)) for i in range(24)]
    places = [place(res) for res in (256, 512, 1024)]
    records = [r for where in places for arm in (QUADRATIC, *arms, CONTROL) for r in timed(arm, where, noise=0.005)]
    records += [r for where in places for arm in (QUADRATIC, *arms) for r in exact(arm, where)]
    records += [r for arm in (QUADRATIC, *arms[12:]) for r in failed(arm, place(2048))]
    records += [r for arm in arms[:12] for r in timed(arm, place(2048))]
    results = Results(records)
    found = answers(results)
    assert len(found) <= 10
    assert max(map(len, found)) < 500
    assert "At 1024 px, against mhsa: " in " ".join(found)
    assert "overtake it (" in " ".join(found)
    assert len(caveats(results)) <= 8


def test_three_lines_say_the_fastest_the_smallest_and_the_choice_at_each_size():
    records = []
    for res in (64, 1024):
        where = place(res)
        slow = 20 if res == 64 else 1
        records += (
            steady("fast", 10, where)
            + steady("slow", slow, where)
            + steady(MadeArm("fast again", attn="fast", control=True), 10, where)
        )
        records += [
            make(MadeArm("fast"), where, "peak_memory", [10.0]),
            make(MadeArm("slow"), where, "peak_memory", [30.0]),
        ]
    fastest, smallest, choice = headline(Results(records))
    assert fastest.startswith("At 1024 px, fast is the fastest: 10.0")
    assert "times as fast as slow (95% interval" in fastest
    assert smallest == "At 1024 px, fast takes the least peak memory, 10.0 MiB; slow takes 3.00 times as much."
    assert choice == "Choose slow at 64 px, fast at 1024 px; what each can learn was not measured here."


ASKED = ("params", "macs", "predicted_memory", "peak_memory", "latency", "throughput", "top1", "recall")
ENDS = [{4: 99.0, 8: 95.0}, {4: 98.0, 8: 91.0}]
# No subject or no predicate, an empty list, a wrong plural.
MALFORMED = re.compile(
    r"[,:;] *\.|\s[.,;]|\(\)|  |, ,|; ;|^[^\w†]|\b1 (epochs|arms|launches|seeds)\b|of (and|,)|neither|bends|told"
)


def test_every_subset_of_metrics_and_arms_is_said_in_whole_sentences():
    where, other = place(256), MadeArm("separable", 1.0, 5e-6, attn="separable")
    found = {}
    for arm in (QUADRATIC, LINEAR, CONTROL, other):
        learnt = [] if arm.control else trained(arm, where, [90.0, 91.0], epochs=1) + probed(arm, where, ENDS)
        for record in exact(arm, where) + timed(arm, where) + learnt:
            found.setdefault((arm.label, record.metric), []).append(record)
    malformed, said = set(), 0
    for number in (1, 2, 3, len(ASKED)):
        for metrics in combinations(ASKED, number):
            for arms in (("mhsa",), ("xfa", "separable"), ("mhsa", "xfa", "mhsa again"), ("mhsa", "xfa", "separable")):
                records = [record for arm in arms for metric in metrics for record in found.get((arm, metric), [])]
                results = Results(records, against=arms[0])
                sentences = headline(results) + answers(results) + caveats(results)
                said += len(sentences)
                malformed |= {one for one in sentences if MALFORMED.search(one) or not one.endswith(".")}
    assert said > 500
    assert not malformed
