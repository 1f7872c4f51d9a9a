"""Verbs that guard a repository: check, bisect, baseline update."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from xbench.cli.app import EXIT_CHECK_FAILED, EXIT_NOTHING_MEASURED, app
from xbench.cli.arguments import ManyValues
from xbench.cli.given import given_file
from xbench.cli.options import COMPARED, OUTPUT, Force, Json, Limits, Many, WorkerLimits, option, spread
from xbench.cli.streams import agree, output, progress, put
from xbench.cli.trust import Trust, allow
from xbench.errors import UserError, unknown_name
from xbench.files import shipped
from xbench.files.writing import check_targets, write_file
from xbench.signals import InterruptedRunError

if TYPE_CHECKING:
    from xbench.regression.session import Session
    from xbench.regression.verdicts import CheckResult
    from xbench.runner.progress import RunLimits

DEFAULT_STUDY = Path("studies", "gate.toml")
EFFECT, PERCENT = 5.0, 100.0

Effect = Annotated[float, option(COMPARED, "The slow-down in percent that is allowed.", takes="PERCENT")]
Intended = Annotated[Many, option(COMPARED, "Metrics that are meant to change.", takes="METRIC…")]
Records = Annotated[
    Path | None, option(OUTPUT, "Folder of the records. Default: new, in results/runs.", takes="FOLDER")
]

baseline_app = typer.Typer(help="Committed figures that check --baseline compares with.", no_args_is_help=True)
app.add_typer(baseline_app, name="baseline")


@app.command(
    cls=ManyValues,
    epilog="Exit code: 0 nothing fails (PASS or INCONCLUSIVE) · 1 something fails · 2 bad input · 4 nothing measured · "
    "128 + n ended by signal n.",
)
@spread
def check(
    study_file: Annotated[
        Path | None, typer.Argument(help=f"With --against: the study to measure. Default: {DEFAULT_STUDY}.")
    ] = None,
    against: Annotated[
        str | None,
        option(
            COMPARED,
            "A commit, branch or tag: is this code worse than that? Required: this or --baseline.",
            takes="COMMIT",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        option(COMPARED, "A folder of committed figures, as in results/baselines: did any change?", takes="FOLDER"),
    ] = None,
    python_against: Annotated[
        str | None,
        option(
            COMPARED, "With --against: the Python of that side, where it is to have other libraries.", takes="PYTHON"
        ),
    ] = None,
    effect: Effect = EFFECT,
    intended: Intended = None,
    *,
    limits: Limits,
    out: Records = None,
    markdown: Annotated[
        Path | None, option(OUTPUT, "Also write the findings here, for a summary.", takes="FILE")
    ] = None,
    junit: Annotated[Path | None, option(OUTPUT, "Also write the findings here, as JUnit XML.", takes="FILE")] = None,
    json_file: Annotated[Path | None, option(OUTPUT, "Also write the findings here, as JSON.", takes="FILE")] = None,
    as_json: Json = False,
    trust: Trust = False,
    force: Force = False,
) -> None:
    """Tells whether this code is worse than another commit, or than committed figures.

    Parameters, MACs and peak memory have to be equal. A time fails only if two runs with fresh processes both show it
    to be slower than allowed. What ran before and does not any more fails. What cannot be told is INCONCLUSIVE.
    Examples:

        xbench check --against main

        xbench check --baseline results/baselines/ci
    """
    if (against is None) == (baseline is None):
        raise UserError("name what to compare with: either --against COMMIT or --baseline FOLDER.")
    if baseline is not None and (study_file or python_against):
        raise UserError("a baseline has a study of its own; a study or --python-against goes with --against.")
    _check_allowance(effect, intended)
    for path in filter(None, (markdown, junit, json_file)):
        if not path.parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {path.parent}.")
    check_targets((markdown, junit, json_file), force=force)
    bounds = limits.checked()
    named = shipped.find(shipped.STUDIES, given_file(study_file)) if study_file else None
    baseline = shipped.find(shipped.BASELINES, baseline) if baseline is not None else None
    study = _baseline_study(baseline) if baseline is not None else named or _default_study()
    _allow(study, trust)
    with _session(out, effect, bounds) as session:
        if baseline is not None:
            from xbench.regression.baseline import check_baseline

            found = check_baseline(baseline, session, intended=intended or ())
        else:
            from xbench.regression.against import check_against

            assert against is not None
            found = check_against(study, against, session, python=python_against, intended=intended or ())
    _report(found, as_json, markdown, junit, json_file)
    if not found.measured:
        raise typer.Exit(EXIT_NOTHING_MEASURED)
    if found.verdict == "FAIL":
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command(
    cls=ManyValues,
    epilog="Exit code: 0 found · 1 not found, because nothing is worse or a step could not be decided · 2 bad input · "
    "128 + n ended by signal n.",
)
@spread
def bisect(
    good: Annotated[str, typer.Argument(help="A commit that is not worse: v1.2, main~20, …")],
    bad: Annotated[str, typer.Argument(help="A later one that is.")] = "HEAD",
    study_file: Annotated[
        Path | None, typer.Argument(help="What is measured. Default: studies/gate.toml.", metavar="STUDY")
    ] = None,
    effect: Effect = EFFECT,
    intended: Intended = None,
    *,
    limits: Limits,
    out: Records = None,
    trust: Trust = False,
) -> None:
    """Finds the commit that made it worse, by halving what lies between a good and a bad one.

    Every step is the paired test of xbench check: the commit and GOOD take turns in one run. Where a step is
    inconclusive the search ends and says between which commits the culprit lies. Example:

        xbench bisect v0.1 HEAD
    """
    from xbench.regression.bisect import bisect as search
    from xbench.report.check import show_bisection

    _check_allowance(effect, intended)
    bounds = limits.checked()
    study = shipped.find(shipped.STUDIES, given_file(study_file)) if study_file else _default_study()
    _allow(study, trust)

    def trying(commit: str, left: int) -> None:
        progress().print(Text(f"{commit[:12]}: {left} commit{'s' if left > 1 else ''} left"), soft_wrap=True)

    with _session(out, effect, bounds) as session:
        found = search(study, good, bad, session, intended=intended or (), trying=trying)
    show_bisection(found, output())
    if found.culprit is None:
        raise typer.Exit(EXIT_CHECK_FAILED)


def _check_allowance(effect: float, intended: Many) -> None:
    """What may differ: metrics that there are, and a slow-down that is one."""
    from xbench.metrics.definitions import METRICS

    for name in intended or []:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    if not 0 < effect <= PERCENT:
        raise UserError(f"--effect is in percent, above 0 and at most 100, not {effect:g}.")


def _allow(study: Path, trusted: bool) -> None:
    """See ``trust.allow``. A file that is not there is spoken of by what reads it for its figures."""
    if study.exists():
        from xbench.study.files import read_request

        allow(read_request(study).attn, study, trusted)


def _baseline_study(folder: Path) -> Path:
    from xbench.regression.baseline import STUDY

    return folder / STUDY


def _default_study() -> Path:
    """The gate's study of this folder, or the one that comes with xbench."""
    return DEFAULT_STUDY if DEFAULT_STUDY.is_file() else shipped.STUDIES / DEFAULT_STUDY.name


