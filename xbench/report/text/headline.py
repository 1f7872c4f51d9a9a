"""The answer in three lines: what is fastest, what is smallest, and what to choose at which size."""

from itertools import groupby

from xbench.analysis.equivalents import function_of
from xbench.analysis.pareto import Front, fronts
from xbench.analysis.results import Results
from xbench.analysis.sweeps import Sweep
from xbench.metrics.definitions import METRICS, PUBLISHED
from xbench.report.text.ability import show_cost
from xbench.report.text.pairs import why_a_look
from xbench.report.text.phrases import NAMED, bare, describe, describe_beside, multiple, sizes, some, span
from xbench.statistics.estimates import CONFIDENCE, Estimate
from xbench.statistics.verdicts import verdict
from xbench.study.conditions import Conditions
from xbench.wording.conditions import name_extent, show_value
from xbench.wording.numbers import show_count, show_memory, show_number
from xbench.wording.scores import SHORT

WITHOUT_MIXING = "identity"  # a control, which nobody can choose
ALIKE = 0.01  # relative difference of exact figures under which they are the same
STEPS = 3  # of a front that are offered


def headline(results: Results) -> list[str]:
    """At most three sentences, on the sweep that matters most: of whole models, and of the most sizes.

    What cannot be said is left out: speed where it was not measured or where the control failed, and the choice where
    there is one arm.
    """
    return [said for said in (fastest(results), smallest(results), choice(results)) if said]


def _main(results: Results) -> Sweep | None:
    if not results.arms or not results.conditions:
        return None
    return max(results.sweeps(), key=lambda one: (one.conditions[0].level == "model", len(one.conditions)))


# Fastest


def _leaders(results: Results, place: Conditions, arms: list[str]) -> list[str]:
    """The arm with the highest speed there and those that are not shown to be slower, fastest first."""
    if not results.trusted(place):
        return []
    speeds = {arm: times.value for arm in arms if (times := results.speed_ratio(place, arm))}
    ordered = sorted(speeds, key=lambda arm: speeds[arm], reverse=True)
    control = results.control_ratio(place)
    found = ordered[:1]
    for arm in ordered[1:]:
        times = results.speed_ratio(place, arm, to=ordered[0])
        if times is None or verdict(times, control) != "lower":
            found.append(arm)
    return found


def fastest(results: Results, brief: bool = False) -> str:
    """Who is, and by how much; empty where nothing was timed. ``brief`` for a title, without how certain that is."""
    if (sweep := _main(results)) is None:
        return ""
    timed = [place for place in sweep.conditions if results.speed_metric_at(place)]
    place = next((place for place in reversed(timed) if _leaders(results, place, results.arms)), None)
    if place is None:
        failed = [place for place in timed if not results.trusted(place)]
        return f"Nothing can be said of speed at {sizes(failed)}, because the control failed." if failed else ""
    first, *others = _leaders(results, place, results.arms)
    where, look = describe(place, results), why_a_look(results, place)
    ending = f" This is a look, not a claim: {look}." if look and not brief else ""
    if len(results.arms) == 1:
        return f"At {where}, {first} {_took(results, place, first)}.{ending}"
    timed_arms = [arm for arm in results.arms if results.speed_ratio(place, arm)]
    if len(others) + 1 == len(timed_arms):
        alone = len(timed_arms) == 1
        return f"At {where}, {f'only {first} has a speed' if alone else 'no arm is shown to be the fastest'}.{ending}"
    other = results.against if results.against not in (first, *others) else _next(results, place, [first, *others])
    times = results.speed_ratio(place, first, to=other)
    said = f"At {where}, {first} is the fastest"
    if others and brief:
        return f"At {where}, {some([first, *others])} are the fastest."
    if others:
        said = f"At {where}, {some([first, *others])} are the fastest, and no difference is shown between them"
    if times:
        certain = "" if brief else f" ({CONFIDENCE:.0%} interval {span(times)}, {_launches(times)})"
        said += f": {f'{first} is ' if others else ''}{bare(times)} times as fast as {other}{certain}"
    return f"{said}.{ending}"


def _launches(times: Estimate) -> str:
    return f"{times.launches} launch{'' if times.launches == 1 else 'es'}"


def _next(results: Results, place: Conditions, leaders: list[str]) -> str:
    """The fastest arm after the leaders."""
    behind = _leaders(results, place, [arm for arm in results.arms if arm not in leaders])
    return behind[0]


def _took(results: Results, place: Conditions, arm: str) -> str:
    metric = results.speed_metric_at(place) or ""
    cell = results.cell(place, arm, metric)
    unit = METRICS[metric].unit.replace("img", "seq" if place.alone else "img")
    verb = "takes" if METRICS[metric].better == "lower" else "does"
    return f"{verb} {bare(cell.figure)} {unit}" if cell and cell.figure else "was not timed"


# Smallest


def smallest(results: Results) -> str:
    """Who is, by memory, else by multiply–accumulates, else by parameters; empty where nothing of it is known."""
    if (sweep := _main(results)) is None:
        return ""
    for place in reversed(sweep.conditions):
        for metric in (results.memory_metric_at(place), "macs", "params"):
            if metric and (said := _least(results, place, metric)):
                return said
    return ""


