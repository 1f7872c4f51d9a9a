"""The tables of a run for other documents: as they are shown for LaTeX and Markdown, as numbers for what calculates."""

from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import pandas as pd

from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results
from xbench.errors import UserError
from xbench.report.inert import markdown, one_line
from xbench.report.tables.ability import ability_grids
from xbench.report.tables.grids import Grid, markdown_table, result_grids

# What pdfTeX has no letter for, or another one in its place.
IN_LATEX = {"×": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$", "–": "--", "·": r"$\cdot$", "→": r"$\to$", "…": r"\dots{}"}


def portable(results: Results, form: str) -> bytes:
    """The figures of a run in one of ``FORMS``, a whole file.

    Raises:
        UserError: a library that the form needs is not installed.
    """
    return FORMS[form](results)


def _as_shown(results: Results) -> list[Grid]:
    return [*result_grids(results), *ability_grids(results)]


def _latex(results: Results) -> bytes:
    tables = "\n".join(_latex_table(grid) for grid in _as_shown(results))
    return f"% Made by xbench. Needs \\usepackage{{booktabs}}.\n{tables}".encode()


def _latex_table(grid: Grid) -> str:
    rows = [row if i not in grid.spans else [*row[: grid.names], grid.spans[i]] for i, row in enumerate(grid.rows)]
    cells = [[one_line(cell) for cell in row] + [""] * (len(grid.heads) - len(row)) for row in rows]
    table = pd.DataFrame(cells, columns=pd.RangeIndex(len(grid.heads)))
    styled = table.style.hide(axis="index").format(escape="latex")
    styled = styled.relabel_index([_escaped(head) for head in grid.heads], axis=1)
    sides = "l" * grid.names + "r" * (len(grid.heads) - grid.names)
    found = styled.to_latex(hrules=True, column_format=sides, caption=_escaped(grid.title), position="htb")
    for letter, command in IN_LATEX.items():
        found = found.replace(letter, command)
    return found


def _escaped(text: str) -> str:
    """The text as pandas escapes that of cells."""
    table = pd.DataFrame([[one_line(text)]]).style.hide(axis="index").hide(axis="columns").format(escape="latex")
    return next(line for line in table.to_latex().splitlines() if line.endswith(r"\\")).removesuffix(r"\\").strip()


def _markdown(results: Results) -> bytes:
    tables = [f"**{markdown(grid.title)}**\n\n{markdown_table(grid)}" for grid in _as_shown(results)]
    return ("\n\n".join(["<!-- xbench export -->", *tables]) + "\n").encode()


def _csv(results: Results) -> bytes:
    content = StringIO()
    tidy_frame(results).to_csv(content, index=False)
    return content.getvalue().encode()


def _json(results: Results) -> bytes:
    return (tidy_frame(results).to_json(orient="records", indent=1, force_ascii=False) + "\n").encode()


def _xlsx(results: Results) -> bytes:
    content = BytesIO()
    try:
        tidy_frame(results).to_excel(content, index=False, sheet_name="figures")
    except ImportError:
        raise UserError("--format xlsx needs openpyxl: pip install openpyxl.") from None
    return content.getvalue()


FORMS: dict[str, Callable[[Results], Any]] = {
    "csv": _csv,
    "json": _json,
    "latex": _latex,
    "markdown": _markdown,
    "xlsx": _xlsx,
}
