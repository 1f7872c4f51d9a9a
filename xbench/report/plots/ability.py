"""What attentions can do on made-up tasks, drawn: sorted, as it was learnt, and against what it costs."""

import math
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xbench.analysis.ability import Ability, abilities, ability, guess, guess_of_all, probed
from xbench.analysis.pareto import Front, fronts
from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.report.plots.panels import DARK, GREY, error, plain, set_log
from xbench.report.text.ability import name_cost
from xbench.study.conditions import Conditions
from xbench.wording.conditions import conditions_line, in_words

ROW = 0.24  # inches of an arm
SHADES = ("#08306B", "#2171B5", "#6BAED6", "#C6DBEF")  # few pairs to many
FRONT, TASKS = "#D55E00", ("#0072B2", "#D55E00")
ACROSS = 6  # small multiples in a row
CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (3, 2))}


def sorted_ability(results: Results) -> Figure | None:
    """Right answers by number of pairs, the best arm on top; dotted lines where naming the commonest value ends."""
    places = probed(results)
    if not places:
        return None
    rows = max(len(abilities(results, place, task)) for task, place in places)
    figure = Figure(figsize=(0.6 + 4.2 * len(places), 1.1 + ROW * rows), layout="constrained")
    drawn = figure.subplots(1, len(places), squeeze=False)[0]
    for axes, (task, place) in zip(drawn, places, strict=True):
        found = abilities(results, place, task)
        ranked = sorted(found, key=lambda arm, found=found: found[arm].mean.value)  # type: ignore[misc]
        pairs = list(next(iter(found.values())).by_pairs)
        for k, number in enumerate(pairs):
            shares = [found[arm].by_pairs[number] for arm in ranked]
            shade = SHADES[round(k * (len(SHADES) - 1) / max(1, len(pairs) - 1))]
            look: dict[str, Any] = {"fmt": "o", "markersize": 5.5, "color": shade, "elinewidth": 1.0}
            axes.errorbar([s.value for s in shares], range(len(ranked)), xerr=error(shares), label=f"{number}", **look)
            axes.axvline(guess(task, number)[1], color=shade, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        axes.axvline(guess_of_all(task, pairs)[0], **CHANCE)
        axes.set_yticks(range(len(ranked)), [_label(results, arm, found[arm]) for arm in ranked], fontsize=8)
        axes.set_xlim(-2, 103)
        axes.set_xlabel("right answers [%]")
        axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"{METRICS[task].label.capitalize()}\n{_where(place)}", loc="left", fontsize=9, color=DARK)
    handles, labels = drawn[0].get_legend_handles_labels()
    handles.append(Line2D([], [], **CHANCE))
    figure.legend(
        handles,
        [*(f"{label} pairs" for label in labels), "blind guess"],
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=8,
    )
    return figure


def _label(results: Results, arm: str, own: Ability) -> str:
    return plain(results.marked(arm)) + ("" if own.decided else " (still rising)")


def _where(place: Conditions) -> str:
    return plain(conditions_line(place, but=("batch", "dtype", "threads", "direction")))


