"""How arms compare and grow along a condition: speed against the reference, and powers of N."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from xbench.report.conditions import number
from xbench.report.metric_plots import BESIDE, bars_height, draw_line, name_rows, unit_of
from xbench.report.numbers import show_interval, show_power
from xbench.report.panels import (
    COLOURS,
    DARK,
    GREY,
    PANEL,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    make_panels,
    plain,
    set_log,
    set_ticks,
    span,
    style,
    swatch,
    tick_each,
)
from xbench.results import Cell, Results
from xbench.scaling import MEMORY, Crossover, Exponent, crossovers, exponent
from xbench.statistics import Estimate
from xbench.sweeps import Conditions, Sweep, tokens_of

BAND = "#DDDDDD"
MOST_SAID = 30  # exponents in a legend
THEORY: Any = (0, (2, 2))


def speed(results: Results) -> Figure | None:
    """Speed as a multiple of the reference arm's, with what the control shows between equals as a grey band."""
    others = [arm for arm in results.arms if arm != results.against]
    ratios = [[results.speed_ratio(place, arm) for arm in others] for place in results.conditions]
    places = [place for place, found in zip(results.conditions, ratios, strict=True) if any(found)]
    known = [ratio for found in ratios for ratio in found if ratio]
    if not known:
        return None
    panels = make_panels(places)
    lines = any(panel.axis for panel in panels)
    figure, drawn = make_figure(panels, PANEL if lines else (4.4, bars_height(results)), share="y" if lines else "xy")
    controls = [control for place in places if (control := results.control_ratio(place))]
    ends = span([*known, *controls, Estimate.exact(1.0)])
    label = f"speed as a multiple of {plain(results.against)}'s"
    notes: dict[str, list[str]] = {arm: [] for arm in others}
    for i, (panel, axes) in enumerate(drawn):
        failed = [place for place in panel.places if not results.trusted(place)]
        title = axes.get_title(loc="left")
        if panel.axis:
            _control_band(axes, results, panel)
            for arm in others:
                draw_line(axes, results, panel, arm, [results.speed_ratio(place, arm) for place in panel.places])
            axes.axhline(1, color=DARK, linewidth=1, zorder=1)
            set_ticks(axes, panel)
            set_log(axes, "y", ends)
            axes.set_ylabel(label if i % across(len(drawn)) == 0 else "")
            for arm, found in _crossovers(results, panel, others).items():
                _mark(axes, results, arm, found)
                notes[arm] += [_where(one, arm, title) for one in found]
        else:
            _ratio_bars(axes, results, panel.places[0], others)
            grey = f"\ngrey: {plain(results.against)} against itself (control)" if controls else ""
            axes.set_xlabel(label + grey)
            low, high = ends
            # Room for the figures behind the longest bar.
            set_log(axes, "x", (low, high * max(high / low, 1.2) ** 0.6))
        if failed:
            axes.set_title(f"{title} · void: the control failed".removeprefix(" · "), loc="left", fontsize=9)
    if lines:
        band = [Patch(color=BAND)] if controls else []
        names = [f"{arm} ({'; '.join(notes[arm])})" if notes[arm] else arm for arm in others]
        names += [f"{results.against} against itself (control)"] * len(band)
        add_legend(figure, [*(swatch(results, arm) for arm in others), *band], names)
    return figure


def _control_band(axes: Axes, results: Results, panel: Panel) -> None:
    assert panel.axis is not None
    found = [(number(place, panel.axis), results.control_ratio(place)) for place in panel.places]
    points = [(x, control.low, control.high) for x, control in found if control and math.isfinite(control.low)]
    if points:
        x, low, high = zip(*points, strict=True)
        axes.fill_between(x, low, high, color=BAND, linewidth=0, zorder=0)


def _crossovers(results: Results, panel: Panel, arms: list[str]) -> dict[str, list[Crossover]]:
    sweep = next((sweep for sweep in results.sweeps() if sweep.conditions == panel.places), None)
    return {arm: crossovers(results, sweep, arm, results.against) if sweep else [] for arm in arms}


def _mark(axes: Axes, results: Results, arm: str, found: list[Crossover]) -> None:
    """A band over the interval of each crossover and a line where it is; of many arms, a bar on the line at 1."""
    look = style(results, arm)
    for one in found:
        if len(results.arms) > len(COLOURS):
            ends = [[one.at - one.low], [one.high - one.at]]
            axes.errorbar(one.at, 1, xerr=ends, color=look["color"], marker=look["marker"], markersize=5, capsize=3)
        else:
            axes.axvspan(one.low, one.high, color=look["color"], alpha=0.15, linewidth=0, zorder=0)
            axes.axvline(one.at, color=look["color"], linestyle=THEORY, linewidth=0.9, zorder=1)


def _where(one: Crossover, arm: str, title: str) -> str:
    """ "ahead from 310 (301–321), patch 2"."""
    at = show_interval(Estimate(one.at, one.low, one.high, launches=1))
    return f"{'ahead' if one.above == arm else 'behind'} from {at}{title and f', {title}'}"


def _ratio_bars(axes: Axes, results: Results, place: Conditions, arms: list[str]) -> None:
    for i, arm in enumerate(arms):
        ratio = results.speed_ratio(place, arm)
        if ratio is None:
            metric = results.speed_metric_at(place)
            cell = results.cell(place, arm, metric) if metric else None
            axes.annotate(cell.status if cell else "–", (1, i), (12, 0), color=GREY, **BESIDE)
            continue
        axes.barh(i, ratio.value - 1, left=1, height=0.62, color=style(results, arm)["color"])
        axes.errorbar(ratio.value, i, xerr=error([ratio]), color=DARK, capsize=3, linewidth=1.2)
        end = max(1.0, ratio.value, ratio.high if math.isfinite(ratio.high) else 0.0)
        axes.annotate(show_interval(ratio), (end, i), (5, 0), **BESIDE)
    control = results.control_ratio(place)
    if control and math.isfinite(control.low):
        axes.axvspan(control.low, control.high, color=BAND, linewidth=0, zorder=0)
    axes.axvline(1, color=DARK, linewidth=1)
    name_rows(axes, arms)
    axes.set_axisbelow(True)


