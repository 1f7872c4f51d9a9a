"""Speed against the reference arm: lines along a condition, bars under one; of many arms, sorted dots."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from xbench.analysis.crossovers import Crossover, crossovers
from xbench.analysis.results import Results
from xbench.report.plots.metrics import BESIDE, bars_size, draw_line, name_rows
from xbench.report.plots.panels import (
    DARK,
    GREY,
    MANY,
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
from xbench.wording.conditions import Conditions, number, show_crossing
from xbench.wording.numbers import show_interval

BAND = "#DDDDDD"
ALL = 3  # sizes up to which many arms are ranked at each
CROSSING: Any = (0, (2, 2))


def speed(results: Results) -> Figure | None:
    """Speed as a multiple of the reference arm's, with what the control shows between equals as a grey band.

    Lines of more than ``MANY`` arms cannot be followed: then there are dots at every size, or at the ends of a sweep of
    more than ``ALL``, the fastest arm at the top.
    """
    others = [arm for arm in results.arms if arm != results.against]
    places = [place for place in results.conditions if any(results.speed_ratio(place, arm) for arm in others)]
    if not places:
        return None
    panels = make_panels(places)
    many = len(results.arms) > MANY
    if many:
        chosen = [place for panel in panels for place in (panel.places if len(panel.places) <= ALL else panel.ends)]
        panels = [Panel((place,), None) for place in chosen]
    lines = any(panel.axis for panel in panels)
    share = "x" if many else "y" if lines else "xy"
    figure, drawn = make_figure(panels, PANEL if lines else bars_size(others), share=share)
    shown = [place for panel, _ in drawn for place in panel.places]
    controls = [control for place in shown if (control := results.control_ratio(place))]
    known = [ratio for place in shown for arm in others if (ratio := results.speed_ratio(place, arm))]
    ends_of_axis = span([*known, *controls, Estimate.exact(1.0)])
    label = f"speed as a multiple of {plain(results.against)}'s"
    notes: dict[str, list[str]] = {arm: [] for arm in others}
    for i, (panel, axes) in enumerate(drawn):
        if panel.axis:
            _control_band(axes, results, panel)
            for arm in others:
                draw_line(axes, results, panel, arm, [results.speed_ratio(place, arm) for place in panel.places])
            axes.axhline(1, color=DARK, linewidth=1, zorder=1)
            set_ticks(axes, panel)
            set_log(axes, "y", ends_of_axis)
            axes.set_ylabel(label if i % across(len(drawn)) == 0 else "")
            for arm, found in _crossovers(results, panel, others).items():
                _mark(axes, results, arm, found)
                notes[arm] += [_where(one, arm, panel, axes.get_title(loc="left")) for one in found]
        else:
            place = panel.places[0]
            _ratio_rows(axes, results, place, _sorted(results, place, others) if many else others, dots=many)
            grey = f"\ngrey: {plain(results.against)} against itself (control)" if controls else ""
            axes.set_xlabel(label + grey)
            low, high = ends_of_axis
            # Room for the figures behind the longest bar.
            set_log(axes, "x", (low, high * max(high / low, 1.2) ** 0.6))
    mark_void(results, drawn)
    if lines:
        band = [Patch(color=BAND)] if controls else []
        labels = {arm: f"{arm} ({'; '.join(own)})" for arm, own in notes.items() if own}
        handles, names = swatches(results, labels, others)
        itself = [f"{results.against} against itself (control)"] * len(band)
        add_legend(figure, [*handles, *band], [*names, *itself])
    return figure


def _sorted(results: Results, place: Conditions, arms: list[str]) -> list[str]:
    """The fastest first, those without a speed last."""
    ratios = {arm: results.speed_ratio(place, arm) for arm in arms}
    return sorted(arms, key=lambda arm: -ratio.value if (ratio := ratios[arm]) else 0.0)


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
    """A band over the interval of each crossover, and a line where it is."""
    look = style(results, arm)
    for one in found:
        axes.axvspan(one.low, one.high, color=look["color"], alpha=0.15, linewidth=0, zorder=0)
        axes.axvline(one.at, color=look["color"], linestyle=CROSSING, linewidth=0.9, zorder=1)


def _where(one: Crossover, arm: str, panel: Panel, title: str) -> str:
    """ "ahead from 310 px (301–321), patch 2"."""
    alone = panel.places[0].alone
    near, interval = show_crossing(Estimate(one.at, one.low, one.high, launches=1), alone)
    return f"{'ahead' if one.above == arm else 'behind'} from {near} ({interval}){title and f', {title}'}"


def _ratio_rows(axes: Axes, results: Results, place: Conditions, arms: list[str], dots: bool) -> None:
    """A row for each arm with its interval and its figure: a bar from 1, or a dot."""
    for i, arm in enumerate(arms):
        ratio = results.speed_ratio(place, arm)
        if ratio is None:
            metric = results.speed_metric_at(place)
            cell = results.cell(place, arm, metric) if metric else None
            axes.annotate(cell.status if cell else "–", (1, i), (12, 0), color=GREY, **BESIDE)
            continue
        if not dots:
            axes.barh(i, ratio.value - 1, left=1, height=0.62, color=style(results, arm)["color"])
        axes.errorbar(
            ratio.value, i, xerr=error([ratio]), color=DARK, marker="o" if dots else "", capsize=3, linewidth=1.2
        )
        end = max(1.0, ratio.value, ratio.high if math.isfinite(ratio.high) else 0.0)
        axes.annotate(show_interval(ratio), (end, i), (5, 0), **BESIDE)
    control = results.control_ratio(place)
    if control and math.isfinite(control.low):
        axes.axvspan(control.low, control.high, color=BAND, linewidth=0, zorder=0)
    axes.axvline(1, color=DARK, linewidth=1)
    name_rows(axes, arms)
    axes.set_axisbelow(True)
