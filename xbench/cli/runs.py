"""Verbs about runs that are done: show, delete, diff, remake, report, index."""

from pathlib import Path
from typing import Annotated

import typer

from xbench.cli.app import app
from xbench.cli.arguments import ManyValues
from xbench.cli.given import given_name
from xbench.cli.options import Force, Many
from xbench.cli.streams import agree, output
from xbench.errors import UserError
from xbench.files.run_folders import LEDGER
from xbench.files.writing import is_ledger

NAMED = 6  # places that one run alone has
CONTROL_EFFECT = 0.05  # of a control, from which its run's times are void


@app.command(cls=ManyValues, epilog="Exit code: 0 shown · 2 no such run or column.")
def show(
    runs: Annotated[
        Many,
        typer.Argument(help="Folders of runs, or their names in results/runs; last is the newest. Default: all."),
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(
            "--about",
            help="Of all runs those about this: part of a name, an arm, a question or a machine.",
            metavar="TEXT",
        ),
    ] = None,
    columns: Annotated[
        Many, typer.Option("--columns", help="Of the figures these columns, by their heads.", metavar="HEAD…")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="The best first, by the column of this head.", metavar="HEAD")
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="Only so many rows of each table.", metavar="N")] = None,
) -> None:
    """Lists the runs in results/runs, newest first, or shows in detail what the named ones found. Examples:

    xbench show --about xfa

    xbench show results/reports/resolution --columns "img/s" "peak MiB" --sort "img/s" --top 10
    """
    from xbench.analysis.runs import find_runs, read_run, run_folder
    from xbench.report.tables.runs import foreign_table, runs_table
    from xbench.report.terminal import show as show_results
    from xbench.report.terminal import show_part

    console = output()
    if bool(runs) == bool(about) and about is not None:
        raise UserError("--about is of the list of all runs; name either runs or what they are about.")
    if not runs and (columns or sort or top is not None):
        raise UserError("--columns, --sort and --top are of the tables of a run; name it.")
    if not runs:
        console.print(runs_table([run for run in find_runs() if about is None or run.is_about(about)]))
    for name in map(given_name, runs or []):
        results = read_run(name)
        if not results.arms:
            console.print(foreign_table(results.records))
        elif columns or sort or top is not None:
            show_part(results, columns or [], sort, top, console)
        else:
            show_results(results, run_folder(name), console, in_detail=True)


