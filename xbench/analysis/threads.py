"""How speed grows with threads: the power of their number, 1 where twice the threads are twice as fast."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from xbench.analysis.results import Results
from xbench.analysis.scaling import launch_times
from xbench.statistics.estimates import Estimate
from xbench.statistics.slopes import slope_between
from xbench.study.conditions import Conditions


@dataclass(frozen=True)
class ThreadScaling:
    """How many times as fast an arm is with ``threads`` as with the fewest, and the power of the threads that makes."""

    threads: int
    speed: Estimate
    power: Estimate


def threads_apart(places: Iterable[Conditions]) -> list[tuple[Conditions, ...]]:
    """Conditions that differ in threads alone, fewest first; of those that differ."""
    groups: dict[Conditions, list[Conditions]] = {}
    for place in places:
        groups.setdefault(replace(place, threads=0), []).append(place)
    found = (tuple(sorted(own, key=lambda place: place.threads)) for own in groups.values())
    return [own for own in found if len(own) > 1]


def thread_scaling(results: Results, places: tuple[Conditions, ...], arm: str) -> list[ThreadScaling]:
    """Against the fewest threads, for every larger number at which the arm's speed is known.

    The runs with few and with many threads take no turns: the interval is Welch's over their launches.
    """
    metric = results.speed_metric_at(places[0])
    if metric is None:
        return []
    times = {place.threads: launch_times(results, place, arm, metric) for place in places}
    logs = {threads: [-log for log in own] for threads, own in times.items() if own}
    first = places[0].threads
    found = []
    for threads in (threads for threads in logs if first in logs and threads > first):
        run = math.log(threads / first)
        slope = slope_between((0.0, run), (logs[first], logs[threads]))
        launches = min(len(logs[first]), len(logs[threads]))
        low, value, high = (math.exp(run * end) for end in (slope.low, slope.value, slope.high))
        speed = Estimate(value, low, high, launches=launches)
        found.append(ThreadScaling(threads, speed, Estimate(slope.value, slope.low, slope.high, launches=launches)))
    return found
