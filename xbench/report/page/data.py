"""One run as plain data, for a page that draws, sorts and filters it.

A row is an arm under one set of conditions. In it each metric has a cell: the value with its interval for charts, and
the text that stands in tables and hints, so that digits are the same everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from xbench.analysis.crossovers import crossovers
from xbench.analysis.results import Cell, Results
from xbench.analysis.roofline import ATTENTION, ceiling, shares
from xbench.metrics.definitions import COMPONENTS, METRICS, PROBES, PUBLISHED, TASK_SCORES
from xbench.report.page.commands import command_of
from xbench.report.page.dimensions import Dimension, dimensions_of
from xbench.report.plots.metrics import unit_of
from xbench.report.plots.panels import COLOURS, MARKERS, STROKES, slots
from xbench.report.plots.parts import COMPONENT_COLOURS, STEP
from xbench.report.tables.grids import COLUMNS, cell_text, column_head, figure_columns, show_ratio
from xbench.report.text.pairs import show_failure
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.conditions import in_words, show_crossing
from xbench.wording.numbers import show_estimate, show_interval, show_number, show_share

SHARE = "attention_share"

Data = dict[str, Any]


def page_data(results: Results) -> Data:
    """Everything that the page draws of a run, fit for JSON: no NaN, no infinity.

    ``arms`` end with the control, where there is one. A row's ``at`` has, for each of the ``dimensions``, the index of
    its value. ``views`` are what the charts show at first.
    """
    arms = [*results.arms, *([results.control] if results.control else [])]
    dimensions = dimensions_of(results.conditions)
    rows = []
    for place in results.conditions:
        at = [dimension.index(place) for dimension in dimensions]
        own = [(i, _row(results, place, arm)) for i, arm in enumerate(arms)]
        rows += [{"arm": i, "at": at, **row} for i, row in own if row]
    columns = [
        {"metric": column.metric, "ratio": column.is_ratio, "head": column_head(column, results.conditions)}
        for column in figure_columns(results, results.conditions, arms)
    ]
    return {
        "against": results.against,
        "arms": [_arm(results, slot, arm) for arm, slot in slots(arms).items()],
        "dimensions": [_dimension(one) for one in dimensions],
        "metrics": _metrics(results),
        "columns": columns,
        "views": _views(results),
        "rows": rows,
        "crossings": _crossings(results, dimensions),
        "budget": _budget(results, arms),
        "colours": COLOURS_OF_PARTS,
    }


# What a budget may name, what is left of it is sorted by the first that is there: the worth, then the time.
WORTHS = (*PROBES, *TASK_SCORES, PUBLISHED)


def _budget(results: Results, arms: Sequence[str]) -> Data | None:
    """By what arms can be left out: what they reach, time and memory, at the last place whose times hold. What they
    reach may have been found at another place alone, which is then named. None where nothing tells two arms apart.
    """
    place = next((one for one in reversed(results.conditions) if results.trusted(one)), None)
    if place is None or len(results.arms) < 3:
        return None
    limits = []
    speed, memory = results.speed_metric_at(place), results.memory_metric_at(place)
    wanted: list[tuple[str | None, Conditions, str, str]] = [
        (speed, place, "time", "ms"),
        (memory, place, "peak memory", "MiB"),
    ]
    worth = next((name for name in WORTHS if name in results.metrics and results.trained_places(name)), None)
    if worth is not None:
        trained = results.trained_places(worth)
        at = place if place in trained else trained[-1]
        where = "" if at == place else f", {in_words(at)['extent']}"
        wanted.insert(0, (worth, at, f"{METRICS[worth].label}{where}", "%"))
    for metric, at, name, unit in wanted:
        cells = {i: results.cell(at, arm, metric) for i, arm in enumerate(arms) if metric and arm in results.arms}
        values = {i: _in_budget(metric or "", cell.figure) for i, cell in cells.items() if cell and cell.figure}
        if len(set(values.values())) > 1:
            limits.append({"name": name, "unit": unit, "more": unit == "%", "values": values})
    return {"where": in_words(place)["extent"], "limits": limits} if limits else None


def _in_budget(metric: str, figure: Estimate) -> float:
    """With three digits, as a slider can name it; of rates the milliseconds of one image."""
    value = figure.value
    if METRICS[metric].how == "timed" and METRICS[metric].better == "higher":
        value = 1e3 / value
    return float(f"{value:.3g}")


def _arm(results: Results, slot: int, arm: str) -> Data:
    """Its name, and its look: the same colour, stroke and marker as in the plots."""
    cycle = slot // len(COLOURS)
    look = {"colour": slot % len(COLOURS), "stroke": cycle % len(STROKES), "marker": (slot + 3 * cycle) % len(MARKERS)}
    return {"name": arm, "label": results.marked(arm), "control": results.cases[arm]["control"], **look}


def _dimension(one: Dimension) -> Data:
    return {"key": one.key, "head": one.head, "values": [asdict(value) for value in one.values]}


def _metrics(results: Results) -> list[Data]:
    """What can be an axis."""
    noun = {"image": "img", "sequence": "seq"}[unit_of(results)]
    found = [
        {
            "name": name,
            "label": METRICS[name].label,
            "unit": METRICS[name].unit.replace("img", noun),
            "better": METRICS[name].better,
        }
        for name in results.metrics
    ]
    if "breakdown" in {record.metric for record in results.records}:
        found.append({"name": SHARE, "label": "the attention's share of the time", "unit": "%", "better": "lower"})
    return found


def _views(results: Results) -> list[Data]:
    """Speed against the reference arm and memory, at the last conditions; or whatever else there is."""
    last = results.conditions[-1]
    first = [results.speed_metric_at(last), results.memory_metric_at(last), "macs"]
    names = [name for name in dict.fromkeys([*first, *results.metrics]) if name in results.metrics]
    ratio = len(results.arms) > 1
    return [{"metric": name, "ratio": ratio and not METRICS[name].exact} for name in names[:2]]


def _row(results: Results, place: Conditions, arm: str) -> Data | None:
    """What is known of an arm under these conditions; None where nothing was asked."""
    found = {name: cell for name in results.metrics if (cell := results.cell(place, arm, name))}
    if not found:
        return None
    cells = {name: _cell(results, place, arm, cell) for name, cell in found.items()}
    if share := shares(results, place, arm).get(ATTENTION):
        percent = show_share(share)
        cells[SHARE] = {**_figure(share.times(100)), "text": percent.replace("%", "")}
    row: Data = {"cells": cells, "command": command_of(results, place, arm)}
    if failure := results.failure(place, arm):
        row["failure"] = show_failure(failure)
    parts = {name: bar for name, find in PARTS.items() if (bar := find(results, place, arm))}
    return {**row, **({"parts": parts} if parts else {})}


def _cell(results: Results, place: Conditions, arm: str, cell: Cell) -> Data:
    columns = {column.is_ratio: column for column in COLUMNS[cell.metric]}
    plain = columns[False]
    if cell.figure is None:
        return {"text": cell.status, "why": show_failure(cell)}
    found = {
        **_figure(cell.figure),
        "launches": cell.figure.launches,
        "text": cell_text(results, place, arm, plain, cell),
    }
    if METRICS[cell.metric].exact:
        del found["launches"]
    if not results.trusted(place, cell.metric):
        found["void"] = True
    if True in columns and METRICS[cell.metric].how == "trained" and (points := results.difference(place, arm)):
        found["points"] = {"value": points.value, "text": cell_text(results, place, arm, columns[True], cell)}
    times = results.ratio(place, arm, cell.metric)
    if times:
        show = columns[True].show if True in columns else show_interval
        found["times"] = {**_figure(times), "text": show_ratio(results, place, arm, cell.metric, times, show)}
    return found


def _figure(figure: Estimate) -> Data:
    """The value and, where they are known and not the value itself, the ends of its interval; or which bound it is."""
    if figure.bound:
        return {"value": figure.value, "bound": figure.bound}
    known = math.isfinite(figure.low) and math.isfinite(figure.high) and figure.low < figure.high
    return {"value": figure.value, **({"low": figure.low, "high": figure.high} if known else {})}


def _breakdown(results: Results, place: Conditions, arm: str) -> Data | None:
    """The time of an instrumented pass by component, in ms; behind it the attention's share and what it bounds."""
    cell, own = results.cell(place, arm, "breakdown"), shares(results, place, arm)
    if cell is None or cell.figure is None or not own:
        return None
    most = ceiling(results, place, arm)
    text = show_share(own[ATTENTION]) if ATTENTION in own else ""
    if most and math.isfinite(most.value):
        text += f", × {show_interval(most)}"
    parts = [
        {"name": name, "value": share.value * cell.figure.value, "share": share.value, "text": show_share(share)}
        for name, share in own.items()
    ]
    return {"parts": parts, "text": text}


