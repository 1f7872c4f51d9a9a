"""The tables: one definition of rows and columns, drawn on the terminal by rich and in Markdown.

A comparison under few conditions gets a table for each. A sweep gets one long table per level and direction, whose
leading columns are the conditions that vary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from textwrap import wrap

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from xbench.analysis.results import Cell, Results
from xbench.metrics.definitions import METRICS, PROBES, TASK_SCORES
from xbench.report.inert import markdown, one_line
from xbench.statistics.estimates import Estimate
from xbench.tasks import SCORES
from xbench.wording.conditions import HEADS, Conditions, conditions_line, settings, show_cell, varying
from xbench.wording.numbers import (
    show_counted,
    show_estimate,
    show_interval,
    show_mib,
    show_number,
    show_percent,
    show_points,
)
from xbench.wording.scores import SHORT

FEW = 4  # conditions that get a table each


@dataclass(frozen=True)
class Grid:
    """A table as text.

    The first ``names`` columns name the row; where they repeat what stands above, all but the last are left blank when
    drawn. ``spans`` holds, by row, a text that stands in place of all other cells; ``notes`` are lines below it.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    spans: dict[int, str]
    notes: tuple[str, ...] = ()
    names: int = 1

    def name(self, row: int) -> str:
        """What the row is about, in one line."""
        *where, arm = self.rows[row][: self.names]
        heads = ["" if head == HEADS["extent"] else f"{head} " for head in self.heads[: self.names - 1]]
        return ", ".join([*(head + text for head, text in zip(heads, where, strict=True)), arm])

    def shortened(self, most: int) -> "Grid":
        """The first rows, at most so many, cut between sets of conditions where that is possible."""
        if len(self.rows) <= most:
            return self
        starts = [i for i in range(1, most + 1) if self.rows[i][: self.names - 1] != self.rows[i - 1][: self.names - 1]]
        end = starts[-1] if starts else most
        spans = {row: text for row, text in self.spans.items() if row < end}
        left = f"… {len(self.rows) - end} more rows in report.md"
        return replace(self, rows=self.rows[:end], spans=spans, notes=(left, *self.notes))


# What an arm's row holds after its name: cells, a text in place of all of them, or None where it has no row.
RowOf = Callable[[Conditions, str], list[str] | str | None]


def make_grids(
    places: Sequence[Conditions],
    arms: Sequence[str],
    heads: Sequence[str],
    row_of: RowOf,
    *,
    together: bool,
    marked: Callable[[str], str] = str,
    title: str = "{}",
    unsaid: Collection[str] = (),
    notes_of: Callable[[Conditions, str], Sequence[str]] = lambda place, arm: (),
) -> list[Grid]:
    """A row per place and arm: a table for each place, or one ``together``, whose first columns name the place.

    ``title`` takes the conditions that all rows share, but those that are ``unsaid`` because nothing depends on them.
    ``marked`` is how an arm's name is written. Tables without rows are left out.
    """
    keys = [key for key in varying(places) if key not in unsaid] if together else []
    grids = []
    for group in [places] if together else [[place] for place in places]:
        rows: list[list[str]] = []
        said: set[tuple[str, ...]] = set()
        spans: dict[int, str] = {}
        notes: dict[str, None] = {}
        for place, arm in product(group, arms):
            found = row_of(place, arm)
            if isinstance(found, str):
                spans[len(rows)] = found
                found = [""] * len(heads)
            if found is None:
                continue
            row = [*(show_cell(place, key) for key in keys), marked(arm), *found]
            # Places that differ only in what is unsaid say the same.
            if not unsaid or tuple(row) not in said:
                rows.append(row)
                said.add(tuple(row))
                notes.update(dict.fromkeys(notes_of(place, arm)))
        if rows:
            named = [HEADS[key] for key in keys]
            line = title.format(conditions_line(group[0], but=[*keys, *unsaid]))
            grids.append(Grid(line, [*named, "arm", *heads], rows, spans, tuple(notes), len(keys) + 1))
    return grids


