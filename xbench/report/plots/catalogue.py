"""The plots of a comparison, as matplotlib figures made from results alone."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from xbench.analysis.results import Results
from xbench.analysis.runs import machine_name
from xbench.files.writing import DRAWN_BY, write_file
from xbench.report.plots import ability as ability_plots
from xbench.report.plots import accuracy as accuracy_plots
from xbench.report.plots import growth as growth_plots
from xbench.report.plots import metrics as metric_plots
from xbench.report.plots import parts as part_plots
from xbench.report.plots import speed as speed_plots
from xbench.report.plots.panels import entitle, plain
from xbench.report.text.headline import choice, fastest, smallest
from xbench.study.study import PLOTS

SAYS = {"svg": {"Creator": DRAWN_BY, "Date": None}, "png": {"Software": DRAWN_BY}}
DRAWN: dict[str, Callable[[Results], Figure | None]] = {
    "cost": metric_plots.cost,
    "throughput": metric_plots.throughput,
    "latency": metric_plots.latency,
    "device_time": metric_plots.device_time,
    "memory": metric_plots.memory,
    "speed": speed_plots.speed,
    "scaling": growth_plots.scaling,
    "memory_scaling": growth_plots.memory_scaling,
    "threads": growth_plots.threads,
    "training": part_plots.training,
    "breakdown": part_plots.breakdown,
    "roofline": part_plots.roofline,
    "max_batch": metric_plots.max_batch,
    "accuracy": accuracy_plots.accuracy,
    "learning": accuracy_plots.learning,
    "ability": ability_plots.sorted_ability,
    "ability_learning": ability_plots.learning,
    "pareto": ability_plots.pareto,
}
TITLES: dict[str, Callable[[Results], str]] = {
    "speed": partial(fastest, brief=True),
    "memory": smallest,
    "pareto": choice,
}


def plot(results: Results, name: str) -> Figure | None:
    """One of ``study.study.PLOTS``; None where nothing of it was measured. Its title says what was found, where it is
    about that, under which conditions and on which machine.
    """
    figure = DRAWN[name](results)
    if figure is None:
        return None
    found = TITLES[name](results) if name in TITLES else ""
    conditions = figure.get_suptitle()
    on = ", ".join(dict.fromkeys(machine_name(record.machine) for record in results.records if record.machine))
    entitle(figure, [plain(found), " · ".join(filter(None, [conditions, plain(on)]))])
    return figure


def save_plots(results: Results, names: Sequence[str], folder: Path) -> list[Path]:
    """The named plots that the records allow, as NAME.png and NAME.svg in ``folder``; returns the PNG files.

    Raises:
        UserError: the folder cannot be written.
    """
    saved = []
    for name in PLOTS:
        figure = plot(results, name) if name in names else None
        if figure is None:
            # An earlier run into this folder may have drawn what this one did not measure.
            for suffix in ("png", "svg"):
                with suppress(OSError):
                    (folder / f"{name}.{suffix}").unlink()
            continue
        saved.append(save_figure(figure, folder, name))
    return saved


def save_figure(figure: Figure, folder: Path, name: str) -> Path:
    """Writes NAME.png, which is returned, and NAME.svg; both say who drew them, not when: made again they are equal.

    Raises:
        UserError: the folder cannot be written.
    """
    for suffix in SAYS:
        write_file(folder / f"{name}.{suffix}", drawn(figure, name, suffix))
    return folder / f"{name}.png"


def drawn(figure: Figure, name: str, suffix: str) -> bytes:
    """The figure as "svg" or "png"."""
    file = BytesIO()
    with rc_context({"svg.hashsalt": name}):  # else the names within are drawn by chance
        figure.savefig(file, format=suffix, dpi=160, metadata=SAYS[suffix])
    figure.set_layout_engine("none")  # laid out once
    return file.getvalue()
