"""Verbs about runs that are done: show."""

from typing import Annotated

import typer

from xbench.cli.app import Many, app, output


@app.command(epilog="Exit code: 0 shown · 2 no such run.")
def show(
    runs: Annotated[
        Many, typer.Argument(help="Folders of runs, or their names in results/runs. Default: list all.")
    ] = None,
) -> None:
    """Lists the runs in results/runs, or shows what the named ones found."""
    from xbench.report.runs import foreign_table, runs_table
    from xbench.report.terminal import show as show_results
    from xbench.runs import find_runs, read_run, run_folder

    console = output()
    if not runs:
        console.print(runs_table(find_runs()))
    for name in runs or []:
        results = read_run(name)
        if results.arms:
            show_results(results, run_folder(name), console)
        else:
            console.print(foreign_table(results.records))
