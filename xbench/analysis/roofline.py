"""What bounds the speed: the share of the time that the attention has, and the machine's own limits.

The second is the roofline of Williams, Waterman and Patterson (Communications of the ACM 52, 2009): a program cannot go
faster than the machine multiplies, nor faster than it moves the bytes that the work needs.
"""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from xbench.analysis.results import Results
from xbench.metrics.definitions import COMPONENTS
from xbench.records.record import Record
from xbench.statistics.estimates import Estimate, by_launch, estimate, over_launches, share_over_launches
from xbench.study.conditions import Conditions

ATTENTION = "attention"

Place = tuple[str, int, int]  # (run, launch, heat)


def shares(results: Results, conditions: Conditions, arm: str) -> dict[str, Estimate]:
    """By component, its share of the time of an instrumented forward.

    The share of a launch is the median over the iterations of a heat, and the mean of those where the arm ran in
    several, so the shares add up to 1 only nearly. The interval is over launches, between 0 and 1. Empty where nothing
    was measured, and where the control failed.
    """
    return results.once(("shares", conditions, arm), lambda: _shares(results, conditions, arm))


def _shares(results: Results, conditions: Conditions, arm: str) -> dict[str, Estimate]:
    if not results.trusted(conditions):
        return {}
    found: dict[str, dict[tuple[Any, ...], float]] = {}
    records = results.measured(conditions, arm, "breakdown")
    for record in records:
        for component, times in record.detail["parts"].items():
            parts = [part / total for part, total in zip(times, record.samples, strict=True)]
            found.setdefault(component, {})[_place(record)] = median(parts)
    whole = {_place(record): 0.0 for record in records}
    names = [name for name in COMPONENTS if name in found] + [name for name in found if name not in COMPONENTS]
    return {name: share_over_launches(by_launch({**whole, **found[name]})) for name in names}


def _place(record: Record) -> Place:
    return record.run, record.launch, record.heat


def ceiling(results: Results, conditions: Conditions, arm: str) -> Estimate | None:
    """How many times as fast the model would be if its attention took no time: 1 / (1 − its share), Amdahl's law.

    None where the time by component was not measured or there is no attention in it. Infinite where nothing else is.
    """
    share = shares(results, conditions, arm).get(ATTENTION)
    if share is None:
        return None
    value, low, high = (1 / (1 - x) if x < 1 else math.inf for x in (share.value, share.low, share.high))
    return Estimate(value, math.nan if math.isnan(share.low) else low, high, share.launches)


@dataclass(frozen=True)
class Machine:
    """What the machine itself does, measured in the same run.

    ``macs_per_second`` in a large matrix product; ``copy_bytes_per_second`` read and written, in a large copy.
    """

    macs_per_second: Estimate
    copy_bytes_per_second: Estimate


def limits(results: Results, conditions: Conditions) -> Machine | None:
    """The machine's own limits with the dtype and threads of these conditions, from all places that have the same.

    None where they were not measured.
    """
    machine = machine_of(conditions)
    return results.once(("limits", machine), lambda: _machine(results, machine))


def _machine(results: Results, machine: tuple[str, str, int]) -> Machine | None:
    # Launches at different places are launches of their own.
    numbers = {place: number for number, place in enumerate(results.conditions)}
    found = {
        (f"{record.run} {numbers[place]}", record.launch, record.heat): record
        for record in results.by_metric.get("limits", [])
        if machine_of(place := results.conditions_of(record)) == machine
    }
    if not found:
        return None
    products = estimate({place: record.samples for place, record in found.items()})
    copies = {place: math.log(record.detail["copy_bytes_per_second"]) for place, record in found.items()}
    return Machine(products, over_launches(by_launch(copies)))


def machine_of(conditions: Conditions) -> tuple[str, str, int]:
    """What a machine's own limits depend on."""
    return conditions.dtype, conditions.device, conditions.threads


def _limits(results: Results, conditions: Conditions) -> dict[Place, Record]:
    records = (record for arm in results.arms for record in results.measured(conditions, arm, "limits"))
    return {_place(record): record for record in records}


@dataclass(frozen=True)
class Attained:
    """Where an arm stands under the machine's roof.

    Attributes:
        intensity: multiply–accumulates per byte that its operations read and write, each to memory and back.
        macs_per_second: what it reaches, batches side by side with the other arms.
        roof: the most that the machine could reach at that intensity: the smaller of its multiply–accumulates per
            second and intensity times its bytes per second. Bytes that stay in a cache let an arm go beyond.
        share: macs_per_second / roof, paired by launch and heat.
        by_memory: whether the bytes set the roof, and not the multiply–accumulates.
    """

    intensity: float
    macs_per_second: Estimate
    roof: float
    share: Estimate
    by_memory: bool


def attained(results: Results, conditions: Conditions, arm: str) -> Attained | None:
    """Multiply–accumulates per second against the roof.

    None where throughput, limits, multiply–accumulates or traffic are missing, where the control failed, where the
    multiply–accumulates are a lower bound, for training, of which no counter counts a step, and for compiled arms:
    fusion does away with traffic that is counted here.
    """
    if conditions.direction != "inference" or results.cases[arm]["mode"] != "eager":
        return None
    machine = limits(results, conditions)
    macs = results.cell(conditions, arm, "macs")
    traffic = _traffic(results, conditions, arm)
    speed = results.samples(conditions, arm, "throughput")
    if machine is None or macs is None or macs.figure is None or macs.figure.bound:
        return None
    if not traffic or not results.trusted(conditions):
        return None
    per_image = macs.figure.value
    intensity = per_image * conditions.batch / traffic

    def roof(macs_per_second: float, bytes_per_second: float) -> float:
        return min(macs_per_second, intensity * bytes_per_second)

    reached = {place: math.log(per_image * median(samples)) for place, samples in speed.items()}
    roofs = {
        place: math.log(roof(median(record.samples), record.detail["copy_bytes_per_second"]))
        for place, record in _limits(results, conditions).items()
    }
    shares = {place: log - roofs[place] for place, log in reached.items() if place in roofs}
    if not shares:
        return None
    best, copied = machine.macs_per_second.value, machine.copy_bytes_per_second.value
    return Attained(
        intensity=intensity,
        macs_per_second=over_launches(by_launch(reached)),
        roof=roof(best, copied),
        share=over_launches(by_launch(shares)),
        by_memory=intensity * copied < best,
    )


def _traffic(results: Results, conditions: Conditions, arm: str) -> float | None:
    """Bytes that the operations of a batch read and write."""
    for metric in ("predicted_memory", "macs"):
        for record in results.measured(conditions, arm, metric):
            if traffic := record.detail.get("traffic"):
                return float(traffic)
    return None
