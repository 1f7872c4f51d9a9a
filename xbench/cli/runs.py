"""Verbs about runs that are done: show, remake, report."""

from pathlib import Path
from typing import Annotated

import typer

from xbench.cli.app import app
from xbench.cli.given import given_name
from xbench.cli.options import Force, Many
from xbench.cli.streams import output


@app.command(epilog="Exit code: 0 shown · 2 no such run.")
def show(
    runs: Annotated[
        Many, typer.Argument(help="Folders of runs, or their names in results/runs. Default: list all.")
    ] = None,
) -> None:
    """Lists the runs in results/runs, or shows what the named ones found."""
    from xbench.analysis.runs import find_runs, read_run, run_folder
    from xbench.report.tables.runs import foreign_table, runs_table
    from xbench.report.terminal import show as show_results

    console = output()
    if not runs:
        console.print(runs_table(find_runs()))
    for name in map(given_name, runs or []):
        results = read_run(name)
        if results.arms:
            show_results(results, run_folder(name), console)
        else:
            console.print(foreign_table(results.records))


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
    force: Force = False,
) -> None:
    """Writes runs as one web page to send: the answer in words, charts to look into, tables to sort.

    The page is a single file that works without a network. Several runs are sections of it; figures are never compared
    across runs. Example:

        xbench report results/reports/resolution -o resolution.html
    """
    from xbench.report.page.page import write_page

    write_page([given_name(run) for run in runs], out, force=force)
    output().print(f"The page: {out}", soft_wrap=True, highlight=False)
