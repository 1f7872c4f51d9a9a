"""The plan of a study that ``--dry-run`` prints: every cell with its predicted memory and time, or why it cannot be."""

from rich.console import Console
from rich.text import Text

from xbench.report.tables.grids import make_grids
from xbench.report.terminal import show_grid
from xbench.runner.estimate import Expected, plan_of
from xbench.study.study import Study
from xbench.wording.conditions import Conditions, settings
from xbench.wording.numbers import show_counted, show_number, show_seconds

HEADS = ["MACs", "predicted MiB", "about s a step"]


def show_forecast(study: Study, expected: list[Expected], console: Console) -> None:
    """Prints a table per level and direction, and the time in all."""
    cells = {(one.case.conditions, one.case.arm.label): one for one in expected}
    places = list(dict.fromkeys(one.case.conditions for one in expected))
    arms = list(dict.fromkeys(one.case.arm.label for one in expected))

    def row(place: Conditions, arm: str) -> list[str] | str | None:
        one = cells.get((place, arm))
        return _row(one) if one else None

    for group in settings(places):
        for grid in make_grids(group, arms, HEADS, row, together=True):
            show_grid(grid, console)
    impossible = sum(bool(one.reason) for one in expected)
    held = sum(one.held for one in expected)
    parts = [f"{len(expected)} cells"]
    parts += [f"{held} already measured"] if held else []
    parts += [f"{impossible} impossible"] if impossible else []
    plan = plan_of(study, expected)
    time = f"about {show_seconds(plan.seconds)} to measure the rest"
    training = f", and about {show_seconds(plan.training_seconds)} to train {plan.models} models" if plan.models else ""
    console.print(Text(f"{', '.join(parts)}; {time}{training}."))


def _row(one: Expected) -> list[str] | str:
    if one.reason:
        return one.reason
    if one.held:
        return ["measured", "", ""]
    memory = "–" if one.memory_bytes is None else show_number(one.memory_bytes / 2**20, 3)
    if one.macs is None:
        return ["–", memory, "–"]
    return [show_counted(one.macs), memory, show_number(max(one.seconds, 1e-6), 2)]
