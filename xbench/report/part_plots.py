"""What a figure is made of and what bounds it: parts of a training step, time by component, the machine's roof."""

import math
from collections.abc import Callable, Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from xbench.bounds import ATTENTION, Limits, attained, ceiling, limits, shares
from xbench.report.metric_plots import BESIDE, bars_height, name_rows
from xbench.report.numbers import show_number, show_share
from xbench.report.panels import (
    DARK,
    GREY,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    make_panels,
    set_log,
    span,
    style,
    swatch,
)
from xbench.results import Results
from xbench.statistics import Estimate
from xbench.sweeps import Conditions

STEP = {"forward_time": "#56B4E9", "backward_time": "#0072B2", "optimizer_time": "#E69F00"}
BEHIND = "behind a bar: the attention's share of it, and the speed-up if the attention took no time"
# By component, the attention first; grey for what is no component of its own.
COMPONENT_COLOURS = ["#D55E00", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#BBBBBB"]

Parts = list[tuple[str, Estimate]]
PartsOf = Callable[[Conditions, str], Parts]  # of an arm under these conditions


def training(results: Results) -> Figure | None:
    """A training step as the sum of forward pass, backward pass and optimizer."""
    colours = {name.partition("_")[0]: colour for name, colour in STEP.items()}

    def parts(place: Conditions, arm: str) -> Parts:
        cells = [(name, results.cell(place, arm, name)) for name in STEP]
        return [(name.partition("_")[0], cell.figure) for name, cell in cells if cell and cell.figure]

    def text(place: Conditions, arm: str) -> str:
        return show_number(sum(figure.value for _, figure in parts(place, arm)), 3)

    return _stacked(results, parts, text, colours, "time of a training step of a batch [ms]", colours)


def breakdown(results: Results) -> Figure | None:
    """The time of a batch by component, the attention's share with its interval, and what could be won at most."""

    def parts(place: Conditions, arm: str) -> Parts:
        cell = results.cell(place, arm, "breakdown")
        if cell is None or cell.figure is None:
            return []
        whole = cell.figure.value
        return [(name, share.times(whole)) for name, share in shares(results, place, arm).items()]

    def text(place: Conditions, arm: str) -> str:
        share, most = shares(results, place, arm).get(ATTENTION), ceiling(results, place, arm)
        if share is None or most is None:
            return ""
        return show_share(share) + (f", ≤ {show_number(most.value, 3)} ×" if math.isfinite(most.value) else "")

    names = dict.fromkeys(n for place in results.conditions for arm in results.arms for n, _ in parts(place, arm))
    colours = dict(zip(names, COMPONENT_COLOURS + [GREY] * len(names), strict=False))
    return _stacked(results, parts, text, colours, "time of a batch [ms]", [ATTENTION], BEHIND)


def _stacked(
    results: Results,
    parts_of: PartsOf,
    text: Callable[[Conditions, str], str],
    colours: dict[str, str],
    label: str,
    with_interval: Collection[str],
    behind: str = "",
) -> Figure | None:
    """A panel for each place where some arm has parts, with a bar for each arm and ``text`` behind it."""
    places = [place for place in results.conditions if any(parts_of(place, arm) for arm in results.arms)]
    if not places:
        return None
    size = (4.6, bars_height(results))
    figure, drawn = make_figure([Panel([place], None) for place in places], size, share="y")
    for panel, axes in drawn:
        (place,) = panel.places
        reach = 0.0
        for row, arm in enumerate(results.arms):
            end = 0.0
            for name, part in parts_of(place, arm):
                axes.barh(row, part.value, left=end, height=0.62, color=colours[name])
                end += part.value
                if name in with_interval:
                    axes.errorbar(end, row, xerr=error([part]), color=DARK, capsize=3, linewidth=1.2)
            axes.annotate(text(place, arm) if end else "–", (end, row), (5, 0), **BESIDE)
            reach = max(reach, end)
        name_rows(axes, results.arms)
        axes.set_xlim(0, reach * (1.95 if behind else 1.35))
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    said = [behind] if behind else []
    swatches = [*(Patch(color=colour) for colour in colours.values()), *(Patch(alpha=0) for _ in said)]
    add_legend(figure, swatches, [*colours, *said])
    return figure


def roofline(results: Results) -> Figure | None:
    """MACs per second against MACs per byte, under the roof of the machine's own limits, with its spread.

    After Williams, Waterman and Patterson (Communications of the ACM 52, 2009).
    """
    found = [{arm: attained(results, place, arm) for arm in results.arms} for place in results.conditions]
    places = [place for place, own in zip(results.conditions, found, strict=True) if any(own.values())]
    points = [point for own in found for point in own.values() if point]
    machine = [one for place in places if (one := limits(results, place))]
    if not points:
        return None
    figure, drawn = make_figure(make_panels(places), share="xy")
    ridges = [one.macs_per_second.value / one.copy_bytes_per_second.value for one in machine]
    intensities = [*(point.intensity for point in points), *ridges]
    x = min(intensities) / 1.5, max(intensities) * 2
    low, high = span(
        rate.times(1e-9) for rate in [p.macs_per_second for p in points] + [m.macs_per_second for m in machine]
    )
    for i, (panel, axes) in enumerate(drawn):
        _roof(axes, [one for place in panel.places if (one := limits(results, place))], x)
        for arm in results.arms:
            _stand(axes, results, panel, arm)
        set_log(axes, "x", x)
        set_log(axes, "y", (low / 1.3, high * 1.3))
        axes.set_xlabel("MACs per byte of the operations' traffic")
        axes.set_ylabel("10⁹ MACs per second" if i % across(len(drawn)) == 0 else "")
    names = [*results.arms, "roof: what the machine does in a large matrix product and a large copy"]
    add_legend(figure, [*(swatch(results, arm) for arm in results.arms), Line2D([], [], color=GREY)], names)
    return figure


def _stand(axes: Axes, results: Results, panel: Panel, arm: str) -> None:
    """Where the arm stands at each place of the panel, joined along its condition."""
    own = [point for place in panel.places if (point := attained(results, place, arm))]
    reached = [point.macs_per_second for point in own]
    values = [rate.value * 1e-9 for rate in reached]
    look = {**style(results, arm), "linewidth": 0.8}
    axes.errorbar([point.intensity for point in own], values, error(reached, 1e-9), capsize=3, **look)


def _roof(axes: Axes, machine: list[Limits], ends: tuple[float, float]) -> None:
    """The line that no arm can cross unless its bytes stay in a cache; a band holds all its intervals."""
    x = np.geomspace(*ends, 200)

    def height(macs: float, copied: float) -> np.ndarray:
        return np.minimum(macs, x * copied) * 1e-9

    roofs = [height(one.macs_per_second.value, one.copy_bytes_per_second.value) for one in machine]
    axes.plot(x, np.median(roofs, axis=0), color=GREY, linewidth=1.4, zorder=1)
    edges = [
        height(*pair)
        for one in machine
        for pair in (
            (one.macs_per_second.low, one.copy_bytes_per_second.low),
            (one.macs_per_second.high, one.copy_bytes_per_second.high),
        )
    ]
    axes.fill_between(x, np.min(edges, axis=0), np.max(edges, axis=0), color=GREY, alpha=0.25, linewidth=0, zorder=0)
