"""What a finished run prints: the figures, the answer in words, what to hold against it, and where everything lies.

The rest is in report.md: long tables, where the time goes, how it grows, how the counters agree.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from xbench.analysis.results import Results
from xbench.report.tables.ability import ability_grids
from xbench.report.tables.chosen import choose
from xbench.report.tables.grids import Grid, result_grids, rich_table
from xbench.report.tables.modes import mode_grids
from xbench.report.tables.pivot import pivot_grids
from xbench.report.text.answers import answers, caveats
from xbench.report.text.headline import headline
from xbench.report.text.phrases import is_brief
from xbench.wording.numbers import show_seconds

ROWS = 60  # of all tables together, about a screen or two
LEAST = 10  # rows of a table that comes after many


def show(results: Results, folder: Path, console: Console, in_detail: bool = False) -> None:
    """Prints it to a terminal of the console's width; ``folder`` is where the run was saved. ``in_detail`` also every
    sentence that the report has.
    """
    for sentence in headline(results):
        console.print(Text(sentence, style="bold"))
    console.print()
    brief = is_brief(results)
    left = ROWS
    figures = mode_grids(results) or (pivot_grids(results) if brief else []) or result_grids(results)
    for grid in [*ability_grids(results), *figures]:
        show_grid(grid.shortened(max(left, LEAST)), console)
        left -= len(grid.rows)
    console.print()
    for sentence in answers(results) if in_detail else []:
        console.print(Text(sentence))
    for note in caveats(results):
        console.print(Text(note))
    spent = results.overhead
    if spent and not spent["model_seconds"]:
        console.print("Nothing had to be measured: the records were there.")
    elif spent:
        console.print(
            f"{show_seconds(spent['total_seconds'])}: {show_seconds(spent['model_seconds'])} running models, "
            f"{show_seconds(spent['start_seconds'])} starting processes, {spent['share']:.1%} anything else.",
            highlight=False,
        )
    if not in_detail:
        console.print(Text(f"In detail: xbench show {shlex.quote(str(folder))}"), soft_wrap=True)
    console.print(Text(f"Records, report.md and plots: {folder}"), soft_wrap=True)
    console.print(Text(f"A page to send: xbench report {shlex.quote(str(folder))}"), soft_wrap=True)


def show_part(results: Results, columns: Sequence[str], sort: str | None, top: int | None, console: Console) -> None:
    """Prints of the tables of figures what is asked for; see ``tables.chosen.choose``."""
    for grid in choose(result_grids(results), columns, sort, top):
        show_grid(grid, console)


def show_grid(grid: Grid, console: Console) -> None:
    """Prints a table with its title, and below it what stands in place of whole rows."""
    console.print(Text(grid.title, style="bold"))
    if len(grid.spans) < len(grid.rows):
        table = rich_table(grid, console.width)
        console.print(table)
        if left := len(grid.heads) - len(table.columns):
            console.print(
                Text(f"{left} column{'' if left == 1 else 's'} left out for want of room: report.md has all.")
            )
    for row, text in grid.spans.items():
        console.print(Text(f"  {grid.name(row)}: {text}", style="red"))
    for note in grid.notes:
        console.print(Text(note))
