"""Histories drawn, and the table of change points."""

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from rich.console import Console
from rich.text import Text

from xbench.analysis.figures import is_exact
from xbench.analysis.history import Change, Point, Series
from xbench.analysis.runs import machine_name
from xbench.records.commits import is_dirty
from xbench.report.plots.catalogue import save_figure
from xbench.report.plots.panels import (
    DARK,
    LETTER,
    MOST,
    PANEL,
    across,
    add_legend,
    error,
    legend_line,
    line_style,
    plain,
    set_log,
    span,
)
from xbench.report.tables.grids import Grid, rich_table
from xbench.statistics.estimates import Estimate
from xbench.wording.numbers import show_count, show_number

ADVICE = "Figures of different runs are not side by side: for looking at, not for a verdict."
LABELS = 9  # that fit below a panel
HASH = 7
NO_FIGURE = Estimate(math.nan, math.nan, math.nan, launches=0)
# A text at a run, at a height between 0 and 1 of the panel.
LABEL: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "fontsize": 7}


def save_histories(series: Sequence[Series], changes: Sequence[Change], folder: Path) -> list[Path]:
    """A figure per metric as METRIC.png and METRIC.svg in ``folder``, of series with two runs or more.

    Returns the PNG files. A panel has the arms of one set of conditions on one machine.

    Raises:
        UserError: the folder cannot be written.
    """
    saved = []
    by_metric: dict[str, list[Change]] = {}
    for change in changes:
        by_metric.setdefault(change.series.metric, []).append(change)
    for metric, own in drawn_series(series).items():
        figure = draw(own, by_metric.get(metric, []))
        saved.append(save_figure(figure, folder, _chart_name(metric)))
    return saved


def chart_names(series: Sequence[Series]) -> list[str]:
    """The files that ``save_histories`` writes."""
    return [f"{_chart_name(metric)}.{suffix}" for metric in drawn_series(series) for suffix in ("png", "svg")]


def drawn_series(series: Sequence[Series]) -> dict[str, list[Series]]:
    """By metric, those with two runs or more."""
    found: dict[str, list[Series]] = {}
    for each in series:
        if len(each.points) > 1:
            found.setdefault(each.metric, []).append(each)
    return found


def _chart_name(metric: str) -> str:
    """Records from elsewhere may name a metric that is no name of a file."""
    return re.sub(r"\W+", "-", metric)


