"""How a figure is laid out: conditions into panels, arms into colours and lines, axes with few and round ticks.

The numeric condition that varies is the x axis, image size or number of tokens first; what else varies makes panels.
"""

import math
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from xbench.analysis.results import Results
from xbench.report.inert import inert
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import (
    AXES,
    HEADS,
    Conditions,
    conditions_line,
    in_words,
    number,
    settings,
    show_value,
    value,
    varying,
)

# Okabe and Ito's colours, told apart by most colour-blind readers; grey is left for what carries no meaning. Their
# yellow is darkened, to be seen on white.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800"]
MARKERS = "osD^vP*X"
STROKES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2))]
GREY, DARK, FAINT = "#888888", "#444444", "#C4C4C4"
# The colours of those that are in most comparisons, by their place in ``COLOURS``.
USUAL = {"xfa": 0, "mhsa": 1, "mhsa-sdpa": 2, "separable": 3, "linear": 4, "xca": 5, "identity": 6, "mobilevit_s": 7}
MANY = len(COLOURS)  # arms above which lines and stacked bars are too many to follow

ACROSS = 4  # panels in a row
MOST = 12  # panels in a figure; the tables have the rest
PANEL = 4.0, 3.3  # inches of a panel with lines
LETTER = 0.06  # inches of a letter, on average
WRAP = 52  # letters in a line of a legend


class Drawing(Figure):
    """A figure that knows how many inches its axes take, beside which a legend may stand."""

    axes_width: float = 0.0


@dataclass(frozen=True)
class Panel:
    """Conditions that share one pair of axes: a single one, or several along the condition named ``axis``."""

    places: tuple[Conditions, ...]
    axis: str | None

    @property
    def ends(self) -> tuple[Conditions, ...]:
        """The first place and the last; one where there is only one."""
        return (self.places[0], *self.places[1:][-1:])

    @property
    def label(self) -> str:
        """Of the x axis."""
        if self.axis == "extent" and self.places[0].alone:
            return "tokens N of a sequence"
        return AXES[self.axis] if self.axis else ""


def make_panels(places: Sequence[Conditions], apart: Collection[str] = ()) -> list[Panel]:
    """Every place in one panel. The conditions named ``apart`` are never its axis: where they differ, panels do."""
    panels = []
    for group in settings(places):
        axis = next((key for key in varying(group) if key in AXES and key not in apart), None)
        rest = [key for key in HEADS if key != axis]
        found: dict[tuple[Any, ...], list[Conditions]] = {}
        for place in group:
            found.setdefault(tuple(value(place, key) for key in rest), []).append(place)
        for own in found.values():
            ordered = sorted(own, key=lambda place: number(place, axis)) if axis else own
            panels.append(Panel(tuple(ordered), axis if len(own) > 1 else None))
    return panels


def make_figure(
    panels: Sequence[Panel], size: tuple[float, float] = PANEL, share: str = ""
) -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """A figure with axes for each panel, of ``size`` inches; ``share`` is "x", "y" or "xy" where panels share an axis.

    What all panels have in common is the title of the figure, the rest stands above each panel. Panels of different
    levels or directions share nothing.
    """
    left_out = len(panels) - MOST
    panels = panels[:MOST]
    columns = across(len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Drawing(figsize=(size[0] * columns, size[1] * rows + 0.3), layout="constrained")
    figure.axes_width = size[0] * columns
    alike = len({(panel.places[0].level, panel.places[0].direction) for panel in panels}) == 1
    grid = figure.subplots(
        rows, columns, squeeze=False, sharex=alike and "x" in share, sharey=alike and "y" in share
    ).flatten()
    for unused in grid[len(panels) :]:
        unused.remove()
    # A panel below which none stands keeps the labels of a shared axis.
    for i in range(len(panels) - columns, len(panels)):
        grid[max(i, 0)].xaxis.set_tick_params(labelbottom=True)
    lines = [_phrases(panel) for panel in panels]
    said = in_words(panels[0].places[0])
    common = {key for key in lines[0] if all(line.get(key) == lines[0][key] for line in lines)}
    title = conditions_line(panels[0].places[0], but=said.keys() - common)
    if left_out > 0:
        title += f"   (the first {MOST} of {MOST + left_out} sets of conditions; the tables have all)"
    entitle(figure, [plain(title)])
    for panel, axes in zip(panels, grid, strict=False):
        axes.spines[["top", "right"]].set_visible(False)
        own = conditions_line(panel.places[0], but=common | {panel.axis})
        axes.set_title(textwrap.fill(plain(own), int(size[0] / LETTER * 0.85)), loc="left", fontsize=9, color=DARK)
    return figure, list(zip(panels, grid, strict=False))


def entitle(figure: Figure, parts: Sequence[str]) -> None:
    """Gives the figure a title of these parts, each on lines of its own as wide as its axes."""
    inches = figure.axes_width if isinstance(figure, Drawing) else figure.get_figwidth()
    width = int(inches / LETTER * 0.92)
    lines = (textwrap.fill(" ".join(part.split("\n")), width) for part in parts if part)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9, color=DARK)