def scaling(results: Results) -> Figure | None:
    """Time of an image against N, with the fitted power of N and the one that the attention's stated cost gives."""
    training = all(place["direction"] == "training" for place in results.conditions)
    label = f"time of {'a training step per' if training else 'one'} {unit_of(results)} [ms]"
    return _growth(results, _time_metric, label, _milliseconds)


def memory_scaling(results: Results) -> Figure | None:
    """Memory of the activations against N in the same way, since parameters do not grow."""
    measured = "peak_memory" in results.metrics
    label = f"{'' if measured else 'predicted '}memory of the activations [MiB]"
    return _growth(results, lambda *_: MEMORY[0] if measured else MEMORY[1], label, _mebibytes)


def _time_metric(results: Results, sweep: Sweep) -> str | None:
    return results.speed_metric_at(sweep.conditions[-1])


def _milliseconds(cell: Cell, metric: str) -> Estimate | None:
    if cell.figure is None or metric == "throughput":
        return cell.figure and cell.figure.inverse.times(1e3)
    return cell.figure


def _mebibytes(cell: Cell, _: str) -> Estimate | None:
    activations = cell.detail.get("activations") if cell.figure else None
    return Estimate.exact(activations / 2**20) if activations else None


def _growth(
    results: Results,
    metric_of: Callable[[Results, Sweep], str | None],
    label: str,
    figure_of: Callable[[Cell, str], Estimate | None],
) -> Figure | None:
    """A panel for each sweep in which some arm has an exponent."""
    grown = {}
    for sweep in results.sweeps():
        metric = metric_of(results, sweep)
        found = {arm: exponent(results, sweep, arm, metric) for arm in results.arms} if metric else {}
        if metric and any(found.values()):
            panel = Panel(sweep.conditions, "extent")
            cells = {arm: [results.cell(place, arm, metric) for place in sweep.conditions] for arm in results.arms}
            points = {arm: [figure_of(cell, metric) if cell else None for cell in own] for arm, own in cells.items()}
            grown[id(panel)] = panel, found, points
    if not grown:
        return None
    figure, drawn = make_figure([panel for panel, _, _ in grown.values()], share="y")
    ends = span(figure for _, _, points in grown.values() for own in points.values() for figure in own if figure)
    said: dict[str, list[str]] = {arm: [] for arm in results.arms}
    for i, (panel, axes) in enumerate(drawn):
        _, exponents, points = grown[id(panel)]
        n = [float(tokens_of(place)) for place in panel.places]
        for arm in results.arms:
            _grow(axes, results, arm, n, points[arm], exponents[arm])
            if power := exponents[arm]:
                said[arm].append(", ".join(filter(None, [_power(power), axes.get_title(loc="left")])))
        tick_each(axes, n, [f"{x:,.0f}" for x in n])
        set_log(axes, "y", ends)
        alone = panel.places[0]["level"] == "op"
        axes.set_xlabel("tokens N of a sequence" if alone else "tokens N of a sequence in stage 3")
        axes.set_ylabel(label if i % across(len(drawn)) == 0 else "")
    # Of many arms in many panels the exponents would fill a page; they stand in their table.
    few = len(drawn) * len(results.arms) <= MOST_SAID
    names = [f"{arm}: {'; '.join(said[arm])}" if said[arm] and few else arm for arm in results.arms]
    dots = [Line2D([], [], color=GREY, linestyle=THEORY, linewidth=1)] if len(results.arms) <= len(COLOURS) else []
    names += ["the power that is stated"] * len(dots)
    add_legend(figure, [*(swatch(results, arm) for arm in results.arms), *dots], names)
    return figure


def _power(power: Exponent) -> str:
    stated = "" if power.theory is None else f", stated {power.theory:g}"
    return f"N^{show_power(power.value, power.low, power.high)}{'' if power.straight else ', bends'}{stated}"


def _grow(
    axes: Axes,
    results: Results,
    arm: str,
    n: Sequence[float],
    figures: Sequence[Estimate | None],
    power: Exponent | None,
) -> None:
    """The points of an arm; over those that the exponent is fitted to its line, and dashed the line of the theory."""
    points = [(x, figure) for x, figure in zip(n, figures, strict=True) if figure]
    found = [figure for _, figure in points]
    look = style(results, arm)
    x, y = np.array([x for x, _ in points]), np.array([figure.value for figure in found])
    marks = {"color": look["color"], "marker": look["marker"], "markersize": look["markersize"]}
    axes.errorbar(x, y, error(found), capsize=3, linestyle="none", **marks)
    axes.plot(x, y, color=look["color"], linewidth=0.6, alpha=0.4)
    if power is None:
        return
    upper = x[-power.points :]
    middle = np.exp(np.log(upper).mean()), np.exp(np.log(y[-power.points :]).mean())
    axes.plot(
        upper,
        middle[1] * (upper / middle[0]) ** power.value,
        color=look["color"],
        linestyle=look["linestyle"],
        linewidth=look["linewidth"],
    )
    # Of many arms, the stated powers stand in the legend alone.
    if power.theory is not None and len(results.arms) <= len(COLOURS):
        stated = y[-1] * (x / x[-1]) ** power.theory
        axes.plot(x, stated, color=look["color"], linestyle=THEORY, linewidth=0.9)
