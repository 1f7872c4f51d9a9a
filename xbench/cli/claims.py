"""Replaying what papers say: claims."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xbench.cli.app import app
from xbench.cli.arguments import ManyValues, command_line
from xbench.cli.given import given_file, given_name
from xbench.cli.options import OUTPUT, Force, Json, Many, Quick, WorkerLimits, option, spread
from xbench.cli.streams import output, progress, put
from xbench.cli.trust import Trust, allow
from xbench.files import shipped
from xbench.files.writing import check_target, write_file
from xbench.signals import InterruptedRunError

if TYPE_CHECKING:
    from xbench.claims.replay import Evidence
    from xbench.runner.progress import RunLimits
    from xbench.study.study import Study

XFORMER = Path("xformer")


@app.command(
    cls=ManyValues, epilog="Exit code: 0 replayed, whatever came of it · 2 bad input · 128 + n ended by signal n."
)
@spread
def claims(
    file: Annotated[Path, typer.Argument(help="Claims: a TOML file, or a name that comes with xbench.")] = XFORMER,
    source: Annotated[
        Many, typer.Option("--from", help="Runs to read: folders, or names in results/runs. Default: results/reports.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Measure what no run has; may take long.")] = False,
    *,
    quick: Quick = False,
    limits: WorkerLimits,
    out: Annotated[Path, option(OUTPUT, "Folder for what --run measures.", takes="FOLDER")] = Path(
        "results/runs/claims"
    ),
    markdown: Annotated[Path | None, option(OUTPUT, "Also write a page in Markdown.", takes="FILE")] = None,
    as_json: Json = False,
    trust: Trust = False,
    force: Force = False,
) -> None:
    """Replays what a paper claims: each claim is reproduced, not reproduced, or not testable here and why.

    Parameters and multiply-accumulates are counted anew, times and memory are read from runs.

    The comment at the top of xbench/shipped/studies/claims/xformer.toml says how a claim is written.
    """
    from xbench.claims.claim import load_claims
    from xbench.claims.replay import missing, on_paper, read_evidence, replay, studies_for
    from xbench.report.claims import claims_json, claims_page, show_claims

    allowed = limits.checked()
    if markdown is not None:
        check_target(markdown, force=force)
    named, file = file, shipped.find(shipped.CLAIMS, given_file(file))
    said = load_claims(file)
    allow([arm for claim in said for trial in claim.test for arm in trial.arms], file, trust)
    sources = read_evidence([given_name(name) for name in source or ["results/reports"]])
    with progress().status("counting on paper"):
        sources += on_paper(said)
    replayed = replay(said, sources)
    if run:
        sources = _measure(studies_for(missing(replayed), quick=quick), out, allowed) + sources
        replayed = replay(said, sources)
    if as_json:
        put(claims_json(replayed))
    else:
        show_claims(replayed, output())
    if markdown is not None:
        write_file(markdown, claims_page(replayed, f"The claims of {named}, replayed", command_line()))


def _measure(studies: "list[Study]", out: Path, limits: "RunLimits") -> "list[Evidence]":
    """What the studies give, each in a folder of its own, where a second call finds what the first left."""
    from xbench.api import measure
    from xbench.claims.replay import read_evidence
    from xbench.wording.conditions import conditions_line

    found: list[Evidence] = []
    for study in studies:
        folder = out / re.sub(r"\W+", "-", conditions_line(next(study.cases()).conditions))
        measured = measure(study, folder, console=progress(), limits=limits, command=command_line())
        if isinstance(measured.error, KeyboardInterrupt):
            raise InterruptedRunError("Interrupted. What was finished is kept.")
        if measured.error is not None:
            raise measured.error
        found += read_evidence([folder])
    return found
