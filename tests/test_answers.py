"""Sentences, from records made by hand whose meaning is known."""

import pytest
from small_records import DETAIL, WARM, launches, make

from xbench.report.answers import answers, caveats
from xbench.results import Results


def test_a_difference_is_said_in_the_direction_that_reads_well():
    records = launches("a", [10, 10.1, 9.9, 10, 10.05, 9.95]) + launches("b", [2, 2.02, 1.98, 2, 2.01, 1.99])
    (sentence,) = answers(Results(records))
    assert sentence.startswith("At 64, a is 5.0")
    assert "times as fast as b" in sentence
    assert "6 launches" in sentence


def test_no_difference_is_said_to_be_none():
    noisy = launches("a", [10, 12, 9, 11, 8, 10]) + launches("b", [11, 9, 10, 12, 9, 9])
    assert "no difference in speed shown between b and a" in answers(Results(noisy))[0]
    same = launches("a", [10, 11, 12, 10, 11, 12]) + launches("b", [10.01, 11, 12.02, 10, 11.01, 12])
    assert "b and a are equally fast to within 5%" in answers(Results(same))[0]


def test_a_failed_control_voids_the_speed_and_says_so():
    records = launches("a", [10] * 6) + launches("b", [5] * 6) + launches("a (control)", [9] * 6, control=True)
    results = Results(records)
    assert "nothing can be said of the speed" in answers(results)[0]
    assert any("VOID" in note for note in caveats(results))
    assert results.arms == ["a", "b"]


def test_a_metric_where_less_is_better_is_said_the_right_way_round():
    records = [
        make(arm, "latency", [ms, ms * 1.01], n) for n in range(6) for arm, ms in (("a", 10 + n), ("b", 20 + 2 * n))
    ]
    results = Results(records)
    assert results.speed_ratio(results.conditions[0], "b").value == pytest.approx(0.5)
    assert answers(results)[0].startswith("At 64, a is 2.00 times as fast as b") or "a is 2" in answers(results)[0]
    assert "by latency" in answers(results)[0]


def test_what_equals_show_between_them_is_no_finding():
    slow_control = launches("a (control)", [10.4, 10.5, 10.3, 10.4, 10.5, 10.4], control=True)
    near = launches("a", [10.0] * 6) + launches("b", [10.45, 10.4, 10.35, 10.5, 10.45, 10.4])
    assert "times as fast" in answers(Results(near))[0] or "equally" in answers(Results(near))[0]
    far = launches("b", [12.0, 12.1, 11.9, 12.0, 12.1, 12.0])
    assert "b is 1.20" in answers(Results(launches("a", [10.0] * 6) + far + slow_control))[0]
    assert "times as fast" not in answers(Results(near + slow_control))[0]


def test_a_control_that_is_missing_somewhere_makes_a_look_there():
    records = [r for res in (64, 128) for arm in "ab" for r in launches(arm, [10.0 + n for n in range(6)], res=res)]
    records += launches("a (control)", [10.0 + n for n in range(6)], control=True, res=64)
    looks = [note for note in caveats(Results(records)) if "a look" in note]
    assert looks == ["At 128 this is a look, not a claim: no control ran."]


def test_interference_and_unsettled_arms_are_flagged():
    stolen = DETAIL | {"steal_seconds": 0.1, "warm_up": WARM | {"settled": False}}
    records = launches("a", [10] * 6) + launches("b", [5] * 6, detail=stolen)
    records += launches("a (control)", [10] * 6, control=True)
    notes = " ".join(caveats(Results(records)))
    assert "other machines on this host took 5% of the processor's time" in notes
    assert "b had not settled when measuring began in 6 of 6 launches" in notes


STEADY = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995]


def sweep(arm: str, power: float, cost: float, sizes, **fields):
    """Throughput of an arm whose time is cost · pixels^power."""
    return [
        record
        for res in sizes
        for record in launches(arm, [s / (cost * (res / 256) ** (2 * power)) for s in STEADY], res=res, **fields)
    ]


