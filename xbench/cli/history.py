"""The past: history."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from xbench.cli.app import app
from xbench.cli.given import given_name
from xbench.cli.options import Force, Many
from xbench.cli.streams import output


@app.command(epilog="Exit code: 0 shown, whatever changed · 2 no such run.")
def history(
    runs: Annotated[
        Many, typer.Argument(help="Folders of runs, or their names in results/runs. Default: all in results/runs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the charts.")] = Path("results/runs/history"),
    force: Force = False,
) -> None:
    """Draws every case over commits with its intervals, and lists where figures changed. Advisory.

    Commits are in the order of git, or of time where this checkout does not know them. Example:

        xbench history results/runs results/reports -o charts
    """
    from xbench.analysis.history import changes, histories
    from xbench.analysis.runs import ledgers
    from xbench.files.writing import check_target
    from xbench.records.ledger import read_records
    from xbench.report.history import chart_names, save_histories, show_history

    series = histories(read_records(ledgers(*map(given_name, runs or []))))
    for name in chart_names(series):
        check_target(out / name, force=force)
    found = changes(series)
    console = output()
    show_history(series, found, console)
    saved = save_histories(series, found, out)
    if saved:
        console.print(Text(f"Charts: {', '.join(map(str, saved))}"), soft_wrap=True)
