"""The folder that a reader opens: report.md and the plots, made from results alone, at any time."""

from collections.abc import Sequence
from pathlib import Path

from xbench.analysis.results import Results
from xbench.analysis.runs import question_of, read_run, run_folder
from xbench.errors import UserError
from xbench.files.run_folders import REPORT
from xbench.files.writing import check_target, write_file
from xbench.report.markdown import markdown_report
from xbench.report.pictures import take_pictures
from xbench.report.plots.catalogue import save_plots
from xbench.study.study import PLOTS


def write_report(results: Results, question: str, command: str, plots: Sequence[str], folder: Path) -> list[Path]:
    """Writes ``folder``/report.md and the named plots that the results allow, and returns the files of the plots.

    Args:
        question: what the report answers, its title.
        command: what makes the records again; empty where nobody knows.
        plots: of ``study.study.PLOTS``. Others that an earlier report left in the folder are deleted.

    Raises:
        UserError: the folder cannot be written.
    """
    saved = save_plots(results, plots, folder / "plots")
    seen = take_pictures(results, folder)
    write_file(folder / REPORT, markdown_report(results, question, command, saved, folder, seen))
    return saved


def remake_report(run: str | Path, question: str = "", plots: Sequence[str] = (), *, force: bool = False) -> list[Path]:
    """Writes report.md and plots of a run again, from its records; see ``write_report``.

    Args:
        run: as for ``analysis.runs.run_folder``.
        question: the one that it recorded, where none is given; else the one of its report, or the name of its study.
        plots: those that lie in its folder, where none are named; else all that its records allow.
        force: replaces also a report.md of somebody else.

    Raises:
        UserError: there is no such run, or none that a report is made of; its folder cannot be written, or holds a
            report.md of somebody else.
    """
    folder, results = run_folder(run), read_run(run)
    if not results.arms:
        raise UserError(f"{run} holds times of another suite, of which no report is made; xbench show lists them.")
    check_target(folder / REPORT, force=force)
    question = question or question_of(run, results)
    command = (results.overhead or {}).get("command", "")
    drawn = [name for name in PLOTS if (folder / "plots" / f"{name}.png").exists()]
    return write_report(results, question, command, plots or drawn or PLOTS, folder)
