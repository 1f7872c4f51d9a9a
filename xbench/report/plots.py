"""The plots of a comparison, as matplotlib figures made from results alone.

One resolution gives bars, several give lines on log axes. Intervals are drawn as error bars.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from xbench.results import Results
from xbench.study import show_img_size

# Okabe and Ito's colours, told apart by most colour-blind readers; grey is left for what carries no meaning.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
MARKERS = "osD^vP*X"

PLOTS = {
    "cost": ("macs", "multiply–accumulates per image [GMACs]", 1e-9),
    "throughput": ("throughput", "throughput [images per second]", 1.0),
    "latency": ("latency", "latency at batch 1 [ms]", 1.0),
    "device_time": ("device_time", "device time of a batch, cold L2 [ms]", 1.0),
    "memory": ("peak_memory", "peak memory [MiB]", 1.0),
}


def plot(results: Results, name: str) -> Figure | None:
    """One of ``PLOTS``, with axes for each set of conditions other than resolution; None where nothing was measured."""
    metric, label, scale = PLOTS[name]
    if metric not in results.metrics:
        return None
    series = _series(results)
    columns = len(series)
    figure = Figure(figsize=(max(5.2, 4.6 * columns), 3.6), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, sharey=True)
    for axis, (title, conditions) in zip(axes[0], series.items(), strict=True):
        if len(conditions) == 1:
            _bars(axis, results, conditions[0], metric, scale)
        else:
            _lines(axis, results, conditions, metric, scale)
        axis.set_title(title, fontsize=9, loc="left", color="#444444")
    axes[0][0].set_ylabel(label)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _series(results: Results) -> dict[str, list[dict]]:
    """Conditions that differ only in resolution, under a title that says the rest."""
    found: dict[str, list[dict]] = {}
    for c in results.conditions:
        title = f"XFormer-{c['size']}, patch {c['patch_size']}, batch {c['batch']}, {c['dtype']}, {c['device']}"
        threads = f", {c['threads']} threads" if c["threads"] > 1 else ", 1 thread"
        found.setdefault(title + threads, []).append(c)
    return found


def _bars(axis: Axes, results: Results, conditions: dict, metric: str, scale: float) -> None:
    for i, arm in enumerate(results.arms):
        cell = results.cell(conditions, arm, metric)
        if cell is None or cell.figure is None:
            axis.annotate(cell.status if cell else "–", (i, 0), ha="center", va="bottom", color="#888888")
            continue
        value, low, high = (x * scale for x in (cell.figure.value, cell.figure.low, cell.figure.high))
        axis.bar(i, value, width=0.6, color=_colour(results, arm))
        if high > low:
            axis.errorbar(i, value, [[value - low], [high - value]], color="#222222", capsize=4)
        axis.annotate(
            f"{value:,.3g}" if value < 1000 else f"{value:,.0f}",
            (i, max(value, high if high > low else 0)),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
        )
    axis.set_xticks(range(len(results.arms)), results.arms, rotation=20 if len(results.arms) > 3 else 0)
    axis.set_xlabel(f"attention or model, at {show_img_size(conditions['img_size'])} pixels")
    axis.margins(y=0.12)
    axis.set_ylim(bottom=0)


def _lines(axis: Axes, results: Results, conditions: list[dict], metric: str, scale: float) -> None:
    for i, arm in enumerate(results.arms):
        cells = [(c, results.cell(c, arm, metric)) for c in conditions]
        points = [(_side(c), cell.figure) for c, cell in cells if cell and cell.figure]
        missing = [f"{cell.status} at {show_img_size(c['img_size'])}" for c, cell in cells if cell and not cell.figure]
        label = f"{arm} ({', '.join(missing)})" if missing else arm
        sides = [side for side, _ in points]
        values = [figure.value * scale for _, figure in points]
        below = [max(0.0, (f.value - f.low) * scale) if f.low == f.low else 0.0 for _, f in points]
        above = [max(0.0, (f.high - f.value) * scale) if f.high == f.high else 0.0 for _, f in points]
        axis.errorbar(
            sides,
            values,
            [below, above],
            label=label,
            color=_colour(results, arm),
            marker=MARKERS[i % len(MARKERS)],
            markersize=4.5,
            # The first line is the widest, so that lines that coincide all show.
            linewidth=1.2 + 1.6 * (1 - i / len(results.arms)),
            capsize=3,
        )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks([_side(c) for c in conditions], [show_img_size(c["img_size"]) for c in conditions])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axis.set_xlabel("resolution [pixels a side]")
    if len(results.arms) > len(MARKERS):
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        axis.legend(frameon=False, fontsize=9)


def _side(conditions: dict) -> float:
    """Side of the square with as many pixels."""
    height, width = conditions["img_size"]
    return (height * width) ** 0.5


def _colour(results: Results, arm: str) -> str:
    return COLOURS[results.arms.index(arm) % len(COLOURS)]


def save_plots(results: Results, names: Sequence[str], folder: Path) -> list[Path]:
    """The named plots that the records allow, as NAME.png and NAME.svg in ``folder``; returns the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for name in PLOTS:
        figure = plot(results, name) if name in names else None
        if figure is None:
            # An earlier run into this folder may have drawn what this one did not measure.
            for suffix in ("png", "svg"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            continue
        for suffix in ("png", "svg"):
            figure.savefig(folder / f"{name}.{suffix}", dpi=160)
        saved.append(folder / f"{name}.png")
    return saved
