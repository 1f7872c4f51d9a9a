"""Accuracy drawn: against speed, with the intervals of both; and as it was learnt."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.report.plots.metrics import metric_plot
from xbench.report.plots.panels import (
    DARK,
    PANEL,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    set_log,
    span,
    style,
    swatches,
)
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import Conditions
from xbench.wording.numbers import show_percent
from xbench.wording.scores import SHORT

FRONT = "#BBBBBB"


def accuracy(results: Results) -> Figure | None:
    """The score against the metric that speaks for speed, with the front of the best; bars where nothing was timed."""
    places = results.trained_places()
    timed = [place for place in places if any(_speed(results, place, arm) for arm in results.arms)]
    if not timed:
        return metric_plot(results, results.score, _label(results), show=show_percent) if places else None
    panels = [Panel((place,), None) for place in timed]
    figure, drawn = make_figure(panels, PANEL)
    for i, (panel, axes) in enumerate(drawn):
        place = panel.places[0]
        points = {}
        for arm in results.arms:
            speed, cell = _speed(results, place, arm), results.cell(place, arm, results.score)
            if speed is None or cell is None or cell.figure is None:
                continue
            points[arm] = (speed.value, cell.figure.value)
            look = {**style(results, arm), "linestyle": "", "markersize": 6}
            axes.errorbar(
                speed.value,
                cell.figure.value,
                xerr=error([speed]),
                yerr=error([cell.figure]),
                capsize=3,
                elinewidth=1.2,
                **look,
            )
        _front(axes, list(points.values()))
        speeds = [speed for arm in points if (speed := _speed(results, place, arm))]
        if speeds:
            set_log(axes, "x", span(speeds))
        axes.set_xlabel("throughput [images per second]" if _unit(results, place) == "throughput" else "latency [ms]")
        axes.set_ylabel(_label(results) if i % across(len(drawn)) == 0 else "")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    add_legend(figure, *swatches(results))
    return figure


def _label(results: Results) -> str:
    return f"{METRICS[results.score].label} [%]"


def _unit(results: Results, place: Conditions) -> str:
    return results.speed_metric_at(place) or ""


def _speed(results: Results, place: Conditions, arm: str) -> Estimate | None:
    metric = results.speed_metric_at(place)
    cell = results.cell(place, arm, metric) if metric else None
    return cell.figure if cell else None


def _front(axes: Axes, points: list[tuple[float, float]]) -> None:
    """A step line through the points that none is both faster and more accurate than."""
    best = [point for point in points if not any(o[0] >= point[0] and o[1] >= point[1] and o != point for o in points)]
    if len(best) > 1:
        x, y = zip(*sorted(best), strict=True)
        axes.step(x, y, where="pre", color=FRONT, linewidth=1.2, zorder=0)


def learning(results: Results) -> Figure | None:
    """The score in validation after every epoch: the mean of the seeds, and each of them faintly."""
    places = results.trained_places()
    if not places:
        return None
    figure, drawn = make_figure([Panel((place,), None) for place in places], PANEL, share="xy")
    for i, (panel, axes) in enumerate(drawn):
        for arm in results.arms:
            curves = [
                [entry[f"val_{results.score}"] for entry in record.detail["history"]]
                for record in results.seeds(panel.places[0], arm).values()
            ]
            look = style(results, arm)
            for curve in curves:
                axes.plot(range(1, len(curve) + 1), curve, color=look["color"], alpha=0.25, linewidth=0.8)
            if curves:
                mean = [sum(values) / len(values) for values in zip(*curves, strict=False)]
                quiet = {**look, "marker": "", "linewidth": 1.8}
                axes.plot(range(1, len(mean) + 1), mean, **quiet)
        axes.set_xlabel("epochs")
        axes.set_ylabel(f"validation {SHORT[results.score]} [%]" if i % across(len(drawn)) == 0 else "")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.tick_params(colors=DARK)
    add_legend(figure, *swatches(results))
    return figure
