"""A metric against the condition that varies, as lines; under one set of conditions, as bars. Intervals are drawn."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xbench.analysis.results import Cell, Results
from xbench.report.plots.panels import (
    DARK,
    GREY,
    PANEL,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    make_panels,
    mark_void,
    plain,
    set_log,
    set_ticks,
    span,
    style,
    swatches,
)
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import in_words, number
from xbench.wording.numbers import show_counted, show_estimate, show_mib

BAR = 0.25  # inches of an arm's row
USUAL_NAME = 10  # letters that a panel's width allows for
NAME_LETTER = 0.085  # inches of one more
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}  # a text right of a bar


def cost(results: Results) -> Figure | None:
    """Multiply–accumulates of a forward pass."""
    scale, prefix = (1e-9, "G") if _most(results, "macs") >= 1e9 else (1e-6, "M")
    label = f"multiply–accumulates per {unit_of(results)} [{prefix}MACs]"
    return metric_plot(results, "macs", label, scale, show_counted)


def throughput(results: Results) -> Figure | None:
    """Images per second; in training, of whole steps."""
    return metric_plot(results, "throughput", f"throughput [{unit_of(results)}s per second]")


def latency(results: Results) -> Figure | None:
    """Milliseconds of one image, from end to end. None where the throughput of single images says the same."""
    if "throughput" in results.metrics and {place.batch for place in results.conditions} == {1}:
        return None
    return metric_plot(results, "latency", "latency at batch 1 [ms]")


def device_time(results: Results) -> Figure | None:
    """Milliseconds of a batch by CUDA's own clocks."""
    return metric_plot(results, "device_time", "device time of a batch, cold L2 [ms]")


def memory(results: Results) -> Figure | None:
    """Peak memory: measured where it was, else as predicted on paper."""
    metric = "peak_memory" if "peak_memory" in results.metrics else "predicted_memory"
    label = "peak memory [MiB]" if metric == "peak_memory" else "predicted peak memory [MiB]"
    return metric_plot(results, metric, label, show=lambda e: show_mib(e.value))


def max_batch(results: Results) -> Figure | None:
    """The largest batch that fits into memory."""
    return metric_plot(
        results, "max_batch", f"largest batch that fits [{unit_of(results)}s]", show=lambda e: f"{e.value:,.0f}"
    )


def unit_of(results: Results) -> str:
    """What is counted: an attention alone sees sequences."""
    return "sequence" if all(place.alone for place in results.conditions) else "image"


def _most(results: Results, metric: str) -> float:
    cells = (results.cell(place, arm, metric) for place in results.conditions for arm in results.arms)
    return max((cell.figure.value for cell in cells if cell and cell.figure), default=0.0)


def metric_plot(
    results: Results, metric: str, label: str, scale: float = 1.0, show: Callable[[Estimate], str] = show_estimate
) -> Figure | None:
    """One metric of all arms; ``label`` names it with its unit, which is ``scale`` times the metric's own.

    None where there is no figure of it. ``show`` writes the figure beside a bar.
    """
    places = [place for place in results.conditions if any(results.cell(place, arm, metric) for arm in results.arms)]
    panels = make_panels(places)
    cells = [
        {arm: [results.cell(place, arm, metric) for place in panel.places] for arm in results.arms} for panel in panels
    ]
    figures = [cell.figure for own in cells for found in own.values() for cell in found if cell and cell.figure]
    if not figures:
        return None
    lines = any(panel.axis for panel in panels)
    size = PANEL if lines else bars_size(results.arms)
    figure, drawn = make_figure(panels, size, share="y" if lines else "xy")
    missing: dict[str, list[str]] = {}
    reach: dict[Axes, float] = {}
    for i, ((panel, axes), own) in enumerate(zip(drawn, cells, strict=False)):
        if panel.axis:
            for arm, found in own.items():
                draw_line(axes, results, panel, arm, [cell.figure if cell else None for cell in found], scale)
                missing.setdefault(arm, []).extend(_missing(panel, found, axes.get_title(loc="left")))
            set_ticks(axes, panel)
            set_log(axes, "y", span(figure.times(scale) for figure in figures))
            axes.set_ylabel(label if i % across(len(drawn)) == 0 else "")
        else:
            reach[axes] = _bars(axes, results, {arm: found[0] for arm, found in own.items()}, scale, show)
            axes.set_xlabel(label)
    for axes in reach:
        # Room for the figures behind the longest bar.
        axes.set_xlim(0, 1.4 * max(reach[other] for other in axes.get_shared_x_axes().get_siblings(axes)) or 1)
    mark_void(results, drawn, metric)
    if lines:
        names = {arm: f"{arm} ({'; '.join(found)})" for arm, found in missing.items() if found}
        add_legend(figure, *swatches(results, names))
    return figure


