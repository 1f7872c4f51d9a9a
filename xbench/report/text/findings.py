"""What a sweep means, in words: where arms overtake one another, how they grow, and what bounds the largest of it."""

from collections.abc import Callable
from typing import TypeVar

from xbench.analysis.results import Results
from xbench.analysis.roofline import ATTENTION, Attained, attained, ceiling, limits, shares
from xbench.analysis.scaling import Exponent, exponent
from xbench.analysis.sweeps import Sweep
from xbench.report.text.overtakings import overtakings, without_void
from xbench.report.text.phrases import NAMED, capital, describe, describe_sweep, is_brief, listing, show_exponent
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_count, show_interval, show_number, show_share

Found = TypeVar("Found")


def findings(results: Results) -> list[str]:
    """Sentences on every sweep: crossovers, exponents, ceiling, roofline and largest batch."""
    kinds = (overtakings, _growth, _ceilings, _rooflines, _batches)
    return [sentence for sweep in results.sweeps() for say in kinds for sentence in say(results, sweep)]


def _growth(results: Results, sweep: Sweep) -> list[str]:
    """One sentence for time and one for memory, with the exponents of all arms, or the extremes of many."""
    found = []
    step = "a training step" if sweep.conditions[0].direction == "training" else "an image"
    largest = sweep.conditions[-1]
    for metric, what, void in (
        (
            results.speed_metric_at(largest),
            f"the time of {'one sequence' if sweep.axis == 'tokens' else step}",
            without_void(results, sweep),
        ),
        (results.memory_metric_at(largest), "the memory of activations", ""),
    ):
        powers = {arm: exponent(results, sweep, arm, metric) for arm in results.arms} if metric else {}
        known = {arm: power for arm, power in powers.items() if power}
        if not known:
            continue
        points = {power.points for power in known.values()}
        over = "between the two largest sizes" if points == {2} else f"over the {max(points)} largest sizes"
        where = capital(describe_sweep(sweep, results))
        found.append(f"{where}, {over}{void}, {what} grows with the number of tokens N {_powers(results, known)}.")
    return found


def _powers(results: Results, known: dict[str, Exponent]) -> str:
    if not is_brief(results) or len(known) <= NAMED:
        return "as: " + "; ".join(f"{arm} N^{show_exponent(power)}{_stated(power)}" for arm, power in known.items())
    least, most = (pick(known, key=lambda arm: known[arm].value) for pick in (min, max))
    bent = sum(power.straight is False for power in known.values())
    text = (
        f"as: {least} N^{show_exponent(known[least])} at the least; {most} N^{show_exponent(known[most])} at the most"
    )
    return text + (f"; {bent} of {len(known)} arms by no single power" if bent else "")


def _stated(power: Exponent) -> str:
    return f", stated N^{power.theory:g}" if power.theory is not None else ""


def _ceilings(results: Results, sweep: Sweep) -> list[str]:
    """What the attention takes of the time, of the arm where it is the most, and by that what a faster one can gain."""

    def parts(results: Results, conditions: Conditions, arm: str) -> tuple[Estimate, Estimate] | None:
        most = ceiling(results, conditions, arm)
        return (shares(results, conditions, arm)[ATTENTION], most) if most else None

    place, found = _largest(results, sweep, parts)
    if not found:
        return []
    first, *others = sorted(found, key=lambda arm: found[arm][0].value, reverse=True)
    share, most = found[first]
    whole = "block" if place.level == "block" else "model"
    text = (
        f"At {describe(place, results)}{_smaller(results, sweep, place)}, {first}'s attention takes "
        f"{show_share(share)} of an instrumented eager pass; without it the {whole} would be {show_interval(most)} "
        "times as fast, and no change of attention can do better here"
    )
    if len(others) > NAMED:
        share, most = found[others[-1]]
        return [f"{text}; of {len(found)} arms {others[-1]}'s takes the least, {show_share(share)}."]
    return ["; ".join([text, *(f"{arm}'s takes {show_share(found[arm][0])}" for arm in others)]) + "."]


def _rooflines(results: Results, sweep: Sweep) -> list[str]:
    place, found = _largest(results, sweep, attained)
    machine = limits(results, place)
    if not found or not machine:
        return []
    above = {arm: one for arm, one in found.items() if one.share.value > 1 and one.by_memory}
    below = sorted(found.keys() - above.keys(), key=lambda arm: found[arm].share.value)
    if len(below) > NAMED:
        least, most = (f"{show_share(found[arm].share)} ({arm})" for arm in (below[0], below[-1]))
        said = [f"arms reach {least} to {most} of what this machine allows"]
    else:
        parts = [_reached(arm, found[arm], first=i == 0) for i, arm in enumerate(below)]
        said = [listing(parts)] if parts else []
    if above:
        verb, their = ("stands", "its") if len(above) == 1 else ("stand", "their")
        who = listing(list(above)) if len(above) <= NAMED else f"{len(above)} arms"
        said.append(f"{who} {verb} above the memory roof: {their} data stay in caches")
    own = (
        f"the machine itself does {show_count(machine.macs_per_second.value)} multiply–accumulates and "
        f"{show_count(machine.copy_bytes_per_second.value)}B copied per second"
    )
    return [f"At {describe(place, results)}{_smaller(results, sweep, place)}, {'; '.join([*said, own])}."]


def _reached(arm: str, one: Attained, first: bool) -> str:
    share, intensity = show_share(one.share), show_number(one.intensity, 2)
    if not first:
        return f"{arm} {share} at {intensity}"
    return f"{arm} reaches {share} of what this machine allows at {intensity} multiply–accumulates per byte"


def _batches(results: Results, sweep: Sweep) -> list[str]:
    """The largest batches, by the limit that they were found under: under different limits they do not compare."""

    def batch(results: Results, conditions: Conditions, arm: str) -> tuple[int, float] | None:
        cell = results.cell(conditions, arm, "max_batch")
        return (int(cell.figure.value), cell.detail.get("limit", 0.0)) if cell and cell.figure else None

    place, found = _largest(results, sweep, batch)
    by_limit: dict[float, list[tuple[int, str]]] = {}
    for arm, (count, limit) in found.items():
        by_limit.setdefault(limit, []).append((count, arm))
    parts = []
    for limit, own in by_limit.items():
        room = f" into {show_number(limit / 2**30, 3)} GiB" if limit else ""
        if len(own) > NAMED:
            (least, last), (most, first) = min(own), max(own)
            counts = f"{least:,} ({last}) to {most:,} ({first})"
        else:
            counts = listing([f"{count:,} for {arm}" for count, arm in own])
        parts.append(f"the largest batch that fits{room} is {counts}")
    return [f"At {describe(place, results)}, {'; '.join(parts)}."] if parts else []


def _smaller(results: Results, sweep: Sweep, place: Conditions) -> str:
    """Why a place that is not the largest is spoken of, where that is because the control failed."""
    return without_void(results, sweep) if place is not sweep.conditions[-1] else ""


def _largest(
    results: Results, sweep: Sweep, find: Callable[[Results, Conditions, str], Found | None]
) -> tuple[Conditions, dict[str, Found]]:
    """The largest size of the sweep where ``find`` finds anything, and what it finds there by arm."""
    for conditions in reversed(sweep.conditions):
        found = {arm: one for arm in results.arms if (one := find(results, conditions, arm)) is not None}
        if found:
            return conditions, found
    return sweep.conditions[-1], {}
