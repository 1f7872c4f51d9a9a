"""What attentions can do on made-up tasks, in words; what it is worth against what it costs; what makes it fair."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from xbench.analysis.ability import abilities, guess_of_all, probed
from xbench.analysis.pareto import Front, Point, fronts
from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.records.record import Record
from xbench.report.text.accuracy import unequal
from xbench.report.text.phrases import describe, some
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_count, show_memory, show_number

WITHIN = 3.0  # points above naming the commonest value, within which nothing was recalled
OF_TIME = ("latency", "throughput", "device_time")


def ability_sentences(results: Results) -> list[str]:
    """How many pairs who recalls; what a step along the front costs, in time where that was measured; who knows no
    more than how often values occur; and of whom nothing can be said yet.
    """
    leads: dict[tuple[str, Conditions], Front] = {}
    for front in fronts(results):
        leads.setdefault((front.task, front.trained), front)
    said = [_of(results, task, place) for task, place in probed(results)]
    along = [_along(results, front) for front in leads.values() if front.metric != "params"]
    return [*(own[0] for own in said if own), *along, *(rest for own in said for rest in own[1:])]


def _of(results: Results, task: str, place: Conditions) -> list[str]:
    found = abilities(results, place, task)
    pairs = list(next(iter(found.values())).by_pairs)
    by_capacity: dict[int, list[str]] = {}
    for arm, own in sorted(found.items(), key=lambda item: -item[1].mean.value):
        if own.decided:
            by_capacity.setdefault(own.capacity.value, []).append(arm)
    parts = [
        f"{some(arms)} {'answer' if len(arms) > 1 else 'answers'} "
        + (f"90 % or more with up to {capacity} pairs" if capacity else f"less than that with {pairs[0]} pairs already")
        for capacity, arms in sorted(by_capacity.items(), reverse=True)
    ]
    start = f"At {describe(place, results)}, {METRICS[task].label}:"
    sentences = [f"{start} {'; '.join(parts)}."] if parts else []
    common = guess_of_all(task, pairs)[1]
    lost = [arm for arm, own in found.items() if own.decided and own.mean.value < common + WITHIN]
    if lost:
        verb = "are" if len(lost) > 1 else "is"
        sentences.append(f"{start} {some(lost)} {verb} no better than naming the commonest value ({common:.1f} %).")
    rising = [f"{arm} {own.mean.value:.1f} %" for arm, own in found.items() if not own.decided]
    if rising:
        verb = "were" if len(rising) > 1 else "was"
        sentences.append(f"{start} {some(rising)} {verb} still rising when training was stopped, so no verdict.")
    return sentences


def _along(results: Results, front: Front) -> str:
    """The front, and what each step along it costs and brings."""
    best = front.best
    what = f"{METRICS[front.task].label} and {name_cost(front.metric)}"
    where = f"At {describe(front.place, results)}, of {what}"
    dominated = sum(point.dominated_by is not None for point in front.points)
    others = f"; {dominated} of {len(front.points)} arms are shown to be worse on both" if dominated else ""
    if len(best) == 1:
        return f"{where} {_name(best[0])} has the best ({_at(front, best[0])}){others}."
    steps = [f"{_name(best[0])} ({_at(front, best[0])})"]
    for last, point in pairwise(best):
        gain = point.worth.value - last.worth.value
        times = show_number(point.cost.value / last.cost.value, 2)
        steps.append(f"{_name(point)} {gain:+.1f} points for {times} times as much")
    return f"{where} the front is {', then '.join(steps)}{others}."


def _name(point: Point) -> str:
    return point.arm if point.decided else f"{point.arm} (still rising)"


def _at(front: Front, point: Point) -> str:
    return f"{point.worth.value:.1f} % at {show_cost(front.metric, point.cost.value)}"


def name_cost(metric: str) -> str:
    """What is paid, in words."""
    if metric in OF_TIME:
        return "time"
    return {"macs": "multiply–accumulates", "params": "parameters"}.get(metric, "memory")


def show_cost(metric: str, value: float) -> str:
    """With its unit."""
    if metric in OF_TIME:
        return f"{show_number(value, 3)} ms"
    if metric in ("macs", "params"):
        return f"{show_count(value)} {'MACs' if metric == 'macs' else 'parameters'}"
    return show_memory(value)


def ability_fairness(results: Results) -> list[str]:
    """What of the contract does not hold by which only the attention differs. Nothing where all of it does."""
    checks: list[tuple[str, Callable[[Record], Any]]] = [
        ("initial weights outside the attention", lambda record: record.detail["shared_weights"]),
        ("grids or recipe", lambda record: _alike(record.detail["job"])),
    ]
    return [one for task, place in probed(results) for one in unequal(results, place, results.arms, checks, task)]


def _alike(job: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if key not in ("attn", "seed", "threads")}


def ability_contract(results: Results) -> list[str]:
    """What was the same for all arms, where any was trained on a task: for the report."""
    if not (places := probed(results)):
        return []
    task, place = places[0]
    job = next(record.detail["job"] for arm in results.arms for record in results.seeds(place, arm, task).values())
    recipe = ", ".join(f"{key} {value}" for key, value in job["recipe"].items())
    return [
        f"One recipe for every arm: {recipe}. Each rate is tried from the same start; the one with the lowest loss in "
        "validation goes on until validation has not risen for so many steps (patience), or to the most that are made "
        "(steps), and then the rate falls to 0 over a share of the steps made (settle).",
        "For a seed, all arms start from the same weights outside the attention and see the same grids in the same "
        "order, every number of pairs in each batch. Every grid draws keys and values anew; training, validation and "
        "test have none in common.",
    ]
