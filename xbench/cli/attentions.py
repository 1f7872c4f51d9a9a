"""Verbs about the attentions themselves: list, verify, counters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from xbench.cli.app import EXIT_CHECK_FAILED, EXIT_NOTHING_MEASURED, app
from xbench.cli.options import Force, Json, Many
from xbench.cli.streams import output, progress, put
from xbench.errors import UserError
from xbench.files.writing import check_target, write_file

if TYPE_CHECKING:
    from xbench.conformance import Finding


KINDS = ("attentions", "models", "metrics", "modes", "data", "studies", "claims", "baselines")


@app.command("list", epilog="Exit code: 0 listed · 2 bad input.")
def list_what(
    what: Annotated[str, typer.Argument(help=f"What there is of: {', '.join(KINDS)}.")] = "attentions",
    pattern: Annotated[str, typer.Argument(help="Part of the names of models: mobilevit, efficientnet_b*, …")] = "",
) -> None:
    """What there is to be named. The attentions: name, paper, cost in the number of tokens N, options with defaults.

    Others on request, for example:

        xbench list metrics

        xbench list models mobilevit
    """
    from xbench.parsing.axes import one_of
    from xbench.report.tables import listing

    one_of("kind", what, KINDS)
    console = output()
    if what == "attentions":
        from xbench.attention.registry import catalogue_in_full

        console.print(listing.list_table(catalogue_in_full()))
        console.print(
            "Every attention also takes num_heads. Options go into the name: xfa:rank=4,kernel=5", highlight=False
        )
        return
    if what == "models":
        if not pattern:
            raise UserError("timm has more than a thousand models; say which: xbench list models mobilevit")
        table = listing.models_table(pattern)
    else:
        table = {
            "metrics": listing.metrics_table,
            "modes": listing.modes_table,
            "data": listing.data_table,
            "studies": listing.studies_table,
            "claims": listing.claims_table,
            "baselines": listing.baselines_table,
        }[what]()
    if not table.row_count:
        raise UserError(f"there are no {what} here{f' with {pattern!r} in their names' if pattern else ''}.")
    console.print(table)


@app.command(
    epilog="Exit code: 0 nothing fails · 1 something fails · 2 bad input · 4 an attention cannot be judged, because "
    "more than half of the checks were skipped."
)
def verify(
    names: Annotated[Many, typer.Argument(help="Attentions, as in compare --attn. Default: all there are.")] = None,
    as_json: Json = False,
) -> None:
    """Proves that an attention is one: shapes, gradients, saving, compiling, and that its stated cost is true.

    Growth in N is measured in counted work and peak memory, which are exact, not in seconds. Example:

        xbench verify xfa ./mine.py:MyAttention
    """
    from xbench.attention.registry import catalogue
    from xbench.attention.spec import parse_attention

    for name in names or []:
        parse_attention(name)  # one that does not exist is refused once, and not by every check
    chosen = names or sorted(catalogue())
    from xbench.report.tables.verification import json_lines, not_judged, show_findings, summary

    found = _verify(chosen)
    if as_json:
        put(json_lines(found))
    else:
        console = output()
        show_findings(found, console)
        console.print(Text(summary(found), style="bold"))
    if any(finding.outcome == "fail" for finding in found):
        raise typer.Exit(EXIT_CHECK_FAILED)
    if not_judged(found):
        raise typer.Exit(EXIT_NOTHING_MEASURED)


def _verify(names: list[str]) -> "list[Finding]":
    """The findings of every check on every attention; meanwhile says how far it is and what was adapted to what."""
    from xbench.conformance import Candidate, verify

    console = progress()
    found: list[Finding] = []
    for number, name in enumerate(names, start=1):
        with console.status(Text(f"{name} ({number} of {len(names)})")):
            candidate = Candidate(name)
            own = list(verify(candidate))
            mapping = candidate.mapping if all(finding.outcome != "fail" for finding in own) else ""
        if mapping:
            console.print(Text(f"{name}: {mapping}", style="dim"), soft_wrap=True)
        found += own
    return found


@app.command(epilog="Exit code: 0 all counted · 1 an attention cannot be counted or counts as zero · 2 bad input.")
def counters(
    names: Annotated[Many, typer.Argument(help="Attentions, as in compare --attn. Default: all there are.")] = None,
    out: Annotated[Path, typer.Option(help="File for the tables, in Markdown.")] = Path("results/reports/counters.md"),
    force: Force = False,
) -> None:
    """What torch's, fvcore's and ptflops' counters miss in each attention, and the time spent on what none sees."""
    from xbench.attention.registry import catalogue
    from xbench.attention.spec import parse_attention

    chosen = [str(parse_attention(name)) for name in names or sorted(catalogue())]
    check_target(out, force=force)
    from xbench.metrics.counting.coverage import coverage
    from xbench.report.tables.coverage import coverage_report, ratio_grid
    from xbench.report.tables.grids import rich_table

    console = output()
    found = []
    for name in chosen:
        with progress().status(Text(name)):
            found.append(coverage(name))
    write_file(out, coverage_report(found))
    grid = ratio_grid(found)
    console.print(rich_table(grid, console.width))
    for row, problem in grid.spans.items():
        console.print(Text(f"  {grid.rows[row][0]}: {problem}", style="red"))
    console.print(Text(f"With the time that no counter sees: {out}"), soft_wrap=True)
    if grid.spans:
        raise typer.Exit(EXIT_CHECK_FAILED)
