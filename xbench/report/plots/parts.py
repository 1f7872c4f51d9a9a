"""What a figure is made of and what bounds it: parts of a training step, time by component, the machine's roof."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from xbench.analysis.results import Results
from xbench.analysis.roofline import ATTENTION, Machine, attained, ceiling, limits, shares
from xbench.report.plots.metrics import BESIDE, bars_size, name_rows
from xbench.report.plots.panels import (
    DARK,
    GREY,
    MANY,
    Panel,
    across,
    add_legend,
    error,
    make_figure,
    make_panels,
    mark_void,
    set_log,
    span,
    style,
    swatches,
)
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_estimate, show_interval, show_number, show_share

STEP = {"forward_time": "#56B4E9", "backward_time": "#0072B2", "optimizer_time": "#E69F00"}
BEHIND = "behind a bar: the attention's share of it, and the speed-up if the attention took no time"
# By component, the attention first; grey for what is no component of its own.
COMPONENT_COLOURS = ["#D55E00", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#BBBBBB"]

Parts = list[tuple[str, Estimate]]
PartsOf = Callable[[Conditions, str], Parts]  # of an arm under these conditions


def training(results: Results) -> Figure | None:
    """A training step as the sum of forward pass, backward pass and optimizer; behind it the whole and its interval."""
    colours = {name.partition("_")[0]: colour for name, colour in STEP.items()}

    def parts(place: Conditions, arm: str) -> Parts:
        cells = [(name, results.cell(place, arm, name)) for name in STEP]
        return [(name.partition("_")[0], cell.figure) for name, cell in cells if cell and cell.figure]

    def text(place: Conditions, arm: str) -> str:
        whole = results.cell(place, arm, "throughput")
        if whole is None or whole.figure is None:
            return show_number(sum(figure.value for _, figure in parts(place, arm)), 3)
        return show_estimate(whole.figure.inverse.times(1e3 * place.batch))

    return _stacked(results, parts, text, colours, "training step of a batch [ms]")


def breakdown(results: Results) -> Figure | None:
    """The time of a batch by component, the attention's share with its interval, and what could be won at most.

    Of many arms as shares of the whole, for the slowest arm would leave the others no room.
    """
    of_whole = len(results.arms) > MANY

    def parts(place: Conditions, arm: str) -> Parts:
        cell, own = results.cell(place, arm, "breakdown"), shares(results, place, arm)
        if cell is None or cell.figure is None or not own:
            return []
        # Medians add up to the whole only nearly, and a bar of shares ends at 100 %.
        whole = 100 / sum(share.value for share in own.values()) if of_whole else cell.figure.value
        return [(name, share.times(whole)) for name, share in own.items()]

    def text(place: Conditions, arm: str) -> str:
        share, most = shares(results, place, arm).get(ATTENTION), ceiling(results, place, arm)
        if share is None or most is None:
            return ""
        if of_whole:
            return f"{share.value:.0%}" + (f", × {show_number(most.value, 3)}" if math.isfinite(most.value) else "")
        return show_share(share) + (f", × {show_interval(most)}" if math.isfinite(most.value) else "")

    names = dict.fromkeys(n for place in results.conditions for arm in results.arms for n, _ in parts(place, arm))
    colours = dict(zip(names, COMPONENT_COLOURS + [GREY] * len(names), strict=False))
    label = f"instrumented forward of a batch [{'%' if of_whole else 'ms'}]"
    return _stacked(results, parts, text, colours, label, ATTENTION, BEHIND)


def _stacked(
    results: Results,
    parts_of: PartsOf,
    text: Callable[[Conditions, str], str],
    colours: dict[str, str],
    label: str,
    with_interval: str = "",
    behind: str = "",
) -> Figure | None:
    """A panel for each place and a bar for each arm that has parts somewhere, with ``text`` behind it.

    ``with_interval`` is the part at the start of a bar that has an error bar. Those of the others would be read as of
    the sum up to there.
    """
    places = [place for place in results.conditions if any(parts_of(place, arm) for arm in results.arms)]
    if not places:
        return None
    arms = [arm for arm in results.arms if any(parts_of(place, arm) for place in places)]
    if len(arms) > MANY:  # the least share of the attention first, and the ends of every sweep
        places = [place for panel in make_panels(places) for place in panel.ends]
        first = {arm: next((part.value for _, part in parts_of(places[-1], arm)), math.inf) for arm in arms}
        arms = sorted(arms, key=lambda arm: first[arm])
    size = bars_size(arms, width=5.0 if behind and len(arms) <= MANY else 4.4)
    figure, drawn = make_figure([Panel((place,), None) for place in places], size, share="y")
    for panel, axes in drawn:
        (place,) = panel.places
        reach = 0.0
        for row, arm in enumerate(arms):
            end = 0.0
            for name, part in parts_of(place, arm):
                axes.barh(row, part.value, left=end, height=0.62, color=colours[name])
                end += part.value
                if name == with_interval:
                    axes.errorbar(end, row, xerr=error([part]), color=DARK, capsize=3, linewidth=1.2)
            axes.annotate(text(place, arm) if end else "–", (end, row), (5, 0), **BESIDE)
            reach = max(reach, end)
        name_rows(axes, arms)
        axes.set_xlim(0, reach * (2.1 if behind and len(arms) <= MANY else 1.35))
        axes.set_xlabel(label)
        axes.set_xticks(
            [tick for tick in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, reach) if tick < 1.01 * reach]
        )
    mark_void(results, drawn)
    said = [behind] if behind else []
    swatches = [*(Patch(color=colour) for colour in colours.values()), *(Patch(alpha=0) for _ in said)]
    add_legend(figure, swatches, [*colours, *said])
    return figure


def roofline(results: Results) -> Figure | None:
    """MACs per second against MACs per byte, under the roof of the machine's own limits, with its spread.

    A panel for each machine, as its limits depend on it: another number of threads has another roof. After Williams,
    Waterman and Patterson (Communications of the ACM 52, 2009).
    """
    found = [{arm: attained(results, place, arm) for arm in results.arms} for place in results.conditions]
    places = [place for place, own in zip(results.conditions, found, strict=True) if any(own.values())]
    points = [point for own in found for point in own.values() if point]
    arms = [arm for arm in results.arms if any(own[arm] for own in found)]
    panels = make_panels(places, apart=["threads"])
    machines = [machine for panel in panels if (machine := limits(results, panel.places[0]))]
    if not points:
        return None
    figure, drawn = make_figure(panels, share="xy")
    ridges = [one.macs_per_second.value / one.copy_bytes_per_second.value for one in machines]
    intensities = [*(point.intensity for point in points), *ridges]
    x = min(intensities) / 1.5, max(intensities) * 2
    low, high = span(
        rate.times(1e-9) for rate in [p.macs_per_second for p in points] + [m.macs_per_second for m in machines]
    )
    for i, ((panel, axes), machine) in enumerate(zip(drawn, machines, strict=False)):
        _roof(axes, machine, x)
        for arm in arms:
            _stand(axes, results, panel, arm)
        set_log(axes, "x", x)
        set_log(axes, "y", (low / 1.3, high * 1.3))
        axes.set_xlabel("MACs per byte of the operations' traffic")
        axes.set_ylabel("GMACs/s" if i % across(len(drawn)) == 0 else "")
    mark_void(results, drawn)
    lines, names = swatches(results, arms=arms)
    roof = "roof: what the machine does in a large matrix product and a large copy"
    add_legend(figure, [*lines, Line2D([], [], color=GREY)], [*names, roof])
    return figure


def _stand(axes: Axes, results: Results, panel: Panel, arm: str) -> None:
    """Where the arm stands at each place of the panel, joined along its condition."""
    own = [point for place in panel.places if (point := attained(results, place, arm))]
    reached = [point.macs_per_second for point in own]
    values = [rate.value * 1e-9 for rate in reached]
    look = {**style(results, arm), "linewidth": 0.8}
    axes.errorbar([point.intensity for point in own], values, error(reached, 1e-9), capsize=3, **look)


def _roof(axes: Axes, machine: Machine, ends: tuple[float, float]) -> None:
    """The line that no arm can cross unless its bytes stay in a cache, with its interval as a band."""
    x = np.geomspace(*ends, 200)
    macs, copied = machine.macs_per_second, machine.copy_bytes_per_second
    pairs = (macs.value, copied.value), (macs.low, copied.low), (macs.high, copied.high)
    roof, low, high = (np.minimum(best, x * most) * 1e-9 for best, most in pairs)
    axes.plot(x, roof, color=GREY, linewidth=1.4, zorder=1)
    axes.fill_between(x, low, high, color=GREY, alpha=0.25, linewidth=0, zorder=0)
