"""The tables behind the figures: where the time goes, how it grows, how near it is to the machine's limits, which
counters agree."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from xbench.analysis.counted import left_out, unknown_operations
from xbench.analysis.crossovers import Crossover, crossovers
from xbench.analysis.results import Cell, Results
from xbench.analysis.roofline import attained, ceiling, limits, machine_of, shares
from xbench.analysis.scaling import exponent
from xbench.analysis.threads import thread_scaling, threads_apart
from xbench.metrics.definitions import COMPONENTS
from xbench.report.tables.grids import FEW, Grid, RowOf, make_grids
from xbench.report.text.phrases import show_exponent
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import Conditions, conditions_line, in_words, name_extent, settings, show_crossing
from xbench.wording.numbers import show_count, show_counted, show_interval, show_mib, show_number, show_share

COUNTERS = ("torch", "fvcore", "ptflops")
CALLS = {50: 1, 90: 50, 99: 500}  # by percentile, calls from which on it is told


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


def start_grids(results: Results) -> list[Grid]:
    """Where models run in several modes, what comes before a pass: export, first pass, and what a process holds."""
    if all(case["mode"] == "eager" for case in results.cases.values()):
        return []

    def row(place: Conditions, arm: str) -> list[str] | None:
        name = next((name for name in ("latency", "throughput") if results.measured(place, arm, name)), None)
        if name is None:
            return None
        details = [record.detail for record in results.measured(place, arm, name)]
        first = median(detail["warm_up"]["first_seconds"] for detail in details)
        held = [detail["device"]["process_mib"] for detail in details if "process_mib" in detail["device"]]
        export = details[-1]["device"].get("export")
        exported = (
            [f"{export['off']:.0e}", show_mib(export["bytes"] / 2**20), f"{export['seconds']:.1f}"] if export else []
        )
        return [*(exported or [""] * 3), show_number(1e3 * first, 3), show_mib(median(held)) if held else "–"]

    heads = ["export off by", "file MiB", "export s", "first pass ms", "process MiB"]
    return _by_setting(results, results.conditions, heads, row)


def spread_grids(results: Results) -> list[Grid]:
    """Percentiles of single calls, over all launches: of models so slow that a block is one call, as far as there are
    calls enough. Nothing where no 90th percentile is known.
    """

    def row(place: Conditions, arm: str) -> list[str] | None:
        records = results.measured(place, arm, "latency")
        calls = [x for record in records if _is_a_call(record.detail) for x in record.samples]
        if len(calls) < CALLS[90]:
            return None
        shown = [show_number(float(np.percentile(calls, p)), 3) if len(calls) >= CALLS[p] else "–" for p in CALLS]
        return [f"{len(calls):,}", *shown, show_number(max(calls), 3)]

    heads = ["calls", *(f"p{p} ms" for p in CALLS), "longest ms"]
    return _by_setting(results, results.conditions, heads, row)


def _is_a_call(detail: dict[str, Any]) -> bool:
    return bool(detail.get("warm_up", {}).get("block_iterations") == 1)


def limit_grids(results: Results) -> list[Grid]:
    """Multiply–accumulates per second against the roof that the machine's own limits put over each arm."""

    def row(place: Conditions, arm: str) -> list[str] | None:
        found = attained(results, place, arm)
        if found is None:
            return None
        reached, roof = found.macs_per_second.times(1e-9), found.roof * 1e-9
        return [show_number(found.intensity, 3), show_interval(reached), show_number(roof, 3), show_share(found.share)]

    heads = ["MACs per byte", "GMACs/s", "roof", "share of the roof"]
    return _by_setting(results, results.conditions, heads, row)


def machine_lines(results: Results) -> list[str]:
    """The machine's own limits, a line for each kind of condition that they depend on."""
    found = {}
    for place in results.conditions:
        machine = limits(results, place)
        key = machine_of(place)
        if machine and key not in found:
            where = conditions_line(place, but=("extent", "size", "patch_size", "direction", "batch"))
            macs = _with_unit(machine.macs_per_second.times(1e-9), "GMACs/s")
            copied = _with_unit(machine.copy_bytes_per_second.times(1e-9), "GB/s")
            found[key] = f"{where}: {macs} in a matrix product, {copied} copied"
    return list(found.values())


def _with_unit(figure: Estimate, unit: str) -> str:
    """ "99.5 GMACs/s (99.1–100.0)"."""
    value, space, interval = show_interval(figure).partition(" ")
    return f"{value} {unit}{space}{interval}"


