"""The table of ``xbench show``: the runs there are, newest first."""

from collections.abc import Sequence
from itertools import chain, count
from string import ascii_uppercase

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from xbench.analysis.figures import figures, place_of
from xbench.analysis.runs import RunInfo
from xbench.records.record import Record
from xbench.study.request import QUESTION
from xbench.wording.numbers import show_estimate, show_seconds


def runs_table(runs: Sequence[RunInfo]) -> Group:
    """A row per run: what was compared where, and how much there is of it. Below, on which machines they ran.

    Figures are those of one arm, set of conditions and metric; the time is local.
    """
    if not runs:
        return Group(Text("No runs here yet. xbench compare makes one."))
    machines = list(dict.fromkeys(run.machine for run in runs if run.machine))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    words = [len(word) for run in runs for arm in run.arms for word in f"{arm},".split()]
    for head in ("run", "when", "what", "at"):
        widest = min(14, max(words, default=0)) if head == "what" else None  # so that no name of an arm is broken
        table.add_column(head, overflow="fold", no_wrap=head == "when", min_width=widest)
    for head in ("figures", "launches", "took"):
        table.add_column(head, justify="right")
    if len(machines) > 1:
        table.add_column("on", no_wrap=True)
    letters = dict(zip(machines, chain(ascii_uppercase, map(str, count(1))), strict=False))
    for run in runs:
        figures = f"{run.ok}, {run.failed} failed" if run.failed else f"{run.ok}"
        took = "–" if run.seconds is None else show_seconds(run.seconds)
        facts = (", ".join(run.sizes), figures, str(run.launches or "–"), took, letters.get(run.machine, ""))
        cells = (
            run.path.name,
            f"{run.when.astimezone():%Y-%m-%d %H:%M}",
            _what(run),
            *(facts if run.arms else [""] * 5),
        )
        table.add_row(*map(Text, cells[: len(table.columns)]), style="red" if run.problem else None)
    where = "All on {machine}." if len(machines) == 1 else "{letter}: {machine}"
    return Group(table, *(Text(where.format(letter=letters[name], machine=name)) for name in machines))


def foreign_table(records: Sequence[Record]) -> Group:
    """The times of benchmarks that were imported from another suite, each on its own; and why others have none."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("benchmark", overflow="fold")
    for head in ("ms", "samples"):
        table.add_column(head, justify="right")
    for figure in figures(records):
        table.add_row(Text(figure.name), show_estimate(figure.estimate.times(1e3)), f"{len(figure.samples):,}")
    without = [record for record in records if record.case and not record.samples]
    return Group(table, *(Text(f"{r.case['arm']} · {place_of(r.case)}: {r.reason}") for r in without))


def _what(run: RunInfo) -> str:
    """The arms, and the question where somebody wrote one; or why nothing is known."""
    own = run.question if run.question != QUESTION else ""
    return run.problem or "\n".join(filter(None, [", ".join(run.arms), own]))