@contextmanager
def _session(out: Path | None, effect: float, bounds: "RunLimits") -> "Iterator[Session]":
    """Where the measurements of a verb are kept; an interrupt ends the verb with its own exit code."""
    from xbench.files.run_folders import results_folder
    from xbench.regression.session import Session
    from xbench.report.live import Display

    console = progress()
    try:
        with results_folder("check", out) as folder:
            yield Session(folder, lambda study: Display(study, console), effect / PERCENT, bounds)
    except KeyboardInterrupt:
        raise InterruptedRunError("Interrupted. What was finished is kept.") from None


def _report(
    found: "CheckResult", as_json: bool, markdown: Path | None, junit: Path | None, json_file: Path | None
) -> None:
    from xbench.report.check import markdown_check, show_check
    from xbench.report.check_files import json_check, junit_check

    if as_json:
        put(json_check(found).rstrip())
    else:
        show_check(found, output())
        output().print(Text(f"Records: {found.folder}"), soft_wrap=True)
    for path, write in ((markdown, markdown_check), (junit, junit_check), (json_file, json_check)):
        if path is not None:
            write_file(path, write(found))


@baseline_app.command(epilog="Exit code: 0 written, or nothing to change · 2 bad input, or not agreed to.")
@spread
def update(
    folder: Annotated[Path, typer.Argument(help="Folder of the baseline, such as results/baselines/ci.")],
    study: Annotated[Path | None, typer.Option(help="What to measure from now on. Default: as before.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    *,
    limits: WorkerLimits,
    trust: Trust = False,
) -> None:
    """Measures a baseline anew, shows what is different, and writes it once you agree. Example:

    xbench baseline update results/baselines/ci --study studies/ci.toml
    """
    from xbench.files.temporary import scratch
    from xbench.regression.baseline import renew
    from xbench.report.check import show_difference

    bounds = limits.checked()
    asked = given_file(study) if study else None
    _allow(asked or _baseline_study(folder), trust)
    with scratch() as place, _session(place, EFFECT, bounds) as session:
        renewal = renew(folder, asked, session)
    console = output()
    if not show_difference(renewal.findings, console):
        return
    agree(yes, f"Write this to {folder}?", "not written")
    renewal.write()
    console.print(Text(f"Written to {folder}; commit it."), soft_wrap=True)