def result_grids(results: Results) -> list[Grid]:
    """The figures: metrics as columns, ratios against the reference arm, the control as a row of its own."""
    arms = [*results.arms, *([results.control] if results.control else [])]
    return [grid for places in settings(results.conditions) for grid in _result_grids(results, places, arms)]


def _result_grids(results: Results, places: list[Conditions], arms: list[str]) -> list[Grid]:
    columns = figure_columns(results, places, arms)
    measured = list(dict.fromkeys(column.metric for column in columns))

    def row(place: Conditions, arm: str) -> list[str] | str | None:
        cells = {name: results.cell(place, arm, name) for name in measured}
        if not any(cells.values()):
            return None
        failed = next((cell for cell in cells.values() if cell and cell.status != "ok"), None)
        if failed and not any(cell and cell.figure for cell in cells.values()):
            return f"{failed.status}: {failed.reason}"
        return [cell_text(results, place, arm, column, cells[column.metric]) for column in columns]

    heads = [column_head(column, places) for column in columns]
    return make_grids(places, arms, heads, row, together=len(results.conditions) > FEW, marked=results.marked)


@dataclass(frozen=True)
class Column:
    """A column of the result table: a metric's figure, or its ratio to the reference arm's."""

    metric: str
    head: str
    show: Callable[[Estimate], str]
    is_ratio: bool = False


def figure_columns(results: Results, places: Sequence[Conditions], arms: Sequence[str]) -> list[Column]:
    """The columns that have something to show for any of these places and arms."""
    asked = [name for name in results.metrics if name in COLUMNS]
    measured = [name for name in asked if any(results.cell(place, arm, name) for place in places for arm in arms)]
    return [column for name in measured for column in COLUMNS[name] if _wanted(column, results)]


def column_head(column: Column, places: Sequence[Conditions]) -> str:
    """Its head over these places: an attention alone sees sequences, not images."""
    alone = all(place.alone for place in places)
    return "seq/s" if alone and column.head == "img/s" else column.head


# Heads of columns that a narrow terminal does without, the first to go first; report.md has them all.
SPARED = [
    "params",
    "predicted MiB",
    "ms, batch 1",
    "optimizer ms",
    "latency ×",
    "device ms",
    "attn %",
    "memory ×",
    "forward ms",
    "backward ms",
    "MACs",
]


def _points(score: str) -> list[Column]:
    """Differences from the reference arm, of a task's first score."""
    first = any(score == own[0] for own in SCORES.values())
    return [Column(score, "points", show_percent, is_ratio=True)] if first else []


# By metric. Breakdown and limits are no columns: they have tables of their own.
COLUMNS: dict[str, list[Column]] = {
    "params": [Column("params", "params", show_counted)],
    "macs": [Column("macs", "MACs", show_counted)],
    "published_top1": [Column("published_top1", "published top-1 %", lambda e: f"{e.value:.1f}")],
    "predicted_memory": [Column("predicted_memory", "predicted MiB", lambda e: show_mib(e.value))],
    "latency": [
        Column("latency", "ms, batch 1", show_estimate),
        Column("latency", "latency ×", show_interval, is_ratio=True),
    ],
    "throughput": [
        Column("throughput", "img/s", show_estimate),
        Column("throughput", "speed ×", show_interval, is_ratio=True),
    ],
    "forward_time": [Column("forward_time", "forward ms", show_estimate)],
    "backward_time": [Column("backward_time", "backward ms", show_estimate)],
    "optimizer_time": [Column("optimizer_time", "optimizer ms", show_estimate)],
    "device_time": [
        Column("device_time", "device ms", show_estimate),
        Column("device_time", "device ×", show_interval, is_ratio=True),
    ],
    "energy": [
        Column("energy", "J/img", show_estimate),
        Column("energy", "energy ×", show_interval, is_ratio=True),
    ],
    "peak_memory": [
        Column("peak_memory", "peak MiB", lambda e: show_mib(e.value)),
        Column("peak_memory", "memory ×", lambda e: show_number(e.value, 3), is_ratio=True),
    ],
    **{task: [Column(task, f"{METRICS[task].label} %", show_percent)] for task in PROBES},
    **{name: [Column(name, f"{SHORT[name]} %", show_percent), *_points(name)] for name in TASK_SCORES},
    "max_batch": [Column("max_batch", "largest batch", lambda e: f"{e.value:,.0f}")],
}