def exponent_grids(results: Results) -> list[Grid]:
    """By sweep and arm, the power of N that is stated, that of the measured time and that of the memory."""
    sweeps = results.sweeps()
    beginning = {sweep.conditions[0]: sweep for sweep in sweeps}

    def row(place: Conditions, arm: str) -> list[str] | None:
        sweep = beginning[place]
        last = sweep.conditions[-1]
        metrics = results.speed_metric_at(last), results.memory_metric_at(last)
        found = [exponent(results, sweep, arm, metric) if metric else None for metric in metrics]
        if not any(found):
            return None
        stated = [f"{power.theory:g}" if power and power.theory is not None else "–" for power in found]
        own = [show_exponent(power) if power else "–" for power in found]
        return [stated[0], own[0], stated[1], own[1]]

    heads = ["stated", "time", "stated, memory", "memory of activations"]
    return _by_setting(results, [sweep.conditions[0] for sweep in sweeps], heads, row, unsaid=["extent"])


def thread_grids(results: Results) -> list[Grid]:
    """By number of threads, how many times as fast an arm is as with the fewest, and the power of the threads."""
    grids = []
    for places in threads_apart(results.conditions):
        more = places[1:]
        heads = [f"{place.threads} threads × · power" for place in more]

        def row(_: Conditions, arm: str, places: tuple[Conditions, ...] = places) -> list[str] | None:
            found = {one.threads: one for one in thread_scaling(results, places, arm)}
            cells = [found.get(place.threads) for place in places[1:]]
            said = [f"{show_interval(one.speed)} · {show_interval(one.power)}" if one else "–" for one in cells]
            return said if found else None

        title = f"As fast as with {in_words(places[0])['threads']} · {{}}"
        grids += make_grids(
            places[:1], results.arms, heads, row, together=False, marked=results.marked, title=title, unsaid=["threads"]
        )
    return grids


def crossover_grids(results: Results) -> list[Grid]:
    """By sweep and arm, from which size on it is faster or slower than the reference arm."""
    sweeps = [sweep for sweep in results.sweeps() if len(sweep.conditions) > 1]
    beginning = {sweep.conditions[0]: sweep for sweep in sweeps}

    def row(place: Conditions, arm: str) -> list[str] | None:
        sweep = beginning[place]
        crossed = crossovers(results, sweep, arm, results.against) if arm != results.against else []
        rows = [_crossing(one, arm, alone=sweep.axis == "tokens") for one in crossed]
        return ["; ".join(column) for column in zip(*rows, strict=True)] or None

    heads = ["becomes", "near", "95% interval", "between"]
    title = f"Where an arm overtakes {results.against}, or is overtaken · {{}}"
    places = [sweep.conditions[0] for sweep in sweeps]
    return _by_setting(results, places, heads, row, title=title, unsaid=["extent"])


def _crossing(one: Crossover, arm: str, alone: bool) -> list[str]:
    near, interval = show_crossing(Estimate(one.at, one.low, one.high, launches=1), alone)
    bracket = " and ".join(f"{end:,.0f}" if alone else f"{end:.0f}" for end in one.bracket)
    return ["faster" if one.above == arm else "slower", near, interval, name_extent(bracket, alone)]


def _by_setting(
    results: Results, places: Sequence[Conditions], heads: list[str], row: RowOf, **rest: Any
) -> list[Grid]:
    rest |= {"together": len(results.conditions) > FEW, "marked": results.marked}
    found = (make_grids(group, results.arms, heads, row, **rest) for group in settings(places))
    return [grid for grids in found for grid in grids]


def cost_grids(results: Results, conditions: Sequence[Conditions]) -> list[Grid]:
    """MACs of every arm by each counter, as a share of the main figure; rows for arms of which there is more to say."""

    def row(place: Conditions, arm: str) -> list[str] | None:
        cell = results.cell(place, arm, "macs")
        if cell is None or not cell.figure:
            return None
        detail = cell.detail
        said = detail["disagreements"] or unknown_operations(detail) or left_out(detail)
        return _cost_row(cell) if len(detail["counters"]) > 1 or said else None

    def notes(place: Conditions, arm: str) -> list[str]:
        cell = results.cell(place, arm, "macs")
        if cell is None or not cell.figure:
            return []
        return [f"{results.marked(arm)}: {sentence}." for sentence in cell.detail["disagreements"]]

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
        show_counted(cell.figure),
        show_count(attention) if attention else "–",
        f"{counted / formula:.3f}" if formula and counted else "–",
        *(_counted(counters[name], macs) if name in counters else "–" for name in COUNTERS),
    ]


def _counted(count: int | None, macs: float) -> str:
    return "failed" if count is None else f"{count / macs:.3f}"
