"""What a finished run prints: tables, the answer in words, what to hold against it, and where everything lies."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from xbench.report.answers import answers, caveats
from xbench.report.numbers import show_seconds
from xbench.report.tables import cost_grids, result_grids, rich_table
from xbench.results import Results


def show(results: Results, folder: Path, console: Console) -> None:
    """Prints it all to a terminal of the console's width; ``folder`` is where the run was saved."""
    for grid in [*result_grids(results), *cost_grids(results, results.conditions[-1:])]:
        console.print(Text(grid.title, style="bold"))
        if len(grid.spans) < len(grid.rows):
            console.print(rich_table(grid, console.width))
        for row, text in grid.spans.items():
            console.print(Text(f"  {grid.rows[row][0]}: {text}", style="red"))
        for note in grid.notes:
            console.print(Text(note))
    console.print()
    for sentence in answers(results):
        console.print(Text(sentence, style="bold"))
    for note in caveats(results):
        console.print(Text(note))
    spent = results.overhead
    if spent and not spent["model_seconds"]:
        console.print("Nothing had to be measured: the records were there.")
    elif spent:
        console.print(
            f"{show_seconds(spent['total_seconds'])}: {show_seconds(spent['model_seconds'])} running models, "
            f"{show_seconds(spent['start_seconds'])} starting processes, {spent['share']:.1%} neither.",
            highlight=False,
        )
    console.print(Text(f"Records, report.md and plots: {folder}"), soft_wrap=True)
