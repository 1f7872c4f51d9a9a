"""Whether something takes longer than before: the decision, from launches alone.

It takes two runs with fresh processes to say so. In each the lower end of the 95 % interval has to lie beyond what is
allowed; where many cells are looked at, by the rule of Benjamini and Hochberg (J. R. Stat. Soc. B 57, 1995), so that at
most one in forty of those named in a run is expected to be named by chance.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from scipy import stats

from xbench.statistics.estimates import CONFIDENCE, Estimate, Launches, launch_log_ratios, launch_logs, over_launches

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
ALPHA = (1 - CONFIDENCE) / 2  # what lies beyond the lower end of an interval
Key = TypeVar("Key")


@dataclass(frozen=True)
class Slowdown:
    """How many times as long as before, and the chance to see so much or more were it just what is allowed."""

    times: Estimate
    chance: float


@dataclass(frozen=True)
class Decision:
    """On one cell. ``again`` is what the second run showed, where one was needed."""

    verdict: Verdict
    again: Estimate | None = None


def paired(longer: Launches, than: Launches, effect: float) -> Slowdown | None:
    """Of two arms of one run; ``effect`` is the relative slow-down that is allowed. None where no launch has both."""
    logs = launch_log_ratios(longer, than)
    if not logs:
        return None
    test: Any = None
    if len(logs) > 1:
        test = stats.ttest_1samp(list(logs.values()), math.log1p(effect), alternative="greater")
    return Slowdown(over_launches(logs), float(test.pvalue) if test else 1.0)


def unpaired(longer: Launches, than: Launches, effect: float) -> Slowdown | None:
    """Of two runs, by Welch's t on the logs of their launches. Blind to what changed in the machine between them."""
    now, before = (np.array(list(launch_logs(side).values())) for side in (longer, than))
    fewest = min(len(now), len(before))
    if not fewest:
        return None
    value, low, high, chance = float(now.mean() - before.mean()), math.nan, math.nan, 1.0
    if fewest > 1:
        interval: Any = stats.ttest_ind(now, before, equal_var=False).confidence_interval(CONFIDENCE)
        low, high = float(interval.low), float(interval.high)
        test: Any = stats.ttest_ind(now, before + math.log1p(effect), equal_var=False, alternative="greater")
        chance = float(test.pvalue)
    return Slowdown(Estimate(math.exp(value), math.exp(low), math.exp(high), fewest), chance)


def shown(found: Mapping[Key, Slowdown]) -> set[Key]:
    """The cells of a run that take longer than is allowed."""
    if not found:
        return set()
    adjusted = stats.false_discovery_control([slowdown.chance for slowdown in found.values()])
    return {key for key, chance in zip(found, adjusted, strict=True) if chance <= ALPHA}


def decide(
    first: Mapping[Key, Slowdown], effect: float, run_again: Callable[[set[Key]], Mapping[Key, Slowdown]]
) -> dict[Key, Decision]:
    """FAIL where both runs show it, PASS where the first shows that it is not so, else INCONCLUSIVE.

    Args:
        first: of every cell of the first run.
        effect: the relative slow-down that is allowed.
        run_again: measures the suspected cells with fresh processes; it may fail to find some.
    """
    suspected = shown(first)
    second = run_again(suspected) if suspected else {}
    confirmed = shown({key: second[key] for key in suspected & second.keys()})
    decisions: dict[Key, Decision] = {}
    for key, slowdown in first.items():
        if key in suspected:
            again = second[key].times if key in second else None
            decisions[key] = Decision("FAIL" if key in confirmed else "INCONCLUSIVE", again)
        else:
            decisions[key] = Decision("PASS" if slowdown.times.high < 1 + effect else "INCONCLUSIVE")
    return decisions
