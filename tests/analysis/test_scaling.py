"""Exponents and crossovers against power laws with noise and misfit, whose truth is known."""

from itertools import pairwise

import numpy as np
import pytest
from made_records import MadeArm, make, place

from xbench.analysis.crossovers import crossovers
from xbench.analysis.results import Results
from xbench.analysis.scaling import exponent, theory

SIZES = (128, 256, 512, 1024)
DENSE = (256, 384, 512, 768, 1024)


def records(arm, seconds, sizes=SIZES, launches=6, noise=0.02, misfit=0.0, seed=0):
    """Throughput of an arm that takes ``seconds(res)``, with noise between launches and misfit between sizes."""
    name = arm if isinstance(arm, str) else arm.label
    random = np.random.default_rng((seed, len(name), ord(name[0])))
    found = []
    for res in sizes:
        level = -np.log(seconds(res)) + misfit * random.standard_normal()
        for launch in range(launches):
            found.append(
                make(arm, place(res), "throughput", [np.exp(level + noise * random.standard_normal())], launch)
            )
    return found


def read(*found):
    results = Results([record for own in found for record in own])
    (sweep,) = results.sweeps()
    return results, sweep


def fit(seconds, **fields):
    return exponent(*read(records("a", seconds, **fields)), "a", "throughput")


def test_headline_of_many_sizes_is_the_least_squares_slope_of_one_mean_per_size():
    own = records("a", lambda res: res**3.0, DENSE)
    found = exponent(*read(own), "a", "throughput")
    n = [place(res).n_tokens for res in DENSE]
    means = [-np.mean([np.log(r.samples[0]) for r in own if r.case["img_size"][0] == res]) for res in DENSE]
    assert found.value == pytest.approx(np.polyfit(np.log(n), means, 1)[0])
    assert found.points == 5
    assert [x for x, *_ in found.local] == pytest.approx([np.sqrt(a * b) for a, b in pairwise(n)])


def test_headline_of_three_sizes_is_the_slope_between_the_two_largest():
    found = fit(lambda res: res**3.0)
    assert found.points == 2, "128 is not within a factor of 16 of 1024 in tokens"
    assert (found.value, found.low, found.high) == found.local[-1][1:]


def test_intervals_of_exponents_cover_as_often_as_they_claim_and_bends_are_rarely_seen_in_a_power_law():
    found = [fit(lambda res: res**3.0, seed=seed) for seed in range(200)]
    assert 0.9 <= np.mean([power.low <= 1.5 <= power.high for power in found]) <= 0.99
    assert 0.9 <= np.mean([low <= 1.5 <= high for power in found for _, _, low, high in power.local]) <= 0.99
    assert np.mean([power.straight for power in found]) >= 0.97


@pytest.mark.parametrize("launches", [3, 10])
def test_launches_do_not_count_as_looks_at_what_a_size_misses_of_the_line(launches):
    found = [fit(lambda res: res**3.0, sizes=DENSE, misfit=0.04, launches=launches, seed=s) for s in range(150)]
    assert 0.9 <= np.mean([power.low <= 1.5 <= power.high for power in found]) <= 0.99


def test_what_is_not_one_power_says_so_and_its_slopes_approach_the_asymptote():
    found = fit(lambda res: res**2 + 1e-5 * res**4)
    slopes = [slope for _, slope, _, _ in found.local]
    assert found.straight is False
    assert slopes == sorted(slopes)
    assert slopes[-1] == pytest.approx(1.83, abs=0.05)


def memory(arm, activations, sizes=SIZES):
    return [make(arm, place(s), "peak_memory", [1.0], detail={"activations": activations(s)}) for s in sizes]


def test_memory_grows_by_its_activations_and_exactly():
    found = exponent(*read(memory("a", lambda res: 7 * res**4)), "a", "peak_memory")
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.straight
    assert exponent(*read(memory("a", lambda res: res**2 + res**4 / 1e5)), "a", "peak_memory").straight is False
    assert exponent(*read([make("a", place(s), "macs", [s]) for s in SIZES]), "a", "macs") is None


def test_two_sizes_make_no_power_law_and_one_launch_shows_no_bend():
    assert fit(lambda res: res, sizes=(64, 128)) is None
    found = fit(lambda res: res, launches=1)
    assert np.isnan(found.local[0][2])
    assert found.straight is None