def _step(results: Results, place: Conditions, arm: str) -> Data | None:
    """The time of a training step by its parts, in ms; behind it the whole."""
    cells = {name: cell for name in STEP if (cell := results.cell(place, arm, name)) and cell.figure}
    figures = {name: cell.figure for name, cell in cells.items() if cell.figure}
    if not figures:
        return None
    total = sum(figure.value for figure in figures.values())
    parts = [
        {
            "name": name.partition("_")[0],
            "value": figure.value,
            "share": figure.value / total,
            "text": f"{show_estimate(figure)} ms",
        }
        for name, figure in figures.items()
    ]
    return {"parts": parts, "text": f"{show_number(total, 3)} ms"}


PARTS = {"breakdown": _breakdown, "step": _step}
COLOURS_OF_PARTS = {
    "breakdown": dict(zip(COMPONENTS, COMPONENT_COLOURS, strict=True)),
    "step": {name.partition("_")[0]: colour for name, colour in STEP.items()},
}


def _crossings(results: Results, dimensions: Sequence[Dimension]) -> list[Data]:
    """Where an arm overtakes the reference arm or is overtaken in speed; ``at`` is that of the sweep's first place."""
    found = []
    for sweep in results.sweeps():
        at = [dimension.index(sweep.conditions[0]) for dimension in dimensions]
        for i, arm in enumerate(results.arms):
            for one in crossovers(results, sweep, arm, results.against) if arm != results.against else []:
                alone = sweep.axis == "tokens"
                near, interval = show_crossing(Estimate(one.at, one.low, one.high, launches=1), alone)
                text = f"{arm} {'ahead' if one.above == arm else 'behind'} from {near} ({interval})"
                found.append({"arm": i, "at": at, "low": one.low, "high": one.high, "near": one.at, "text": text})
    return found
