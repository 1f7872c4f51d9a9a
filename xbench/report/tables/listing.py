"""The table of ``xbench list``."""

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from xbench.attention.registry import AttentionInfo


def list_table(attentions: Sequence[AttentionInfo]) -> Group:
    """A row per attention; what a package brings names it. Below it, why any of them cannot be used."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("attention", "what it is", "paper", "cost in N", "options"):
        # A long list of options leaves room for what the attention is.
        table.add_column(head, overflow="fold", max_width=24 if head == "options" else None)
    for info in attentions:
        what = info.summary.rstrip(".")
        if info.computes:
            what += f"; the function of {info.computes}"
        if info.owner:
            what = f"{what} [{info.owner}]".strip()
        if info.problem:
            what += " cannot be used, see below"
        options = ", ".join(f"{key}={value}" for key, value in info.options.items() if value is not None)
        cost = f"{info.cost}\nmemory {info.memory}" if info.memory else info.cost
        cells = (info.name, what, info.paper, cost, options or "–")
        table.add_row(*map(Text, cells), style="red" if info.problem else None)
    problems = [
        Text(f"{info.name} of {info.owner} cannot be used: {info.problem}", style="red")
        for info in attentions
        if info.problem
    ]
    return Group(table, *problems)