def mark_void(results: Results, drawn: Sequence[tuple[Panel, Axes]], metric: str | None = None) -> None:
    """Says above each panel where the control failed, in speed or in the metric named, so that nothing is shown."""
    for panel, axes in drawn:
        void = [place for place in panel.places if not results.trusted(place, metric)]
        if void:
            some = panel.axis and len(void) < len(panel.places)
            where = f" at {', '.join(in_words(place)[panel.axis] for place in void)}" if some and panel.axis else ""
            parts = [axes.get_title(loc="left"), f"void{where}: control failed"]
            axes.set_title("\n".join(filter(None, parts)), loc="left", fontsize=9, color=DARK)


def across(panels: int) -> int:
    """Panels in a row: as many as there are, or what fills the rows."""
    return panels if panels <= ACROSS else next((n for n in (4, 3) if panels % n == 0), ACROSS)


def _phrases(panel: Panel) -> dict[str, str]:
    """What is said of all places of the panel."""
    return {key: words for key, words in in_words(panel.places[0]).items() if key != panel.axis}


def add_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Right of the axes, where it hides nothing; the figure grows by what it takes."""
    texts = [textwrap.fill(plain(label), WRAP, subsequent_indent="  ") for label in labels]
    lines = sum(text.count("\n") + 1 for text in texts)
    width, height = figure.get_size_inches()
    columns = math.ceil(lines * 0.175 / (height - 0.3))
    longest = max(len(line) for text in texts for line in text.split("\n"))
    figure.set_size_inches(width + columns * (longest * LETTER + 0.55), height)
    figure.legend(handles, texts, loc="outside right upper", ncols=columns, frameon=False, fontsize=8, handlelength=2.6)


def plain(label: str) -> str:
    """A name as matplotlib must be given it: "$" would begin a formula, a leading "_" would hide it, and a control
    character has no place in an SVG."""
    return " " * label.startswith("_") + re.sub(r"(?<!\\)\$", r"\\$", inert(label))


def featured(results: Results) -> list[str]:
    """The arms that have a colour: all, or of more than ``MANY`` the reference arm, those that most readers know, and
    the fastest and the slowest at the largest size.
    """
    return results.once(("featured",), lambda: _featured(results))


def _featured(results: Results) -> list[str]:
    if len(results.arms) <= MANY:
        return results.arms
    chosen = dict.fromkeys([results.against, *(name for name in USUAL if name in results.arms)])
    place = max(results.conditions, key=lambda one: one.extent)
    speeds = {arm: times.value for arm in results.arms if (times := results.speed_ratio(place, arm))}
    ends = [pick(speeds, key=lambda arm: speeds[arm]) for pick in (max, min)] if speeds else []
    chosen = dict.fromkeys([*list(chosen)[: MANY - len(ends)], *ends])
    return [arm for arm in results.arms if arm in chosen]


def style(results: Results, arm: str) -> dict[str, Any]:
    """Colour, line and marker of an arm, the same in every figure; thin and grey where it is not ``featured``."""
    colourful = featured(results)
    if arm not in colourful:
        return {"color": FAINT, "linestyle": "-", "marker": ".", "markersize": 3, "linewidth": 0.8, "zorder": 1.5}
    return line_style(colourful, arm)


def slots(arms: Sequence[str]) -> dict[str, int]:
    """By arm the number of its look: that of its attention in every run, as far as no other arm has it already."""
    found: dict[str, int] = {}
    for arm in arms:
        own = USUAL.get(arm.split(":")[0].split(" ")[0])
        if own is not None and own not in found.values():
            found[arm] = own
    free = (slot for slot in range(len(arms) + len(COLOURS)) if slot not in found.values())
    return {arm: found[arm] if arm in found else next(free) for arm in arms}


def line_style(arms: Sequence[str], arm: str) -> dict[str, Any]:
    """Colour, line and marker of one of the arms; up to 32 differ in colour or line."""
    slot = slots(arms)[arm]
    cycle = slot // len(COLOURS)
    return {
        "color": COLOURS[slot % len(COLOURS)],
        "linestyle": STROKES[cycle % len(STROKES)],
        "marker": MARKERS[(slot + 3 * cycle) % len(MARKERS)],
        "markersize": 4.5,
        # The first line is the widest, so that lines that coincide all show.
        "linewidth": 1.2 + 1.6 * (1 - arms.index(arm) / len(arms)),
    }


def swatches(
    results: Results, names: Mapping[str, str] = MappingProxyType({}), arms: Sequence[str] | None = None
) -> tuple[list[Any], list[str]]:
    """The lines and names of a legend of these arms, or of all: one for each that is featured, as ``names`` has it, and
    one for all others.
    """
    shown = results.arms if arms is None else arms
    coloured = [arm for arm in featured(results) if arm in shown]
    lines = [legend_line(featured(results), arm) for arm in coloured]
    said = [names.get(arm, arm) for arm in coloured]
    if others := len(shown) - len(coloured):
        lines.append(Line2D([], [], color=FAINT, linewidth=1.2))
        said.append("1 other" if others == 1 else f"{others} others")
    return lines, said


def legend_line(arms: Sequence[str], arm: str) -> Line2D:
    """The line of one of the arms for a legend."""
    return Line2D([], [], **{**line_style(arms, arm), "linewidth": 1.8})


def error(figures: Sequence[Estimate], scale: float = 1.0) -> list[list[float]]:
    """Lengths of the error bars below and above; 0 where the interval is unknown."""
    below = [max(0.0, (f.value - f.low) * scale) if math.isfinite(f.low) else 0.0 for f in figures]
    above = [max(0.0, (f.high - f.value) * scale) if math.isfinite(f.high) else 0.0 for f in figures]
    return [below, above]


def set_ticks(axes: Axes, panel: Panel) -> None:
    """The x axis of a panel along a condition."""
    assert panel.axis is not None
    places = {number(place, panel.axis): show_value(place, panel.axis) for place in panel.places}
    tick_each(axes, list(places), list(places.values()))
    axes.set_xlabel(panel.label)


def tick_each(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """A logarithmic x axis with a tick at each of the places, which rise, and labels where there is room."""
    axes.set_xscale("log", base=2)
    low, width = math.log2(places[0]), math.log2(places[-1] / places[0]) or 1.0
    room = PANEL[0] * 0.75 / 0.085  # letters along the axis
    shown: list[str] = []
    end = -math.inf
    for place, label in zip(places, labels, strict=True):
        middle = (math.log2(place) - low) / width * room
        fits = middle - len(label) / 2 > end + 0.5
        shown.append(label if fits else "")
        end = middle + len(label) / 2 if fits else end
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_major_formatter(FixedFormatter(shown))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def set_log(axes: Axes, name: Literal["x", "y"], ends: tuple[float, float]) -> None:
    """Makes the x or y axis logarithmic, from ``ends[0]`` to ``ends[1]``, with round ticks and no powers of ten."""
    low, high = ends
    margin = max((high / low) ** 0.05, 1.03)
    axes.set(**{f"{name}scale": "log"})
    axes.set(**{f"{name}lim": (low / margin, high * margin)})
    axis = axes.xaxis if name == "x" else axes.yaxis
    decades = math.log10(high / low)
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}" if x < 1e5 else f"{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())
    axes.grid(axis=name, color="#DDDDDD", linewidth=0.6)


def span(figures: Iterable[Estimate]) -> tuple[float, float]:
    """The least and the most of the figures with their intervals."""
    ends = [x for f in figures for x in (f.value, f.low, f.high) if math.isfinite(x) and x > 0]
    return min(ends), max(ends)
