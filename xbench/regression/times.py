"""Times before and now, and the verdicts on them: void where equals came out unequal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xbench.regression.slowdown import Decision, Slowdown, decide
from xbench.regression.verdicts import CellKey, CellVerdict
from xbench.statistics.estimates import Estimate
from xbench.statistics.verdicts import control_holds
from xbench.wording.numbers import show_interval


@dataclass(frozen=True)
class Timed:
    """One time on both sides. ``void`` says why nothing may be concluded from it, if so."""

    before: Estimate | None
    now: Estimate | None
    slowdown: Slowdown
    void: str = ""


def void(control: Estimate | None, effect: float) -> str:
    """Why times measured beside this control say nothing; empty where they do."""
    if control is None:
        return "void: no control ran beside it"
    if not control_holds(control, effect):
        return f"void: the control, the same against itself, came out at {show_interval(control)}"
    return ""


def judge_times(
    timed: Mapping[CellKey, Timed], effect: float, run_again: Callable[[set[CellKey]], Mapping[CellKey, Timed]]
) -> list[CellVerdict]:
    """The verdict on every time; ``run_again`` measures the suspected ones with fresh processes."""
    decisions = decide(_valid(timed), effect, lambda suspected: _valid(run_again(suspected)))
    findings = []
    for place, time in timed.items():
        decision = decisions.get(place, Decision("INCONCLUSIVE"))
        reason = time.void or _reason(time.slowdown, decision, effect)
        findings.append(
            CellVerdict(place, decision.verdict, reason, time.before, time.now, time.slowdown.times, decision.again)
        )
    return findings


def _valid(timed: Mapping[CellKey, Timed]) -> dict[CellKey, Slowdown]:
    return {place: time.slowdown for place, time in timed.items() if not time.void}


def _reason(slowdown: Slowdown, decision: Decision, effect: float) -> str:
    again = f"{show_interval(decision.again)} in the rerun" if decision.again else "the rerun gave nothing to rely on"
    if decision.verdict == "FAIL":
        return f"takes {show_interval(slowdown.times)} times as long, {again}; {1 + effect:g} is allowed"
    if decision.verdict == "PASS":
        return ""
    if slowdown.times.low > 1 + effect:
        return f"slower in the first run, not shown twice: {again}"
    return f"not known well enough to tell it from {1 + effect:g} times"
