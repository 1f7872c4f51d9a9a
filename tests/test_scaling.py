"""Exponents and crossovers against power laws with noise, whose truth is known."""

import numpy as np
import pytest
from small_records import make

from xbench.results import Results
from xbench.scaling import crossovers, exponent, theory

SIZES = (128, 256, 512, 1024)


def records(arm, seconds, sizes=SIZES, launches=6, noise=0.02, seed=0, **fields):
    """Throughput of an arm that takes ``seconds(res)``, with noise between launches."""
    random = np.random.default_rng((seed, len(arm), ord(arm[0])))
    return [
        make(arm, "throughput", [np.exp(noise * random.standard_normal()) / seconds(res)], launch, res=res, **fields)
        for res in sizes
        for launch in range(launches)
    ]


def read(*found):
    results = Results([record for own in found for record in own])
    (sweep,) = results.sweeps()
    return results, sweep


def test_headline_is_the_least_squares_slope_over_the_upper_part():
    own = records("a", lambda res: res**3.0)
    found = exponent(*read(own), "a", "throughput")
    upper = [record for record in own if record.case["img_size"][0] >= 256]
    x = [2 * np.log(record.case["img_size"][0]) for record in upper]
    expected = np.polyfit(x, [-np.log(record.samples[0]) for record in upper], 1)[0]
    assert found.value == pytest.approx(expected)
    assert found.points == 3
    assert [x for x, *_ in found.local] == pytest.approx([2**15, 2**17, 2**19])


def test_intervals_of_exponents_cover_as_often_as_they_claim_and_bends_are_rarely_seen_in_a_power_law():
    found = [exponent(*read(records("a", lambda res: res**3.0, seed=seed)), "a", "throughput") for seed in range(200)]
    assert 0.9 <= np.mean([power.low <= 1.5 <= power.high for power in found]) <= 0.99
    assert 0.9 <= np.mean([low <= 1.5 <= high for power in found for _, _, low, high in power.local]) <= 0.99
    assert np.mean([power.straight for power in found]) >= 0.97


def test_what_is_not_one_power_says_so_and_its_slopes_approach_the_asymptote():
    found = exponent(*read(records("a", lambda res: res**2 + 1e-5 * res**4)), "a", "throughput")
    slopes = [slope for _, slope, _, _ in found.local]
    assert not found.straight
    assert slopes == sorted(slopes)
    assert slopes[-1] == pytest.approx(1.83, abs=0.05)


def test_memory_grows_by_its_activations_and_exactly():
    own = [make("a", "peak_memory", [100 + res**4], res=res, detail={"activations": 7 * res**4}) for res in SIZES]
    found = exponent(*read(own), "a", "peak_memory")
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.straight
    bent = [make("a", "peak_memory", [1], res=res, detail={"activations": res**2 + res**4 / 1e5}) for res in SIZES]
    assert not exponent(*read(bent), "a", "peak_memory").straight


def test_two_sizes_make_no_power_law_and_one_launch_has_no_local_interval():
    assert exponent(*read(records("a", lambda res: res, sizes=(64, 128))), "a", "throughput") is None
    found = exponent(*read(records("a", lambda res: res, launches=1)), "a", "throughput")
    assert np.isnan(found.local[0][2])
    assert found.low <= found.value <= found.high


def test_theory_is_what_the_registry_states_and_memory_is_not_time():
    assert theory("mhsa", "throughput") == 2.0
    assert theory("mhsa:num_heads=8", "latency") == 2.0
    assert theory("mhsa-sdpa", "throughput") == 2.0
    assert theory("mhsa-sdpa", "peak_memory") == 1.0
    assert theory("xfa", "throughput") == 1.0
    assert theory("somewhere.else:Attention", "throughput") is None
    assert theory(None, "throughput") is None


def against(seed=0, **fields):
    """Linear "b" against quadratic "a": as fast as each other at 400 pixels a side."""
    quadratic = records("a", lambda res: (res / 400) ** 4, seed=seed, **fields)
    return read(quadratic, records("b", lambda res: (res / 400) ** 2, seed=seed, **fields))


def test_a_crossover_is_found_where_it_was_placed():
    (found,) = crossovers(*against(), "b", "a")
    assert found.at == pytest.approx(400, rel=0.02)
    assert (found.below, found.above) == ("a", "b")
    assert found.bracket == (256, 512)
    (turned,) = crossovers(*against(), "a", "b")
    assert (turned.below, turned.above) == ("a", "b")
    assert turned.at == pytest.approx(found.at)


@pytest.mark.parametrize("launches", [3, 6])
def test_intervals_of_crossovers_cover_as_often_as_they_claim(launches):
    found = [crossovers(*against(seed, launches=launches), "b", "a") for seed in range(150)]
    assert all(len(own) == 1 for own in found)
    assert 0.9 <= np.mean([own[0].low <= 400 <= own[0].high for own in found]) <= 1.0


def test_no_crossover_is_claimed_where_a_sign_is_not_shown():
    assert crossovers(*against(launches=1), "b", "a") == []
    assert crossovers(*against(sizes=(512, 1024, 2048)), "b", "a") == []
    results, _ = against()
    control = records("a again", lambda res: (res / 400) ** 4 * 1.2, control=True, attn="a")
    assert crossovers(*read(results.records, control), "b", "a") == [], "a control that failed voids the speeds"


def test_tokens_are_the_axis_where_the_attention_stands_alone():
    own = []
    for arm, power in (("a", 2), ("b", 1)):
        for n in (256, 1024, 4096):
            for launch in range(3):
                speed = 1 / (n / 1024) ** power * (1.01 if arm == "b" else 1.0) * (1 + 0.001 * launch)
                own.append(make(arm, "throughput", [speed], launch, level="op", tokens=n))
    results, sweep = read(own)
    (found,) = crossovers(results, sweep, "b", "a")
    assert found.at == pytest.approx(1024, rel=0.02)


def test_memory_crosses_exactly():
    own = [make("a", "peak_memory", [res**2], res=res) for res in SIZES]
    own += [make("b", "peak_memory", [300 * res], res=res) for res in SIZES]
    (found,) = crossovers(*read(own), "b", "a", "peak_memory")
    assert found.at == found.low == found.high == pytest.approx(300)
    assert (found.below, found.above) == ("a", "b")