@app.command(epilog="Exit code: 0 deleted · 2 no such run, or not agreed to.")
def delete(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their names in results/runs.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Deletes runs with everything in their folders, after a question. Nothing can bring them back."""
    import shutil

    from xbench.analysis.runs import find_runs, run_folder
    from xbench.report.tables.runs import runs_table

    folders = [_deletable(Path(run), run_folder(given_name(run))) for run in dict.fromkeys(runs)]
    console = output()
    console.print(runs_table([run for folder in folders for run in find_runs(folder)]))
    agree(yes, f"Delete {'this run' if len(folders) == 1 else f'these {len(folders)} runs'}?", "not deleted")
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise UserError(f"cannot delete {folder}: {error.strerror or error}.") from error
        console.print(f"Deleted: {folder}", soft_wrap=True, highlight=False)


def _deletable(given: Path, folder: Path) -> Path:
    """The folder of a run that holds nothing else which matters.

    Raises:
        UserError: a file was named that holds no records; or the folder is a link, no run's, or holds others' work.
    """
    named_otherwise = given.is_file() and not is_ledger(given)
    if named_otherwise or folder.is_symlink() or not (folder / LEDGER).is_file():
        raise UserError(f"{given} is not the folder of a run; name the one that holds {LEDGER}.")
    holds_us = folder.resolve() in (Path.cwd(), *Path.cwd().parents, Path.home())
    if holds_us or (folder / ".git").exists() or len(list(folder.rglob(LEDGER))) > 1:
        raise UserError(f"{folder} holds more than a run; delete what you mean yourself.")
    return folder


@app.command(epilog="Exit code: 0 written · 2 no such run, or its folder cannot be written.")
def remake(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their names in results/runs.")],
    force: Force = False,
) -> None:
    """Makes report.md and the plots of runs again from their records, which stay as they are; measures nothing.

    The figures are the same; words, tables and plots are those of this version of xbench. Example:

        xbench remake results/reports/resolution
    """
    from xbench.analysis.runs import run_folder
    from xbench.files.run_folders import REPORT
    from xbench.report.folder import remake_report

    folders = {run: run_folder(run) for run in map(given_name, runs)}  # a bad name leaves every run as it was
    for run, folder in folders.items():
        plots = remake_report(run, force=force)
        output().print(f"{folder / REPORT} and {len(plots)} plots", soft_wrap=True, highlight=False)


@app.command(epilog="Exit code: 0 written · 2 no such run, or the page cannot be written.")
def report(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their names in results/runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("report.html"),
    show_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    force: Force = False,
) -> None:
    """Writes runs as one web page to send: the answer in words, charts to look into, tables to sort.

    The page is a single file that works without a network. Several runs are sections of it; figures are never compared
    across runs. What is no run is left out, so that results/reports/* may be given. Example:

        xbench report results/reports/resolution -o resolution.html
    """
    from xbench.analysis.runs import among
    from xbench.report.page.page import write_page

    found, others = among([given_name(run) for run in runs])
    write_page(found, out, force=force)
    if others:
        output().print(f"Left out, because they are no runs: {', '.join(others)}.", soft_wrap=True, highlight=False)
    output().print(f"The page: {out}", soft_wrap=True, highlight=False)
    if show_it:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())


@app.command(epilog="Exit code: 0 shown · 2 no such run.")
def diff(
    before: Annotated[str, typer.Argument(help="The folder of a run, or its name in results/runs.")],
    now: Annotated[str, typer.Argument(help="Another one.")],
) -> None:
    """Tells what differs between two runs: first what makes them incomparable, then figures that are others now.

    Exact figures are compared by equality. Times are told with their ratio where machine, libraries and policy are the
    same, and even then no turns were taken: xbench check --against COMMIT lets both sides take turns. Example:

        xbench diff results/reports/ci last
    """
    from rich.text import Text

    from xbench.analysis.runs import read_run
    from xbench.regression.difference import difference
    from xbench.report.check import show_difference

    found = difference(read_run(given_name(before)), read_run(given_name(now)), CONTROL_EFFECT)
    console = output()
    for reason in found.reasons:
        console.print(Text(f"Not the same: {reason}."), soft_wrap=True, highlight=False)
    show_difference(found.findings, console)
    for run, alone in ((before, found.before_alone), (now, found.now_alone)):
        if alone:
            where = dict.fromkeys(f"{place.arm}, {place.conditions.show_extent()}" for place in alone)
            named = "; ".join([*where][:NAMED]) + ("; …" if len(where) > NAMED else "")
            console.print(Text(f"In {run} alone: {len(alone)} figures ({named})."), soft_wrap=True, highlight=False)


@app.command(epilog="Exit code: 0 written · 2 no such folder, no runs in it, or the page cannot be written.")
def index(
    folders: Annotated[Many, typer.Argument(help="Folders that hold runs. Default: results/runs.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("index.html"),
    show_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    force: Force = False,
) -> None:
    """Writes a page of all runs: what each found, on which machine and commit, and what changed over commits.

    Example:

        xbench index results/runs results/reports
    """
    from xbench.files.run_folders import RUNS
    from xbench.report.page.index import write_index

    count = write_index([given_name(folder) for folder in folders or [str(RUNS)]], out, force=force)
    output().print(f"{count} run{'' if count == 1 else 's'}: {out}", soft_wrap=True, highlight=False)
    if show_it:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())