def test_sizes_whose_control_failed_are_left_out():
    again = MadeArm("a again", attn="a", control=True)
    slow = records(again, lambda res: res**3.0 * (1.2 if res == 1024 else 1), DENSE)
    found = exponent(*read(records("a", lambda res: res**3.0, DENSE), slow), "a", "throughput")
    assert found.points == 4
    results, sweep = read(
        *(records(arm, time) for arm, time in CROSSING.items()), records(again, CROSSING["a"], (256,))
    )
    assert crossovers(results, sweep, "b", "a")[0].bracket == (256, 512)
    void = records(again, lambda res: CROSSING["a"](res) * 1.2, (256,))
    assert crossovers(*read(results.records[: -len(void)], void), "b", "a")[0].bracket == (128, 512)


def test_theory_is_what_the_registry_states_and_memory_is_not_time():
    assert theory("mhsa", "throughput") == 2.0
    assert theory("mhsa:num_heads=8", "latency") == 2.0
    assert theory("mhsa-sdpa", "throughput") == 2.0
    assert theory("mhsa-sdpa", "peak_memory") == 1.0
    assert theory("xfa", "throughput") == 1.0
    assert theory("mhsa", "optimizer_time") is None
    assert theory("somewhere.else:Attention", "throughput") is None
    assert theory(None, "throughput") is None
    assert theory("mhsa", "throughput", {"cost": "O(N^1.5)"}) == 1.5, "what its records say goes first"


# As fast as each other at 400 pixels a side.
CROSSING = {"a": lambda res: (res / 400) ** 4, "b": lambda res: (res / 400) ** 2}


def against(seed=0, times=CROSSING, **fields):
    return read(*(records(arm, seconds, seed=seed, **fields) for arm, seconds in times.items()))


def test_a_crossover_is_found_where_it_was_placed():
    (found,) = crossovers(*against(), "b", "a")
    assert found.at == pytest.approx(400, rel=0.02)
    assert (found.below, found.above) == ("a", "b")
    assert found.bracket == (256, 512)
    (turned,) = crossovers(*against(), "a", "b")
    assert (turned.below, turned.above) == ("a", "b")
    assert turned.at == pytest.approx(found.at)


@pytest.mark.parametrize("cross", [310, 400])
@pytest.mark.parametrize("linear", [0.2, 1.0])
def test_intervals_of_crossovers_hold_what_happens_between_the_sizes(cross, linear):
    # N² + linear · N against as much at the crossing, all of it linear: bent on logarithmic axes.
    times = {"a": lambda res: (res / cross) ** 4 + linear * (res / cross) ** 2}
    times["b"] = lambda res: (1 + linear) * (res / cross) ** 2
    found = [crossovers(*against(seed, times, sizes=(256, 512, 1024)), "b", "a") for seed in range(50)]
    assert all(len(own) == 1 for own in found)
    assert np.mean([own[0].low <= cross <= own[0].high for own in found]) >= 0.9
    assert np.median([own[0].high / own[0].low for own in found]) < 1.2


def test_two_sizes_give_their_bracket_only():
    (found,) = crossovers(*against(sizes=(256, 512)), "b", "a")
    assert (found.low, found.high) == found.bracket == (256, 512)


def test_no_crossover_is_claimed_where_a_sign_is_not_shown():
    assert crossovers(*against(launches=1), "b", "a") == []
    assert crossovers(*against(sizes=(512, 1024, 2048)), "b", "a") == []
    results, _ = against()
    control = records(MadeArm("a again", attn="a", control=True), lambda res: (res / 400) ** 4 * 1.2)
    assert crossovers(*read(results.records, control), "b", "a") == [], "a control that failed voids the speeds"


def test_tokens_are_the_axis_where_the_attention_stands_alone():
    own = []
    for arm, power in (("a", 2), ("b", 1)):
        for n in (256, 1024, 4096):
            for launch in range(3):
                speed = 1 / (n / 1024) ** power * (1.01 if arm == "b" else 1.0) * (1 + 0.001 * launch)
                own.append(make(arm, place(tokens=n), "throughput", [speed], launch))
    results, sweep = read(own)
    (found,) = crossovers(results, sweep, "b", "a")
    assert found.at == pytest.approx(1024, rel=0.02)


def test_memory_crosses_without_noise():
    own = [make(arm, place(s), "peak_memory", [m]) for s in SIZES for arm, m in (("a", s**2), ("b", 300 * s))]
    (found,) = crossovers(*read(own), "b", "a", "peak_memory")
    assert (found.at, found.low, found.high) == pytest.approx((300, 300, 300))
    assert (found.below, found.above) == ("a", "b")
