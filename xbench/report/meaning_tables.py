"""The tables behind the figures: where the time goes, how it grows, how near it is to the machine's limits, which
counters agree."""

import math
from collections.abc import Sequence
from typing import Any

from xbench.bounds import COMPONENTS, attained, ceiling, limits, shares
from xbench.report.conditions import Conditions, conditions_line, settings
from xbench.report.numbers import show_count, show_interval, show_number, show_power, show_share
from xbench.report.tables import Grid, RowOf, make_grids
from xbench.results import Cell, Results
from xbench.scaling import MEMORY, Exponent, exponent

COUNTERS = ("torch", "fvcore", "ptflops")


def share_grids(results: Results) -> list[Grid]:
    """Shares of the time by component with their intervals, and the speed-up if the attention took none."""

    def row(place: Conditions, arm: str) -> list[str] | None:
        own = shares(results, place, arm)
        most = ceiling(results, place, arm)
        if not own:
            return None
        bound = show_interval(most) if most and math.isfinite(most.value) else "–"
        return [*(show_share(own[name]) if name in own else "–" for name in COMPONENTS), bound]

    heads = [*COMPONENTS, "without attention ×"]
    return _by_setting(results, results.conditions, heads, row)


def limit_grids(results: Results) -> list[Grid]:
    """Multiply–accumulates per second against the roof that the machine's own limits put over each arm."""

    def row(place: Conditions, arm: str) -> list[str] | None:
        found = attained(results, place, arm)
        if found is None:
            return None
        reached, roof = found.macs_per_second.times(1e-9), found.roof * 1e-9
        return [show_number(found.intensity, 3), show_interval(reached), show_number(roof, 3), show_share(found.share)]

    heads = ["MACs per byte", "10⁹ MACs/s", "roof", "share of the roof"]
    return _by_setting(results, results.conditions, heads, row)


def machine_lines(results: Results) -> list[str]:
    """The machine's own limits, a line for each kind of condition that they depend on."""
    found = {}
    for place in results.conditions:
        machine = limits(results, place)
        key = (place["dtype"], place["device"], place["threads"])
        if machine and key not in found:
            macs, copied = machine.macs_per_second.times(1e-9), machine.copy_bytes_per_second.times(1e-9)
            where = conditions_line(place, but=("extent", "size", "patch_size", "direction", "batch"))
            found[key] = (
                f"{where}: {show_interval(macs)} · 10⁹ MACs/s in a matrix product, {show_interval(copied)} GB/s copied"
            )
    return list(found.values())


def exponent_grids(results: Results) -> list[Grid]:
    """By sweep and arm, the power of N that is stated, that of the measured time and that of the memory."""
    sweeps = results.sweeps()
    memory = next((name for name in MEMORY if name in results.metrics), None)

    def row(place: Conditions, arm: str) -> list[str] | None:
        sweep = next(sweep for sweep in sweeps if sweep.conditions[0] == place)
        time = results.speed_metric_at(sweep.conditions[-1])
        found = [exponent(results, sweep, arm, metric) if metric else None for metric in (time, memory)]
        if not any(found):
            return None
        stated = [f"{power.theory:g}" if power and power.theory is not None else "–" for power in found]
        return [stated[0], _power(found[0]), stated[1], _power(found[1])]

    heads = ["stated", "time", "stated, memory", "memory of activations"]
    return _by_setting(results, [sweep.conditions[0] for sweep in sweeps], heads, row, unsaid=["extent"])


def _by_setting(
    results: Results, places: Sequence[Conditions], heads: list[str], row: RowOf, **rest: Any
) -> list[Grid]:
    found = (make_grids(results, group, results.arms, heads, row, **rest) for group in settings(places))
    return [grid for grids in found for grid in grids]


def _power(power: Exponent | None) -> str:
    if power is None:
        return "–"
    bend = "" if power.straight else f", bends: {power.local[0][1]:.2f} … {power.local[-1][1]:.2f}"
    return show_power(power.value, power.low, power.high) + bend


def cost_grids(results: Results, conditions: Sequence[Conditions]) -> list[Grid]:
    """MACs of every arm by each counter, as a share of the main figure; rows for arms that were cross-checked."""

    def row(place: Conditions, arm: str) -> list[str] | None:
        cell = results.cell(place, arm, "macs")
        if cell is None or not cell.figure or not (len(cell.detail["counters"]) > 1 or cell.detail["disagreements"]):
            return None
        return _cost_row(cell)

    def notes(place: Conditions, arm: str) -> list[str]:
        cell = results.cell(place, arm, "macs")
        return [f"{results.marked(arm)}: {sentence}." for sentence in cell.detail["disagreements"]] if cell else []

    heads = ["MACs", "in attention", "torch/formula", *COUNTERS]
    title = "MACs by each counter, as a share of the main figure · {}"
    # What MACs per image do not depend on.
    unsaid = ["direction", "batch", "dtype", "device", "threads"]
    return _by_setting(results, conditions, heads, row, title=title, unsaid=unsaid, notes_of=notes)


def _cost_row(cell: Cell) -> list[str]:
    assert cell.figure is not None
    detail, macs = cell.detail, cell.figure.value
    formula, counted = detail["attention_formula"], detail["attention_torch"]
    attention = formula or counted
    counters = detail["counters"]
    return [
        show_count(macs),
        show_count(attention) if attention else "–",
        f"{counted / formula:.3f}" if formula and counted else "–",
        *(_counted(counters[name], macs) if name in counters else "–" for name in COUNTERS),
    ]


def _counted(count: int | None, macs: float) -> str:
    return "failed" if count is None else f"{count / macs:.3f}"