def test_level_and_direction_are_named_where_they_are_not_the_usual_ones():
    op = {"level": "op", "tokens": 4096, "direction": "training"}
    records = launches("a", [10.0] * 6, **op) + launches("b", [5.0] * 6, **op)
    assert answers(Results(records))[0].startswith("At 4,096 tokens, attention alone, training, a is 2")


def test_many_conditions_are_said_at_the_ends_of_the_sweep_and_in_its_meaning():
    sizes = [128 * n for n in range(1, 9)]
    records = sweep("a", 2.0, 1.0, sizes) + sweep("b", 1.0, 2.0, sizes)
    records.append(make("b", "peak_memory", [], res=512, status="oom", reason="too large"))
    said = answers(Results(records))
    assert [sentence.partition(",")[0] for sentence in said[:2]] == ["At 128", "At 1024"]
    text = " ".join(said[2:])
    assert "b overtakes a at 362 pixels a side (95% interval 36" in text, "where pixels are twice those of 256"
    assert "shown slower at 256 and faster at 384" in text
    assert "a N^2.0" in text
    assert "b N^1.0" in text
    assert not any("At 256" in sentence for sentence in said)


def test_where_nothing_crosses_that_is_said_without_claiming_more():
    sizes = [128, 256, 512]
    ahead = sweep("b", 1.0, 0.5, sizes) + sweep("a", 1.0, 1.0, sizes)
    assert "From 128 to 512 pixels a side, b is faster than a at every size measured." in answers(Results(ahead))
    level = sweep("b", 1.0, 1.0, sizes) + sweep("a", 1.0, 1.0, sizes)
    assert any("no crossover in speed is shown between a and b" in sentence for sentence in answers(Results(level)))


def test_the_strongest_evaluation_of_a_function_is_named_and_compared_with():
    records = launches("mhsa", [10 * s for s in STEADY]) + launches("mhsa-sdpa", [12 * s for s in STEADY])
    records += launches("xfa", [18 * s for s in STEADY])
    records += launches("mhsa compiled", [15 * s for s in STEADY], attn="mhsa", mode="compile")
    said = answers(Results(records, against="mhsa"))[3]
    assert "of 3 ways to compute mhsa (mhsa, mhsa-sdpa and mhsa compiled) mhsa compiled is the fastest" in said
    assert "xfa is 1.2" in said
    twice = launches("mhsa", [10 * s for s in STEADY]) + launches("mhsa #2", [10 * s for s in STEADY], attn="mhsa")
    assert len(answers(Results(twice, against="mhsa"))) == 1, "the same arm twice is no other way"


def test_bounds_and_the_largest_batch_are_said():
    parts = {"attention": [6.0, 6.0], "MLP": [4.0, 4.0]}
    records = [*launches("a", [10.0] * 3), make("a", "macs", [1e9])]
    records += [make("a", "max_batch", [40], detail={"limit": 2**34})]
    records += [make("a", "predicted_memory", [1.0], detail={"traffic": 1e8, "activations": 5})]
    records += [make("a", "breakdown", [10.0, 10.0], n, detail={"parts": parts}) for n in (1, 2, 3)]
    records += [make("a", "limits", [2e10], n, detail={"copy_bytes_per_second": 1e10}) for n in (1, 2, 3)]
    text = " ".join(answers(Results(records)))
    assert "an attention that took no time would make, at most, a 2.50 times as fast" in text
    assert "a reaches 50.0% (50.0–50.0) of what this machine allows at 10 multiply" in text
    assert "the largest batch that fits into 16.0 GiB is 40 for a" in text


def test_controls_of_many_conditions_are_one_sentence_and_failed_ones_stay():
    sizes = [64 * n for n in range(1, 9)]
    records = [r for res in sizes for arm in "ab" for r in launches(arm, [10.0] * 6, res=res)]
    records += [r for res in sizes[1:] for r in launches("a again", [10.0] * 6, res=res, control=True, attn="a")]
    records += launches("a again", [8.0] * 6, res=64, control=True, attn="a")
    notes = [note for note in caveats(Results(records)) if "control" in note]
    assert notes[0].startswith("Under 7 conditions the control")
    assert [note.partition(":")[0] for note in notes if "VOID" in note] == ["At 64"]
