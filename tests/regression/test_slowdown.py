"""The rule by which a check fails on time: how often it is wrong, and how often it misses, with noise as it is seen."""

import math

import numpy as np
import pytest

from xbench.regression.slowdown import decide, paired, unpaired

EFFECT = 0.05
ROUNDS = 40
LAUNCH_NOISE, ROUND_NOISE = 0.012, 0.05  # of a log-ratio; the first stays however many rounds there are


class Machine:
    """Makes launches of two arms that take turns: it drifts by tens of percent, and now and then a launch is off."""

    def __init__(self, seed, launches=6):
        self._random = np.random.default_rng(seed)
        self._launches = launches

    def run(self, slower, cells=1):
        """By cell, the slow-down that a run shows of something that takes ``slower`` times as long."""
        return {cell: paired(*self._sides(slower), EFFECT) for cell in range(cells)}

    def _sides(self, slower):
        normal = self._random.normal
        before, now = {}, {}
        for launch in range(self._launches):
            drift = normal(0, 0.2) + normal(0, 0.02, ROUNDS).cumsum()
            off = normal(0, 0.04) if self._random.random() < 0.05 else 0.0
            ratio = math.log(slower) + normal(0, LAUNCH_NOISE) + off
            place = ("run", launch, 0)
            before[place] = np.exp(drift + normal(0, ROUND_NOISE, ROUNDS))
            now[place] = np.exp(drift + ratio + normal(0, ROUND_NOISE, ROUNDS))
        return now, before

    def verdicts(self, slower, cells=1):
        """Of one check."""

        def run_again(suspected):
            again = self.run(slower, cells)
            return {cell: again[cell] for cell in suspected}

        return [decision.verdict for decision in decide(self.run(slower, cells), EFFECT, run_again).values()]


@pytest.mark.parametrize(("slower", "least", "most"), [(1.0, 0, 1 / 30), (1.10, 28 / 30, 1), (0.8, 0, 0)])
def test_equals_pass_and_a_tenth_more_is_found(slower, least, most):
    machine = Machine(seed=0)
    checks = [machine.verdicts(slower)[0] for _ in range(300)]
    assert least <= checks.count("FAIL") / len(checks) <= most
    if slower <= 1:
        assert checks.count("PASS") > 0.9 * len(checks), "the rule is not merely silent"


def test_three_launches_miss_more_and_cry_wolf_no_more():
    machine = Machine(seed=5, launches=3)
    assert [machine.verdicts(1.0)[0] for _ in range(300)].count("FAIL") == 0
    assert [machine.verdicts(1 + EFFECT)[0] for _ in range(300)].count("FAIL") <= 2
    found = [machine.verdicts(1.10)[0] for _ in range(300)].count("FAIL")
    assert 30 < found < 200, "six launches are worth their time"


def test_just_what_is_allowed_fails_no_more_often_than_it_may_also_among_many_cells():
    machine = Machine(seed=1)
    checks = [machine.verdicts(1 + EFFECT, cells=20) for _ in range(60)]
    assert sum("FAIL" in verdicts for verdicts in checks) <= 2
    first_runs = [machine.run(1 + EFFECT, cells=20) for _ in range(60)]
    alone = sum(any(cell.times.low > 1 + EFFECT for cell in found.values()) for found in first_runs)
    assert alone > 10, "one run, and every cell by itself, would cry wolf"


def test_one_run_alone_neither_fails_nor_passes_what_it_suspects():
    slow = Machine(seed=2).run(1.3)
    equal = Machine(seed=3).run(1.0)
    assert decide(slow, EFFECT, lambda suspected: equal)[0].verdict == "INCONCLUSIVE"
    assert decide(slow, EFFECT, lambda suspected: {})[0].verdict == "INCONCLUSIVE"
    assert decide(slow, EFFECT, lambda suspected: slow)[0].verdict == "FAIL"
    assert decide(equal, EFFECT, lambda suspected: pytest.fail("nothing is suspected"))[0].verdict == "PASS"


def test_the_chance_and_the_interval_agree():
    """One-sided at 2.5 % and the lower end of the 95 % interval are the same test."""
    machine = Machine(seed=4)
    for slower in np.linspace(1.04, 1.12, 40):
        longer, than = machine._sides(slower)
        for found in (paired(longer, than, EFFECT), unpaired(longer, than, EFFECT)):
            assert (found.chance < 0.025) == (found.times.low > 1 + EFFECT)


def test_a_single_launch_decides_nothing():
    one = {("r", 1, 0): [1.0]}, {("r", 1, 0): [9.0]}
    for found in (paired(*one, EFFECT), unpaired(*one, EFFECT)):
        assert found.chance == 1.0
        assert math.isnan(found.times.high)
        assert decide({0: found}, EFFECT, lambda suspected: {})[0].verdict == "INCONCLUSIVE"
    assert paired({}, one[1], EFFECT) is None
    assert unpaired({}, one[1], EFFECT) is None
