"""Who is the better one where along a sweep, in words: what overtakes what, and what stays ahead."""

from collections.abc import Collection

from xbench.analysis.crossovers import Crossover, advantages, crossovers
from xbench.analysis.equivalents import functions, strongest
from xbench.analysis.results import Results
from xbench.analysis.sweeps import Sweep
from xbench.report.text.pairs import why_not
from xbench.report.text.phrases import (
    bare,
    capital,
    counted,
    describe_beside,
    describe_sweep,
    is_brief,
    listing,
    near,
    ranked,
    sizes,
    span,
)
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.conditions import name_extent
from xbench.wording.numbers import show_interval


def overtakings(results: Results, sweep: Sweep) -> list[str]:
    """Of each arm and the reference, who is faster where; and whose memory is smaller where, if that changes."""
    if len(sweep.conditions) < 2:
        return []
    if is_brief(results):
        return _in_one(results, sweep)
    found = []
    standings: dict[str, list[str]] = {}
    memory = results.memory_metric_at(sweep.conditions[-1])
    for arm in results.arms:
        if arm == results.against:
            continue
        found += _crossings(results, sweep, arm, results.against)
        if standing := _standing(results, sweep, arm):
            standings.setdefault(standing, []).append(arm)
        found += _crossings(results, sweep, arm, results.against, memory) if memory else []
    for arm, rival in _beyond_the_reference(results, sweep):
        found += _crossings(results, sweep, arm, rival)
    where = capital(describe_sweep(sweep, results))
    found += [f"{where}, {listing(arms)} {'are' if len(arms) > 1 else 'is'} {how}." for how, arms in standings.items()]
    return found


def without_void(results: Results, sweep: Sweep) -> str:
    """ " (without 512 px, whose control failed)"; empty where none did."""
    void = [place for place in sweep.conditions if not results.trusted(place)]
    return f" (without {sizes(void)}, whose control failed)" if void else ""


def _crossings(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None = None) -> list[str]:
    beside = describe_beside(sweep, results)
    start = f"{capital(beside)}: " if beside else ""
    what = {None: "overtakes", "peak_memory": "needs less memory than"}.get(metric, "needs less predicted memory than")
    gaps = _gaps(results, sweep, (arm, to)) if metric is None else ""
    return [
        f"{start}{one.above} {what} {one.below} {_place(one, sweep, exact=metric is not None)}{gaps}."
        for one in crossovers(results, sweep, arm, to, metric)
    ]


def _place(one: Crossover, sweep: Sweep, exact: bool) -> str:
    """ "near 310 px (301–330: noise, and a straight or a bent curve between 256 and 512)", or between which sizes."""
    first, last = (f"{end:,.0f}" if sweep.axis == "tokens" else f"{end:.0f}" for end in one.bracket)
    if (one.low, one.high) == one.bracket:
        return f"between {name_extent(f'{first} and {last}', sweep.axis == 'tokens')}"
    interval = Estimate(one.at, one.low, one.high, launches=2)
    why = f"{'' if exact else 'noise, and '}a straight or a bent curve between {first} and {last}"
    around = f" ({span(interval)}: {why})" if "(" in show_interval(interval) else ""
    return f"near {name_extent(bare(interval), sweep.axis == 'tokens')}{around}"


def _standing(results: Results, sweep: Sweep, arm: str) -> str | None:
    """Which of the arm and the reference is shown to be faster where; None where the crossovers say it."""
    points = advantages(results, sweep, arm, results.against)
    shown = {point.better for point in points if point.better}
    if len(shown) > 1 or not points:
        return None
    reference, gaps = results.against, _gaps(results, sweep, (arm, results.against))
    if not shown:
        return f"not shown to differ from {reference} at any size measured{gaps}"
    word = "faster" if arm in shown else "slower"
    told = [point.place for point in points if point.better]
    untold = [point.place for point in points if not point.better]
    if not untold:
        return f"{word} than {reference} at every size measured{gaps}"
    on = len(told) > 1 and points[-len(told)].place == told[0]
    where = f"from {sizes(told[:1])} on" if on else f"at {sizes(told)}"
    return f"{word} than {reference} {where}, with no difference shown at {sizes(untold)}{gaps}"


def _gaps(results: Results, sweep: Sweep, arms: Collection[str]) -> str:
    """The sizes that say nothing of these arms, and why; empty where all do."""
    found = [without_void(results, sweep)]
    for arm in arms:
        missing: list[Conditions] = []
        for place in sweep.conditions:
            metric = results.speed_metric_at(place)
            if metric and why_not(results, place, arm, metric):
                missing.append(place)
        if missing:
            found.append(f" (without {sizes(missing)}, where {arm} did not run)")
    return "".join(found)


def _beyond_the_reference(results: Results, sweep: Sweep) -> list[tuple[str, str]]:
    """Arms, and the fastest evaluations of other functions at the largest size that are not the reference arm."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for one in strongest(results, sweep.conditions[-1]):
        others = [arm for function, arms in functions(results).items() if function != one.function for arm in arms]
        for arm in others:
            if results.against not in (arm, one.fastest):
                pairs.setdefault(frozenset((arm, one.fastest)), (arm, one.fastest))
    return list(pairs.values())


def _in_one(results: Results, sweep: Sweep) -> list[str]:
    """How many arms overtake the reference, fall behind it, or are on one side of it throughout; extremes by name."""
    changes: dict[str, list[tuple[float, str]]] = {"overtake it": [], "fall behind it": []}
    throughout: dict[str, list[str]] = {}
    for arm in results.arms:
        points = advantages(results, sweep, arm, results.against)
        if arm == results.against or not points:
            continue
        for one in crossovers(results, sweep, arm, results.against):
            changes["overtake it" if one.above == arm else "fall behind it"].append((one.at, arm))
        better = {point.better for point in points}
        if better - {None} in ({arm}, {results.against}):
            word = "faster" if arm in better else "slower"
            extent = "where a difference is shown" if None in better else "at every size"
            throughout.setdefault(f"{word} {extent}", []).append(arm)
        elif better == {None}:
            throughout.setdefault("with no difference shown anywhere", []).append(arm)
    parts = []
    for what, crossed in changes.items():
        if crossed:
            parts.append(ranked([f"{arm} near {near(at, sweep)}" for at, arm in sorted(crossed)], what))
    parts += [counted(arms, what) for what, arms in throughout.items()]
    if not parts:
        return []
    where = capital(describe_sweep(sweep, results))
    return [f"{where}, against {results.against}{without_void(results, sweep)}: {'; '.join(parts)}."]
