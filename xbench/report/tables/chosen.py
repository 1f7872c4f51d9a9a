"""A part of a table, as a reader asks for it: some columns, sorted by one of them, the first rows."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from xbench.errors import UserError, unknown_name
from xbench.metrics.definitions import METRICS
from xbench.report.tables.grids import COLUMNS, Grid

NUMBER = re.compile(r"[≥≤]?\s*(?P<sign>[−-]?)(?P<digits>[\d,]*\.?\d+)\s*(?P<prefix>[kMGT]?)(?:i?B)?\b")
PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def choose(grids: Sequence[Grid], columns: Sequence[str], sort: str | None, top: int | None) -> list[Grid]:
    """The tables with these columns alone, the best by ``sort`` first, and at most ``top`` rows of each.

    Raises:
        UserError: no table has such a column, or ``top`` is not above 0.
    """
    if top is not None and top < 1:
        raise UserError(f"--top must be at least 1, not {top}.")
    heads = list(dict.fromkeys(head for grid in grids for head in grid.heads[grid.names :]))
    for name in [*columns, *([sort] if sort else [])]:
        if name not in heads:
            raise unknown_name("column", name, heads)
    return [_part(grid, columns, sort, top) for grid in grids]


def _part(grid: Grid, columns: Sequence[str], sort: str | None, top: int | None) -> Grid:
    order = list(range(len(grid.rows)))
    if sort in grid.heads:
        at, falling = grid.heads.index(sort), _more_is_better(sort)
        order.sort(key=lambda row: _rank(grid.rows[row][at], falling))
    order = order[:top]
    kept = [*range(grid.names), *(grid.heads.index(name) for name in columns if name in grid.heads)]
    shown = kept if columns else range(len(grid.heads))
    spans = {new: grid.spans[old] for new, old in enumerate(order) if old in grid.spans}
    rows = [[grid.rows[row][i] for i in shown] for row in order]
    return replace(grid, heads=[grid.heads[i] for i in shown], rows=rows, spans=spans)


def _more_is_better(head: str) -> bool:
    """A time's ratio is one of speed, of which more is better, only where the column says so."""
    found = (column for own in COLUMNS.values() for column in own if column.head == head.replace("seq/s", "img/s"))
    column = next(found, None)
    return column is not None and METRICS[column.metric].better == "higher"


def _rank(text: str, falling: bool) -> tuple[bool, float]:
    """Numbers by their value, what is none last."""
    match = NUMBER.match(text)
    if match is None:
        return True, math.inf
    value = float(match["digits"].replace(",", "")) * PREFIXES[match["prefix"]]
    value = -value if match["sign"] else value
    return False, -value if falling else value