def bars_size(arms: Sequence[str], width: float = 4.4) -> tuple[float, float]:
    """Inches of a panel with a horizontal bar for each arm; long names do not take the bars' room."""
    longest = max(map(len, arms))
    return width + NAME_LETTER * max(0, longest - USUAL_NAME), 0.9 + BAR * len(arms)


def draw_line(
    axes: Axes, results: Results, panel: Panel, arm: str, figures: Sequence[Estimate | None], scale: float = 1.0
) -> None:
    """The arm's figures at the places of the panel, with intervals; a lower bound is hollow under its sign."""
    assert panel.axis is not None
    points = [(number(place, panel.axis), f) for place, f in zip(panel.places, figures, strict=True) if f]
    found = [figure for _, figure in points]
    axes.errorbar(
        [x for x, _ in points], [f.value * scale for f in found], error(found, scale), capsize=3, **style(results, arm)
    )
    for x, figure in points:
        if figure.bound:
            look = {**style(results, arm), "markerfacecolor": "white", "zorder": 3}
            axes.plot(x, figure.value * scale, **look)
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": look["color"]}
            axes.annotate(figure.bound, (x, figure.value * scale), (0, 5), **above)


def _missing(panel: Panel, cells: Sequence[Cell | None], title: str) -> list[str]:
    """ "oom at 2048 px, 4096 px": where the arm has no figure, by reason; ``title`` tells the panel from others."""
    assert panel.axis is not None
    where: dict[str, list[str]] = {}
    for place, cell in zip(panel.places, cells, strict=True):
        if cell and not cell.figure:
            where.setdefault(cell.status, []).append(in_words(place)[panel.axis])
    return [f"{status} at {', '.join(found)}{title and f', {title}'}" for status, found in where.items()]


def _bars(
    axes: Axes, results: Results, cells: dict[str, Cell | None], scale: float, show: Callable[[Estimate], str]
) -> float:
    """Draws them and returns how far they reach."""
    most = 0.0
    for i, (arm, cell) in enumerate(cells.items()):
        if cell is None or cell.figure is None:
            axes.annotate(cell.status if cell else "–", (0, i), (4, 0), color=GREY, **BESIDE)
            continue
        figure, colour = cell.figure.times(scale), style(results, arm)["color"]
        look = {"facecolor": "none", "edgecolor": colour} if figure.bound else {"color": colour}
        axes.barh(i, figure.value, height=0.62, **look)
        axes.errorbar(figure.value, i, xerr=error([figure]), color=DARK, capsize=3, linewidth=1.2)
        end = max(figure.value, figure.high if math.isfinite(figure.high) else 0.0)
        axes.annotate(show(cell.figure), (end, i), (5, 0), **BESIDE)
        most = max(most, end)
    name_rows(axes, results.arms)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return most


def name_rows(axes: Axes, arms: Sequence[str]) -> None:
    """Arms down the y axis, the first at the top."""
    axes.set_yticks(range(len(arms)), [plain(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