def _wanted(column: Column, results: Results) -> bool:
    """Ratios need two arms; the ratio of latencies says at batch 1 what that of throughputs says."""
    batches = {conditions.batch for conditions in results.conditions}
    repeats = column.metric == "latency" and "throughput" in results.metrics and batches == {1}
    return not column.is_ratio or (len(results.arms) > 1 and not repeats)


def cell_text(results: Results, conditions: Conditions, arm: str, column: Column, cell: Cell | None) -> str:
    """What stands in a cell: a figure, a ratio, why there is none, or nothing where it was not asked for."""
    if cell is None:
        return ""
    if cell.figure is None:
        return cell.status
    if not column.is_ratio:
        return column.show(cell.figure)
    if METRICS[column.metric].how == "trained":
        found = results.difference(conditions, arm, metric=column.metric)
        return "0" if arm == results.against else show_points(found) if found else "–"
    return show_ratio(
        results, conditions, arm, column.metric, results.ratio(conditions, arm, column.metric), column.show
    )


def show_ratio(
    results: Results,
    conditions: Conditions,
    arm: str,
    metric: str,
    times: Estimate | None,
    show: Callable[[Estimate], str],
) -> str:
    """A ratio to the reference arm as it stands in a cell: 1 for itself, "void" before one whose control failed."""
    if arm == results.against:
        return "1"
    if times is None:
        return "–"
    return show(times) if results.trusted(conditions, metric) else f"void {show(times)}"


def rich_table(grid: Grid, width: int) -> Table:
    """The grid for a terminal of so many columns. Names are whole; columns there is no room for are left out, those in
    ``SPARED`` first, then the last. Texts are literal, never markup.
    """
    rows = _unrepeated([row for i, row in enumerate(grid.rows) if i not in grid.spans], grid.names - 1)
    widths = [max([cell_len(row[i]) for row in rows] + _longest_word(head)) for i, head in enumerate(grid.heads)]
    shown = list(range(len(grid.heads)))
    spared = [grid.heads.index(head) for head in SPARED if head in grid.heads]
    last = [i for i in reversed(shown) if i not in spared and i > grid.names]
    for i in [*spared, *last]:
        if 1 + sum(2 + widths[i] for i in shown) > width:
            shown.remove(i)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i in shown:
        head = "\n".join(wrap(grid.heads[i], widths[i], break_long_words=False))
        table.add_column(head, justify="left" if i == grid.names - 1 else "right", no_wrap=True, overflow="crop")
    for row in rows:
        table.add_row(*(Text(one_line(row[i])) for i in shown))
    return table


def _longest_word(text: str) -> list[int]:
    return [cell_len(word) for word in text.split()]


def markdown_table(grid: Grid) -> str:
    """The grid as a GitHub table. Its texts are text: whatever in them would be markup is escaped."""
    rules = ["---" if i == grid.names - 1 else "---:" for i in range(len(grid.heads))]
    lines = [_markdown_row(grid.heads), f"| {' | '.join(rules)} |"]
    for i, row in enumerate(_unrepeated(grid.rows, grid.names - 1)):
        left = len(row) - grid.names - 1
        cells = row if i not in grid.spans else [*row[: grid.names], grid.spans[i], *[""] * left]
        lines.append(_markdown_row(cells))
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown, cells)) + " |"


def _unrepeated(rows: Sequence[list[str]], leading: int) -> list[list[str]]:
    """The rows with their leading cells blank where they are those of the row above."""
    above = [[], *rows]
    return [
        [""] * leading + row[leading:] if row[:leading] == last[:leading] else row
        for last, row in zip(above, rows, strict=False)
    ]
