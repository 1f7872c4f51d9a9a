"""The table that answers a long comparison at a glance: arms down, sizes across, sorted by the largest size.

The full tables have a row per arm and set of conditions: of many arms more than a reader can hold side by side. See
``phrases.is_brief`` for when that is.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from xbench.analysis.results import Results
from xbench.analysis.roofline import ATTENTION, shares
from xbench.report.tables.grids import Grid, show_ratio
from xbench.report.text.phrases import listing
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import (
    AXES,
    HEADS,
    Conditions,
    conditions_line,
    in_words,
    number,
    settings,
    show_cell,
    value,
    varying,
)
from xbench.wording.numbers import show_interval

ALL_SIZES = 4  # up to which each has a column; of more, the ends and the middle

# What is compared: the first of these that was measured, by the metric that speaks for it under given conditions.
LEADS: dict[str, Callable[[Results, Conditions], str | None]] = {
    "speed": Results.speed_metric_at,
    "memory": Results.memory_metric_at,
    "MACs": lambda results, _: "macs" if "macs" in results.metrics else None,
}

CellOf = Callable[[Results, Conditions, str], str]


def pivot_grids(results: Results) -> list[Grid]:
    """A table per level and direction, in each cell the ratio to the reference arm, or why there is none.

    The ratio is that of speed; where nothing was timed, of memory, else of multiply–accumulates. Beside those of speed
    stand memory and the attention's share of the time, at the largest size. Empty where there is no ratio of any.
    """
    return [grid for places in settings(results.conditions) if (grid := _pivot(results, places))]


def _pivot(results: Results, places: list[Conditions]) -> Grid | None:
    others = [arm for arm in results.arms if arm != results.against]
    word = next(
        (word for word in LEADS if any(_ratio(results, word, place, arm) for place in places for arm in others)), None
    )
    if word is None:
        return None
    axis = next((key for key in varying(places) if key in AXES), None)
    sizes = _sizes(places, axis)
    last = sizes[-1]
    columns: list[tuple[str, Any, CellOf]] = [
        (in_words(place)[axis] if axis else f"{word} ×", _at(place, axis), partial(_compared, word)) for place in sizes
    ]
    if word == "speed":
        columns += [(head, _at(last, axis), find) for head, (_, find) in BESIDE.items()]
    keys = [key for key in varying(places) if key != axis]
    groups: dict[tuple[str, ...], dict[Any, Conditions]] = {}
    for place in places:
        groups.setdefault(tuple(show_cell(place, key) for key in keys), {})[_at(place, axis)] = place
    names, cells = [], []
    for name, group in groups.items():
        ranked = _ranked(results, [group[at] for place in reversed(sizes) if (at := _at(place, axis)) in group], word)
        for arm in [*ranked, *([results.control] if results.control else [])]:
            row = [find(results, group[at], arm) if at in group else "" for _, at, find in columns]
            if any(row):
                names.append([*name, results.marked(arm)])
                cells.append(row)
    kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    rows = [[*name, *(row[i] for i in kept)] for name, row in zip(names, cells, strict=True)]
    heads = [*(HEADS[key] for key in keys), "arm", *(columns[i][0] for i in kept)]
    note = f"Sorted by {word}{f' at {in_words(last)[axis]}' if axis else ''}"
    if beside := listing([BESIDE[columns[i][0]][0] for i in kept if i >= len(sizes)]):
        note += f"; right of it, for the same size, {beside}" if axis else f"; right of it {beside}"
    title = f"{word[0].upper()}{word[1:]} as a multiple of {results.against}'s"
    line = f"{title} · {conditions_line(places[0], but=[axis, *keys])}"
    return Grid(line, heads, rows, {}, (f"{note}.",), len(keys) + 1)


def _at(place: Conditions, axis: str | None) -> Any:
    return value(place, axis) if axis else None


def _sizes(places: Sequence[Conditions], axis: str | None) -> list[Conditions]:
    """A place for each column, by what the axis has there."""
    if axis is None:
        return [places[0]]
    found = list({_at(place, axis): place for place in sorted(places, key=lambda one: number(one, axis))}.values())
    return found if len(found) <= ALL_SIZES else [found[0], found[len(found) // 2], found[-1]]


def _ranked(results: Results, places: Sequence[Conditions], word: str) -> list[str]:
    """The arms, the best first, by the first place; by the next where they have nothing there."""

    def rank(arm: str) -> list[float]:
        found = [_ratio(results, word, place, arm) for place in places]
        if word == "speed":
            return [-times.value if times else 0.0 for times in found]
        return [times.value if times else math.inf for times in found]

    return sorted(results.arms, key=rank)


def _ratio(results: Results, word: str, place: Conditions, arm: str) -> Estimate | None:
    metric = LEADS[word](results, place)
    if metric is None or word == "speed":
        return results.speed_ratio(place, arm)
    return results.ratio(place, arm, metric)


def _compared(word: str, results: Results, place: Conditions, arm: str) -> str:
    metric = LEADS[word](results, place)
    cell = results.cell(place, arm, metric) if metric else None
    if cell is None or cell.figure is None:
        return cell.status if cell else ""
    return show_ratio(results, place, arm, cell.metric, _ratio(results, word, place, arm), show_interval)


def _memory(results: Results, place: Conditions, arm: str) -> str:
    return _compared("memory", results, place, arm)


def _share(results: Results, place: Conditions, arm: str) -> str:
    share = shares(results, place, arm).get(ATTENTION)
    return f"{100 * share.value:.0f}" if share else ""


# By head of a column beside the speeds: what it holds, and its cells. The full tables have the intervals.
BESIDE: dict[str, tuple[str, CellOf]] = {
    "memory ×": ("memory", _memory),
    "attn %": ("the attention's share of the time", _share),
}
