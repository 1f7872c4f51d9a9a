"""Arms that are one function evaluated in several ways: plain or fused, eager or compiled. Which of them is fastest.

"Faster than softmax attention" means little if a faster evaluation of softmax attention stands beside the one beaten.
"""

from dataclasses import dataclass
from typing import Any

from xbench.analysis.results import Results
from xbench.attention.registry import facts_of
from xbench.attention.spec import split_spec
from xbench.statistics.verdicts import verdict
from xbench.study.conditions import Conditions


@dataclass(frozen=True)
class Strongest:
    """The fastest evaluation of a function under one set of conditions.

    Attributes:
        function: the name of what is computed: an attention with its options, or a timm model.
        arms: its evaluations that have a speed there, two or more.
        fastest: the one of them with the highest speed.
        beaten: those that it is shown to be faster than.
    """

    function: str
    arms: tuple[str, ...]
    fastest: str
    beaten: tuple[str, ...]


def functions(results: Results) -> dict[str, list[str]]:
    """By function, the arms that evaluate it, in the order of the arms."""
    found: dict[str, list[str]] = {}
    for arm in results.arms:
        found.setdefault(function_of(results.cases[arm]), []).append(arm)
    return found


def function_of(arm: dict[str, Any]) -> str:
    """What an arm computes, whichever way: the attention that it says it ``computes``, or itself, with its options.

    An option that the computed attention does not have can only be about the way. Of attentions from outside nothing
    is known but what the record says: they are not imported.
    """
    if arm["attn"] is None:
        return str(arm["baseline"] or arm["arm"])
    name, options = split_spec(arm["attn"])
    info = facts_of(name)
    target = facts_of(info.computes) if info and info.computes else None
    if target is None:
        return str(arm["attn"])
    shared = [part for part in options.split(",") if part.partition("=")[0] in {*target.options, "num_heads"}]
    return f"{target.name}:{','.join(shared)}" if shared else target.name


def strongest(results: Results, conditions: Conditions) -> list[Strongest]:
    """For each function with several evaluations there, the fastest one; none where the control failed."""
    if not results.trusted(conditions):
        return []
    found = []
    control = results.control_ratio(conditions)
    for function, arms in functions(results).items():
        # An arm given twice is no other way to compute.
        ways = {str({**results.cases[arm], "arm": ""}): arm for arm in reversed(arms)}
        arms = [arm for arm in arms if arm in ways.values()]
        speeds = {arm: times.value for arm in arms if (times := results.speed_ratio(conditions, arm))}
        if len(speeds) < 2:
            continue
        fastest = max(speeds, key=lambda arm: speeds[arm])
        others = {arm: results.speed_ratio(conditions, fastest, to=arm) for arm in speeds if arm != fastest}
        beaten = tuple(arm for arm, times in others.items() if times and verdict(times, control) == "higher")
        found.append(Strongest(function, tuple(speeds), fastest, beaten))
    return found
