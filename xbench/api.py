"""From Python what the command line does: ``xbench.compare(attn=["xfa", "mhsa"], res=[1024])``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results
from xbench.errors import UserError, unknown_name
from xbench.files.run_folders import LEDGER, REPORT, results_folder
from xbench.files.temporary import scratch
from xbench.files.writing import check_target
from xbench.records.ledger import Ledger
from xbench.report.folder import write_report
from xbench.report.inert import InertConsole
from xbench.report.live import Display
from xbench.report.plots.catalogue import plot
from xbench.report.text.answers import answers, caveats
from xbench.report.text.headline import headline
from xbench.runner.estimate import Expected
from xbench.runner.progress import RunLimits
from xbench.runner.runner import Runner
from xbench.study.request import StudyRequest, current_names, make_study
from xbench.study.study import PLOTS, Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(repr=False)
class Comparison:
    """What a run measured, and where it lies.

    Attributes:
        results: figures, ratios and intervals, made from the records.
        folder: holds records.jsonl, report.md and the plots.
        error: why the run ended early, if it did; what was finished before is in ``results`` all the same.
    """

    study: Study
    results: Results
    folder: Path
    error: BaseException | None = None
    plots: list[Path] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([*self.headline, *self.answers, f"Records, report.md and plots: {self.folder}"])

    def _repr_html_(self) -> str:
        return self.frame._repr_html_()  # type: ignore[operator]

    @property
    def frame(self) -> "pd.DataFrame":
        """One row per conditions, arm and metric, with intervals and ratios; see ``analysis.frame.tidy_frame``."""
        return tidy_frame(self.results)

    @property
    def ratios(self) -> "pd.DataFrame":
        """The rows of ``frame`` that compare an arm with the reference arm."""
        frame = self.frame
        others = frame["ratio"].notna() & (frame["arm"] != self.results.against)
        absolute = ["unit", "value", "low", "high", "status", "reason"]
        return frame[others].drop(columns=absolute).reset_index(drop=True)

    @property
    def headline(self) -> list[str]:
        """The answer in at most three sentences: what is fastest, what is smallest, what to choose."""
        return headline(self.results)

    @property
    def answers(self) -> list[str]:
        """The answer in plain words, a sentence per pair, and what to hold against it."""
        return answers(self.results) + caveats(self.results)

    def plot(self, name: str) -> "Figure | None":
        """The matplotlib figure of one of ``study.study.PLOTS``; None where nothing of it was measured or another
        says the same.

        Raises:
            UserError: unknown name.
        """
        if name not in PLOTS:
            raise unknown_name("plot", name, PLOTS)
        return plot(self.results, name)


def compare(
    attn: Sequence[str] = (),
    res: Sequence[int | str | tuple[int, int]] = (),
    *,
    out: str | Path | None = None,
    limits: RunLimits | None = None,
    quiet: bool = False,
    **axes: Any,
) -> Comparison:
    """Compares attentions in one skeleton, as ``xbench compare`` does, and saves records, report and plots.

    Args:
        attn: spec strings of attentions, the first being the reference.
        res: image sizes in pixels: 1024, "512x1024" or (512, 1024), height first.
        out: folder for the results; a new one under ``results/runs`` where none is given.
        limits: what the run may use.
        quiet: shows nothing meanwhile.
        axes: everything else that ``study.request.StudyRequest`` holds: tokens, model, reference, level, direction,
            mode, policy, patch, size, batch, dtype, device, threads, metrics, plots, quick, images, data and so on.

    A run interrupted from the keyboard returns what it has, with the interrupt in ``error``.

    Raises:
        UserError: bad input, or a results folder that cannot be written.
    """
    study = make_study(StudyRequest(attn, res, **current_names(axes, "argument of compare")))
    console = InertConsole(stderr=True, quiet=quiet)
    comparison = measure(study, Path(out) if out else None, console=console, limits=limits)
    if isinstance(comparison.error, UserError):
        raise comparison.error
    return comparison


def forecast(study: Study, folder: Path | None, limits: RunLimits | None = None) -> list[Expected]:
    """What ``measure`` would do, found on paper; nothing is written. What ``folder`` holds needs no measuring."""
    with scratch() as empty:
        where = folder if folder is not None and (folder / LEDGER).exists() else empty
        return Runner(study, Ledger(where / LEDGER), limits=limits).forecast()


def measure(
    study: Study, folder: Path | None, *, console: Console, limits: RunLimits | None = None, command: str = ""
) -> Comparison:
    """Runs a study, shows it on ``console`` meanwhile, and writes records, report and plots into ``folder``.

    A run that is interrupted or can no longer write gives what it has, with the reason in ``error``.

    Raises:
        UserError: the largest batch is asked for, and not the memory that it is to fit into; ``folder`` cannot be
            written, or holds a report.md of somebody else.
    """
    if "max_batch" in study.metrics and study.device == "cpu" and not (limits and limits.memory_bytes):
        raise UserError("metric 'max_batch' needs the memory that a batch is to fit into: --memory-limit SIZE.")
    if folder is not None:
        check_target(folder / REPORT)
    with results_folder(study.name, folder) as place:
        ledger = Ledger(place / LEDGER)
        error: BaseException | None = None
        with Display(study, console) as display, ledger.alone(display.waiting):
            runner = Runner(study, ledger, display, limits)
            for step in (runner.run, lambda: runner.finish(command)):
                try:
                    step()
                except (KeyboardInterrupt, UserError) as end:
                    error = error or end
        comparison = Comparison(study, runner.results(), place, error)
        if comparison.results.arms:
            try:
                comparison.plots = write_report(comparison.results, study.question, command, study.plots, place)
            except (KeyboardInterrupt, UserError) as end:
                comparison.error = error or end
        return comparison
