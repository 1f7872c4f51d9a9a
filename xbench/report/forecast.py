"""The plan of a study that ``--dry-run`` prints: every cell with its predicted memory and time, or why it cannot be."""

from rich.console import Console
from rich.text import Text

from xbench.forecast import Expected, total_seconds
from xbench.report.conditions import conditions_line
from xbench.report.numbers import show_count, show_number, show_seconds
from xbench.report.tables import Grid, rich_table
from xbench.study import Study


def show_forecast(study: Study, expected: list[Expected], console: Console) -> None:
    """Prints a table per set of conditions, and the time in all."""
    by_conditions: dict[str, list[Expected]] = {}
    for one in expected:
        by_conditions.setdefault(conditions_line(one.case.conditions), []).append(one)
    for title, group in by_conditions.items():
        console.print(Text(title, style="bold"))
        rows = [_row(one) for one in group]
        console.print(rich_table(Grid("", ["arm", "MACs", "predicted MiB", "about s a step"], rows, {}), console.width))
        for one in group:
            if one.reason:
                console.print(Text(f"  {one.case.arm.label}: {one.reason}", style="red"))
    impossible = sum(bool(one.reason) for one in expected)
    held = sum(one.held for one in expected)
    parts = [f"{len(expected)} cells"]
    parts += [f"{held} already measured"] if held else []
    parts += [f"{impossible} impossible"] if impossible else []
    console.print(
        Text(f"{', '.join(parts)}; about {show_seconds(total_seconds(study, expected))} to measure the rest.")
    )


def _row(one: Expected) -> list[str]:
    if one.reason:
        return [one.case.arm.label, "–", "–", "–"]
    if one.held:
        return [one.case.arm.label, "measured", "", ""]
    memory, seconds = show_number(one.memory_bytes / 2**20, 3), show_number(max(one.seconds, 1e-6), 2)
    return [one.case.arm.label, show_count(one.macs), memory, seconds]
