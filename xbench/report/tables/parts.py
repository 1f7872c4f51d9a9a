"""The table of ``xbench summary``."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from xbench.metrics.summary import Part
from xbench.statistics.estimates import Estimate
from xbench.wording.numbers import show_counted, show_mib


def parts_table(parts: Sequence[Part]) -> Table:
    """A row for each part, in the order in which they run; the whole model last."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("part", "kind", "gives"):
        table.add_column(head, overflow="fold")
    for head in ("params", "MACs", "gives MiB", "time"):
        table.add_column(head, justify="right")
    for part in sorted(parts, key=lambda part: part.name == ""):
        inner = "  " * part.name.count(".")
        table.add_row(
            Text(f"{inner}{part.name}" or "model"),
            Text(part.kind),
            Text(part.shape),
            show_counted(Estimate.exact(part.params)),
            show_counted(Estimate.exact(part.macs)),
            show_mib(part.output_bytes / 2**20),
            f"{part.share:.0%}" if part.share >= 0.005 else "<1%",
            style=None if part.name else "bold",
        )
    return table