def _least(results: Results, place: Conditions, metric: str) -> str:
    figures = {
        arm: cell.figure
        for arm in results.arms
        if (cell := results.cell(place, arm, metric)) and cell.figure and not cell.figure.bound
    }
    if not figures:
        return ""
    first, last = (pick(figures, key=lambda arm: figures[arm].value) for pick in (min, max))
    alike = [arm for arm in figures if figures[arm].value <= (1 + ALIKE) * figures[first].value]
    where, own = describe(place, results), _amount(metric, figures[first].value)
    thing = {"macs": "multiply–accumulates", "params": "parameters"}.get(metric, METRICS[metric].label)
    verb = {"macs": "needs", "params": "has"}.get(metric, "takes")
    if len(figures) == 1:
        return f"At {where}, {first} {verb} {own}{'' if 'memory' in thing else f' {thing}'}."
    if len(alike) == len(figures):
        whose = "all arms" if len(figures) == len(results.arms) else f"all {len(figures)} arms that have a figure"
        verb = "is" if "memory" in thing else "are"
        return f"At {where}, the {thing} of {whose} {verb} the same to within 1 %: {own}."
    other = results.against if results.against in figures and results.against not in alike else last
    times = results.ratio(place, other, metric, first)
    more = f"{other} {verb} {multiple(times)} times as much" if times else f"{other} {verb} more"
    if metric == "params" or metric == "macs":
        more = more.replace("as much", "as many")
    superlative = "the least" if "memory" in thing else "the fewest"
    who = f"{first} {verb}" if len(alike) == 1 else f"{some(alike)} {verb.rstrip('s') if verb != 'has' else 'have'}"
    return f"At {where}, {who} {superlative} {thing}, {own}; {more}."


def _amount(metric: str, value: float) -> str:
    if metric in ("macs", "params"):
        return show_count(value)
    return show_memory(value)


# Choice


def choice(results: Results) -> str:
    """What to choose at which size, or for what it is worth; empty where there is one arm, or nothing to go by."""
    sweep = _main(results)
    if len(results.arms) < 2 or sweep is None:
        return ""
    known = [front for front in fronts(results) if front.place.but_extent == sweep.conditions[0].but_extent]
    return _by_worth(results, known[0]) if known else _by_size(results, sweep)


def _by_worth(results: Results, front: Front) -> str:
    """The steps of the front from the best downwards: what is reached, at which cost."""
    steps, where = list(reversed(front.best))[:STEPS], describe(front.place, results)
    task = SHORT.get(front.task) or METRICS[front.task].label
    named = [
        f"{point.arm}{'' if point.decided else ' (still rising)'} reaches {show_number(point.worth.value, 3)} % at "
        f"{show_cost(front.metric, point.cost.value)}"
        for point in steps
    ]
    of = " of the models with a published accuracy," if front.task == PUBLISHED else ""
    if len(steps) == 1:
        reached = named[0].removeprefix(f"{steps[0].arm} ").removeprefix("(still rising) ")
        rising = "" if steps[0].decided else ", still rising"
        return f"At {where},{of} choose {steps[0].arm}{rising}: it {reached}, and no other is better in both."
    return f"At {where},{of} choose by what {task} is worth to you: {'; '.join(named)}."


def _by_size(results: Results, sweep: Sweep) -> str:
    """By speed; of those that are not shown to be slower, the one that takes the least memory."""
    arms = [arm for arm in results.arms if function_of(results.cases[arm]) != WITHOUT_MIXING]
    chosen = [(place, _chosen(results, place, arms)) for place in sweep.conditions]
    chosen = [(place, names) for place, names in chosen if names]
    if not chosen or len(arms) < 2:
        return ""
    parts = []
    for names, own in groupby(chosen, key=lambda item: item[1]):
        places = [place for place, _ in own]
        parts.append(f"{_or(names)} at {sizes(places) if len(places) <= NAMED else _range(places)}")
    beside = describe_beside(sweep, results)
    parts[-1] += f" ({beside})" if beside else ""
    learnt = any(METRICS[name].how == "trained" for name in results.metrics)
    return f"Choose {', '.join(parts)}{'' if learnt else '; what each can learn was not measured here'}."


def _chosen(results: Results, place: Conditions, arms: list[str]) -> tuple[str, ...]:
    leaders = _leaders(results, place, arms)
    metric = results.memory_metric_at(place)
    sizes_of = {
        arm: cell.figure.value
        for arm in leaders
        if metric and (cell := results.cell(place, arm, metric)) and cell.figure
    }
    if sizes_of:
        least = min(sizes_of.values())
        leaders = [arm for arm in leaders if sizes_of.get(arm, float("inf")) <= (1 + ALIKE) * least]
    return tuple(arm for arm in arms if arm in leaders)


def _or(names: tuple[str, ...]) -> str:
    shown = names if len(names) <= NAMED else (*names[: NAMED - 1], f"one of {len(names) - NAMED + 1} more")
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _range(places: list[Conditions]) -> str:
    """ "256 to 1024 px"."""
    first, last = (show_value(place, "extent") for place in (places[0], places[-1]))
    return name_extent(f"{first} to {last}", places[0].alone)