def learning(results: Results) -> Figure | None:
    """Right answers in validation against steps, a small picture for each arm: every seed, a colour for each task."""
    places = probed(results)
    if not places:
        return None
    means: dict[str, float] = {}
    for arm in results.arms:
        found = [own.mean.value for task, place in places if (own := ability(results, place, arm, task))]
        if found:
            means[arm] = fmean(found)
    arms = sorted(means, key=lambda arm: -means[arm])
    columns = min(ACROSS, len(arms))
    rows = math.ceil(len(arms) / columns)
    figure = Figure(figsize=(1.9 * columns + 0.4, 1.45 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for unused in grid[len(arms) :]:
        unused.remove()
    for axes, arm in zip(grid, arms, strict=False):
        for k, (task, place) in enumerate(places):
            own = ability(results, place, arm, task)
            colour = TASKS[k % len(TASKS)]
            for steps, shares in own.curves if own else []:
                axes.plot(steps, shares, color=colour, linewidth=1.1, alpha=0.8)
            if own:
                axes.axhline(guess_of_all(task, list(own.by_pairs))[1], **{**CHANCE, "color": colour, "linewidth": 0.7})
        axes.set_title(plain(arm), fontsize=8, loc="left", color=DARK)
        axes.set_ylim(0, 103)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("steps", fontsize=8)
    figure.supylabel("validation, right answers [%]", fontsize=8)
    names = [METRICS[task].label + (f", {_where(place)}" if len(places) > 2 else "") for task, place in places]
    lines = [Line2D([], [], color=TASKS[k % len(TASKS)]) for k in range(len(places))]
    figure.legend(
        [*lines, Line2D([], [], **CHANCE)],
        [*names, "commonest value"],
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    return figure


def pareto(results: Results) -> Figure | None:
    """What is reached against what it costs: the front named and joined, dominated arms small and grey."""
    found = [front for front in fronts(results) if front.metric != "params"]
    if not found:
        return None
    tasks = list(dict.fromkeys((front.task, front.trained) for front in found))
    columns = max(sum((front.task, front.trained) == task for front in found) for task in tasks)
    figure = Figure(figsize=(4.3 * columns, 3.5 * len(tasks)), layout="constrained")
    grid = figure.subplots(len(tasks), columns, squeeze=False)
    for row, task in zip(grid, tasks, strict=True):
        own = [front for front in found if (front.task, front.trained) == task]
        for axes in row[len(own) :]:
            axes.remove()
        for axes, front in zip(row, own, strict=False):
            _draw(results, axes, front)
    return figure


def _draw(results: Results, axes: Axes, front: Front) -> None:
    best = {point.arm for point in front.best}
    scale, prefix = _scale(front)
    for point in front.points:
        cost = point.cost.times(1 / scale)
        look: dict[str, Any] = {"fmt": "o", "markersize": 4, "color": "#BBBBBB", "zorder": 1}
        if point.arm in best:
            look |= {"markersize": 6, "color": FRONT, "zorder": 3}
        elif point.dominated_by is None:
            look |= {"color": DARK, "zorder": 2, "markerfacecolor": "white"}
        look |= {"xerr": error([cost]), "yerr": error([point.worth]), "elinewidth": 0.9}
        axes.errorbar(cost.value, point.worth.value, **look)
        named = point.arm in best or len(front.points) <= 12
        if named:
            colour = FRONT if point.arm in best else DARK
            axes.annotate(
                plain(point.arm),
                (cost.value, point.worth.value),
                xytext=(5, -9),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
    joined: dict[str, Any] = {"color": FRONT, "linewidth": 1, "alpha": 0.6, "zorder": 1}
    axes.plot([point.cost.value / scale for point in front.best], [point.worth.value for point in front.best], **joined)
    costs = [point.cost.value / scale for point in front.points]
    set_log(axes, "x", (min(costs), max(costs) if max(costs) > min(costs) else 2 * min(costs)))
    unit = {"time": "ms", "memory": "MiB"}.get(name_cost(front.metric), prefix)
    axes.set_xlabel(f"{name_cost(front.metric)}{f' [{unit}]' if unit else ''}, {in_words(front.place)['extent']}")
    axes.set_ylabel(f"{METRICS[front.task].label} [%]")
    axes.grid(color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    title = f"{METRICS[front.task].label.capitalize()} against {name_cost(front.metric)}"
    axes.set_title(title, loc="left", fontsize=9, color=DARK)


def _scale(front: Front) -> tuple[float, str]:
    """What a count is divided by, and the prefix that stands for it."""
    most = max(point.cost.value for point in front.points)
    if front.metric != "macs" or most < 1e6:
        return 1.0, ""
    return (1e9, "G") if most >= 1e9 else (1e6, "M")
