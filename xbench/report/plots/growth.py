"""How time and memory grow with the number of tokens: the power of N that is measured and the one that is stated."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xbench.analysis.results import Cell, Results
from xbench.analysis.scaling import Exponent, exponent
from xbench.analysis.threads import thread_scaling, threads_apart
from xbench.report.plots.metrics import unit_of
from xbench.report.plots.panels import (
    GREY,
    MANY,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    mark_void,
    set_log,
    set_ticks,
    span,
    style,
    swatches,
    tick_each,
)
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_power

MOST_SAID = 30  # exponents in a legend
THEORY: Any = (0, (2, 2))


def scaling(results: Results) -> Figure | None:
    """Time of an image against N, with the fitted power of N and the one that the attention's stated cost gives."""
    training = all(place.direction == "training" for place in results.conditions)
    label = f"time of {'a training step per' if training else 'one'} {unit_of(results)} [ms]"
    return _growth(results, Results.speed_metric_at, label, _milliseconds)


def memory_scaling(results: Results) -> Figure | None:
    """Memory of the activations against N in the same way, since parameters do not grow."""
    measured = "peak_memory" in results.metrics
    label = f"{'' if measured else 'predicted '}memory of the activations [MiB]"
    return _growth(results, Results.memory_metric_at, label, _mebibytes)


def threads(results: Results) -> Figure | None:
    """How many times as fast as with the fewest threads, against their number; dotted, were they all of use."""
    found = {
        places: {arm: thread_scaling(results, places, arm) for arm in results.arms}
        for places in threads_apart(results.conditions)
    }
    found = {places: own for places, own in found.items() if any(own.values())}
    if not found:
        return None
    figure, drawn = make_figure([Panel(places, "threads") for places in found], share="y")
    speeds = [one.speed for own in found.values() for scalings in own.values() for one in scalings]
    for i, (panel, axes) in enumerate(drawn):
        first, last = panel.places[0].threads, panel.places[-1].threads
        for arm, scalings in found[panel.places].items():
            if scalings:
                x = [first, *(one.threads for one in scalings)]
                y = [Estimate.exact(1.0), *(one.speed for one in scalings)]
                axes.errorbar(x, [one.value for one in y], error(y), capsize=3, **style(results, arm))
        axes.plot([first, last], [1, last / first], color=GREY, linestyle=THEORY, linewidth=1)
        set_ticks(axes, panel)
        set_log(axes, "y", span([*speeds, Estimate.exact(1.0), Estimate.exact(last / first)]))
        axes.set_ylabel(f"times as fast as with {first}" if i % across(len(drawn)) == 0 else "")
    dots = Line2D([], [], color=GREY, linestyle=THEORY, linewidth=1)
    lines, names = swatches(results)
    add_legend(figure, [*lines, dots], [*names, "all threads of use"])
    return figure


def _milliseconds(cell: Cell, metric: str) -> Estimate | None:
    if cell.figure is None or metric == "throughput":
        return cell.figure and cell.figure.inverse.times(1e3)
    return cell.figure


def _mebibytes(cell: Cell, _: str) -> Estimate | None:
    activations = cell.detail.get("activations") if cell.figure else None
    return Estimate.exact(activations / 2**20) if activations else None


def _growth(
    results: Results,
    metric_at: Callable[[Results, Conditions], str | None],
    label: str,
    figure_of: Callable[[Cell, str], Estimate | None],
) -> Figure | None:
    """A panel for each sweep in which some arm has an exponent."""
    grown = {}
    for sweep in results.sweeps():
        metric = metric_at(results, sweep.conditions[-1])
        found = {arm: exponent(results, sweep, arm, metric) for arm in results.arms} if metric else {}
        if metric and any(found.values()):
            panel = Panel(sweep.conditions, "extent")
            cells = {arm: [results.cell(place, arm, metric) for place in sweep.conditions] for arm in results.arms}
            points = {arm: [figure_of(cell, metric) if cell else None for cell in own] for arm, own in cells.items()}
            grown[panel] = metric, found, points
    if not grown:
        return None
    figure, drawn = make_figure(list(grown), share="y")
    ends = span(figure for *_, points in grown.values() for own in points.values() for figure in own if figure)
    said: dict[str, list[str]] = {arm: [] for arm in results.arms}
    # Of many arms, the stated powers stand in the legend alone.
    with_theory = len(results.arms) <= MANY
    for i, (panel, axes) in enumerate(drawn):
        metric, exponents, points = grown[panel]
        trusted = [results.trusted(place, metric) for place in panel.places]
        n = [float(place.n_tokens) for place in panel.places]
        for arm in results.arms:
            _grow(axes, style(results, arm), n, points[arm], exponents[arm], trusted, with_theory)
            if power := exponents[arm]:
                said[arm].append(", ".join(filter(None, [_power(power), axes.get_title(loc="left")])))
        tick_each(axes, n, [f"{x:,.0f}" for x in n])
        set_log(axes, "y", ends)
        alone = panel.places[0].alone
        axes.set_xlabel("tokens N of a sequence" if alone else "tokens N of a sequence in stage 3")
        axes.set_ylabel(label if i % across(len(drawn)) == 0 else "")
        mark_void(results, [(panel, axes)], metric)
    # Of many arms in many panels the exponents would fill a page; they stand in their table.
    few = len(drawn) * len(results.arms) <= MOST_SAID
    powers = {arm: f"{arm}: {'; '.join(own)}" for arm, own in said.items() if own and few}
    dots = [Line2D([], [], color=GREY, linestyle=THEORY, linewidth=1)] if with_theory else []
    lines, names = swatches(results, powers)
    add_legend(figure, [*lines, *dots], [*names, *["the power that is stated"] * len(dots)])
    return figure


def _power(power: Exponent) -> str:
    stated = "" if power.theory is None else f", stated {power.theory:g}"
    bent = ", no single power" if power.straight is False else ""
    return f"N^{show_power(power.value, power.low, power.high)}{bent}{stated}"


def _grow(
    axes: Axes,
    look: dict[str, Any],
    n: Sequence[float],
    figures: Sequence[Estimate | None],
    power: Exponent | None,
    trusted: Sequence[bool],
    with_theory: bool,
) -> None:
    """The points of an arm; over those that the exponent rests on its line, and dashed the line of the theory."""
    points = [(x, figure) for x, figure in zip(n, figures, strict=True) if figure]
    found = [figure for _, figure in points]
    x, y = np.array([x for x, _ in points]), np.array([figure.value for figure in found])
    marks = {"color": look["color"], "marker": look["marker"], "markersize": look["markersize"]}
    axes.errorbar(x, y, error(found), capsize=3, linestyle="none", **marks)
    axes.plot(x, y, color=look["color"], linewidth=0.6, alpha=0.4)
    if power is None:
        return
    fitted = [(x, f.value) for x, f, good in zip(n, figures, trusted, strict=True) if f and good][-power.points :]
    upper, height = np.array(fitted).T
    middle = np.exp(np.log(upper).mean()), np.exp(np.log(height).mean())
    line = {key: look[key] for key in ("color", "linestyle", "linewidth")}
    axes.plot(upper, middle[1] * (upper / middle[0]) ** power.value, **line)
    if power.theory is not None and with_theory:
        stated = y[-1] * (x / x[-1]) ** power.theory
        axes.plot(x, stated, color=look["color"], linestyle=THEORY, linewidth=0.9)
