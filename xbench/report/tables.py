"""The tables: one definition of rows and columns, drawn on the terminal by rich and in Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from xbench.report.numbers import show_count, show_estimate, show_interval, show_number
from xbench.results import Cell, Results
from xbench.statistics import Estimate
from xbench.study import show_img_size


@dataclass(frozen=True)
class Grid:
    """A table as text.

    ``spans`` holds, by row, a text that stands in place of all cells but the first; ``notes`` are lines below it.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    spans: dict[int, str]
    notes: tuple[str, ...] = ()


def result_grids(results: Results) -> list[Grid]:
    """One table per set of conditions: an arm per row, the metrics as columns, ratios against the reference arm."""
    return [_result_grid(results, conditions) for conditions in results.conditions]


def _result_grid(results: Results, conditions: dict[str, Any]) -> Grid:
    columns = [column for name in results.metrics for column in COLUMNS[name] if _wanted(column, results)]
    rows: list[list[str]] = []
    spans: dict[int, str] = {}
    for arm in [*results.arms, *([results.control] if results.control else [])]:
        cells = {name: results.cell(conditions, arm, name) for name in results.metrics}
        if not any(cells.values()):
            continue
        failed = next((cell for cell in cells.values() if cell and cell.status != "ok"), None)
        if failed and not any(cell and cell.figure for cell in cells.values()):
            spans[len(rows)] = f"{failed.status}: {failed.reason}"
        name = results.marked(arm)
        rows.append([name, *(_text(results, conditions, arm, column, cells[column.metric]) for column in columns)])
    return Grid(conditions_line(conditions), ["arm", *(column.head for column in columns)], rows, spans)


@dataclass(frozen=True)
class Column:
    """A column of the result table: a metric's figure, or its ratio to the reference arm's."""

    metric: str
    head: str
    show: Callable[[Estimate], str]
    is_ratio: bool = False


# Heads of columns that a narrow terminal does without, the first to go first; report.md has them all.
SPARED = ["params", "ms, batch 1", "latency ×", "device ms", "memory ×", "MACs", "in attention", "torch/formula"]

COLUMNS: dict[str, list[Column]] = {
    "params": [Column("params", "params", lambda e: show_count(e.value))],
    "macs": [Column("macs", "MACs", lambda e: show_count(e.value))],
    "latency": [
        Column("latency", "ms, batch 1", show_estimate),
        Column("latency", "latency ×", show_interval, is_ratio=True),
    ],
    "throughput": [
        Column("throughput", "img/s", show_estimate),
        Column("throughput", "speed ×", show_interval, is_ratio=True),
    ],
    "device_time": [
        Column("device_time", "device ms", show_estimate),
        Column("device_time", "device ×", show_interval, is_ratio=True),
    ],
    "peak_memory": [
        Column("peak_memory", "peak MiB", lambda e: f"{e.value:,.0f}" if e.value >= 100 else show_number(e.value, 3)),
        Column("peak_memory", "memory ×", lambda e: f"{e.value:.2f}", is_ratio=True),
    ],
}


def _wanted(column: Column, results: Results) -> bool:
    """Ratios need two arms; the ratio of latencies says at batch 1 what that of throughputs says."""
    batches = {conditions["batch"] for conditions in results.conditions}
    repeats = column.metric == "latency" and "throughput" in results.metrics and batches == {1}
    return not column.is_ratio or (len(results.arms) > 1 and not repeats)


def _text(results: Results, conditions: dict[str, Any], arm: str, column: Column, cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.figure is None:
        return cell.status
    if not column.is_ratio:
        return column.show(cell.figure)
    if arm == results.against:
        return "1"
    times = results.ratio(conditions, arm, column.metric)
    if times is None:
        return "–"
    return column.show(times) if results.trusted(conditions, column.metric) else f"void {column.show(times)}"


def conditions_line(conditions: dict[str, Any]) -> str:
    """ "1024 px · XFormer-s, patch 2 · batch 1 · fp32 · cpu, 2 threads" """
    threads = conditions["threads"]
    size = show_img_size(conditions["img_size"])
    model = f"XFormer-{conditions['size']}, patch {conditions['patch_size']}"
    where = f"{conditions['device']}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{size} px · {model} · batch {conditions['batch']} · {conditions['dtype']} · {where}"


def cost_grids(results: Results, conditions: Sequence[dict[str, Any]]) -> list[Grid]:
    """Under each of the conditions, the MACs of every arm by each counter, as a share of the main figure."""
    heads = ["arm", "MACs", "in attention", "torch/formula", "torch", "fvcore", "ptflops"]
    grids = []
    for place in conditions:
        cells = [(arm, results.cell(place, arm, "macs")) for arm in results.arms]
        rows = [_cost_row(results.marked(arm), cell) for arm, cell in cells if cell and cell.figure]
        if rows:
            title = f"MACs at {show_img_size(place['img_size'])} px by each counter, as a share of the main figure"
            found = [(results.marked(arm), cell.detail["disagreements"]) for arm, cell in cells if cell and cell.figure]
            notes = tuple(f"{arm}: {sentence}." for arm, sentences in found for sentence in sentences)
            grids.append(Grid(title, heads, rows, {}, notes))
    return grids


def _cost_row(arm: str, cell: Cell) -> list[str]:
    assert cell.figure is not None
    detail, macs = cell.detail, cell.figure.value
    formula, counted = detail["attention_formula"], detail["attention_torch"]
    attention = formula or counted
    return [
        arm,
        show_count(macs),
        show_count(attention) if attention else "–",
        f"{counted / formula:.3f}" if formula and counted else "–",
        *(f"{count / macs:.3f}" if count is not None else "failed" for count in detail["counters"].values()),
    ]


def rich_table(grid: Grid, width: int) -> Table:
    """The grid for a terminal of so many columns, without those it has no room for. Texts are literal, never markup."""
    rows = [row for i, row in enumerate(grid.rows) if i not in grid.spans]
    shown = list(range(len(grid.heads)))
    for head in SPARED:
        needed = 2 + sum(2 + max(cell_len(line[i]) for line in [grid.heads, *rows]) for i in shown)
        if needed > width and head in grid.heads:
            shown.remove(grid.heads.index(head))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i in shown:
        table.add_column(grid.heads[i], justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in shown))
    return table


def markdown_table(grid: Grid) -> str:
    """The grid as a GitHub table. Pipes and angle brackets in names are escaped."""
    lines = [grid.heads, ["---"] + ["---:"] * (len(grid.heads) - 1)]
    for i, row in enumerate(grid.rows):
        lines.append(row if i not in grid.spans else [row[0], grid.spans[i], *[""] * (len(row) - 2)])
    return "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