def draw(series: Sequence[Series], changes: Sequence[Change]) -> Figure:
    """One metric over runs, with intervals; dashed lines stand where an arm's figures changed."""
    panels: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        panels.setdefault((each.place, machine_name(each.machine)), []).append(each)
    arms = list(dict.fromkeys(each.arm for each in series))
    shown = list(panels.items())[:MOST]
    columns = across(len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, (PANEL[1] + 0.4) * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in grid[len(shown) :]:
        unused.remove()
    first = series[0]
    left_out = f" The first {MOST} of {len(panels)} sets of conditions." if len(panels) > MOST else ""
    title = f"{first.metric.replace('_', ' ')} [{first.unit}] over runs. {ADVICE}{left_out}"
    width = int(figure.get_figwidth() / LETTER * 0.92)
    figure.suptitle(textwrap.fill(title, width), x=0.01, ha="left", fontsize=9, color=DARK)
    for axes, ((place, machine), own) in zip(grid, shown, strict=False):
        here = set(map(id, own))
        _draw_panel(axes, own, [change for change in changes if id(change.series) in here], arms)
        heading = plain(" · ".join(filter(None, (place, machine))))
        axes.set_title(textwrap.fill(heading, int(PANEL[0] / LETTER * 0.85)), loc="left", fontsize=8, color=DARK)
    add_legend(figure, [legend_line(arms, arm) for arm in arms], arms)
    return figure


def _draw_panel(axes: Axes, series: Sequence[Series], changes: Sequence[Change], arms: Sequence[str]) -> None:
    # Runs in the order of the series that has most of them; what only others have comes where time puts it.
    runs = _merged(series)
    place = {point.run: i for i, point in enumerate(runs)}
    for each in series:
        look = line_style(arms, each.arm)
        # A gap in the line where a run has no figure.
        whole = [point.estimate or NO_FIGURE for point in each.points]
        places = [place[point.run] for point in each.points]
        axes.errorbar(places, [e.value for e in whole], error(whole), capsize=2, elinewidth=1, **look)
        for x, point in zip(places, each.points, strict=True):
            if not point.estimate:
                axes.annotate(point.status, (x, 0.02), rotation=90, ha="center", color=look["color"], **LABEL)
            elif point.estimate.bound:
                above = {"textcoords": "offset points", "ha": "center", "color": look["color"], "fontsize": 7}
                axes.annotate(point.estimate.bound, (x, point.estimate.value), (0, 4), **above)
    for change in changes:
        colour = line_style(arms, change.series.arm)["color"]
        axes.axvline(place[change.point.run] - 0.5, color=colour, linestyle="--", linewidth=1)
        if change.before is not None and change.after is not None:
            where = (place[change.point.run] - 0.45, 0.99)
            axes.annotate(show_change(change), where, va="top", color=colour, **LABEL)
    known = [point.estimate for each in series for point in each.points if point.estimate]
    if known and all(estimate.value > 0 for estimate in known):
        set_log(axes, "y", span(known))
    step = -(-len(runs) // LABELS)
    axes.xaxis.set_major_locator(FixedLocator(range(0, len(runs), step)))
    axes.xaxis.set_major_formatter(FixedFormatter([name_point(point) for point in runs[::step]]))
    axes.tick_params(axis="x", labelsize=7)
    for label in axes.get_xticklabels():
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(runs) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("commit (* changed since), by git" if series[0].by_git else "commit, by time", fontsize=8)


def _merged(series: Sequence[Series]) -> list[Point]:
    """The runs of all series, each once, in an order that each of them agrees with where they can."""
    longest = max(series, key=lambda each: len(each.points))
    found = {point.run: point for point in longest.points}
    rest = {point.run: point for each in series for point in each.points if point.run not in found}
    ordered = list(found.values())
    for point in sorted(rest.values(), key=lambda point: point.time):
        at = next((i for i, other in enumerate(ordered) if other.time > point.time), len(ordered))
        ordered.insert(at, point)
    return ordered


def name_point(point: Point) -> str:
    """ "10cbb70*", or the day where no commit is known."""
    if not point.commit:
        return point.time[:10]
    return point.commit[:HASH] + "*" * is_dirty(point.commit)


def changes_grid(changes: Sequence[Change]) -> Grid:
    """A row per change point."""
    rows = []
    for change in changes:
        exact = change.p == 0
        evidence = "exact" if exact else f"p {change.p:.1g}" if change.p > 1e-4 else "p < 0.0001"
        rows.append(
            [
                change.series.place,
                change.series.arm,
                change.series.metric.replace("_", " "),
                name_point(change.point),
                _show(change, change.before, -1),
                _show(change, change.after, 0),
                show_change(change),
                ", ".join([evidence, *change.beside]),
            ]
        )
    heads = ["at", "arm", "metric", "from", "before", "after", "change", "evidence"]
    return Grid("", heads, rows, {}, names=2)


def show_change(change: Change) -> str:
    """ "+12%", or the new state where one of the figures is none, or one alone a lower bound."""
    if change.before is None or change.after is None:
        return change.point.status
    if _bound(change, -1) != _bound(change, 0):
        return "a lower bound" if _bound(change, 0) else "exact"
    percent = 100 * (change.after / change.before - 1) if change.before else float("inf")
    return f"{percent:+.{2 if abs(percent) < 1 else 0}f}%"


def _show(change: Change, value: float | None, offset: int) -> str:
    """A figure, with its sign where it is a bound; or why there is none at the point ``offset`` from the change."""
    if value is None:
        return change.series.points[change.at + offset].status
    unit = change.series.unit
    shown = show_count(value) if unit in ("count", "MACs") else f"{show_number(value, 4)} {unit}"
    return f"{_bound(change, offset)} {shown}".lstrip()


def _bound(change: Change, offset: int) -> str:
    """The sign of the point ``offset`` from the change."""
    estimate = change.series.points[change.at + offset].estimate
    return estimate.bound if estimate else ""


def show_history(series: Sequence[Series], changes: Sequence[Change], console: Console) -> None:
    """The change points, and what they were looked for in."""
    several = [each for each in series if len(each.points) > 1]
    if changes:
        console.print(rich_table(changes_grid(changes), console.width))
    runs = {point.run for each in series for point in each.points}
    console.print(
        Text(
            f"{len(runs)} runs, {len(series)} figures, {len(several)} of them in more than one run: "
            f"{len(changes) or 'no'} change point{'' if len(changes) == 1 else 's'}.",
            style="bold",
        )
    )
    if several:
        timed = any(not is_exact(each.metric) for each in several)
        console.print(Text(ADVICE + (" A step in a time needs two runs on either side." if timed else "")))
