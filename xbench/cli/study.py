"""Verbs that measure: compare, sweep, run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xbench.cli.app import EXIT_NOTHING_MEASURED, EXIT_SOME_FAILED, app
from xbench.cli.arguments import ManyValues, command_line
from xbench.cli.given import given_file
from xbench.cli.options import Quick, RunOptions, Save, StudyOptions, spread
from xbench.cli.streams import output, progress, put
from xbench.cli.trust import Trust, allow
from xbench.files import shipped
from xbench.signals import InterruptedRunError

if TYPE_CHECKING:
    from xbench.runner.progress import RunLimits
    from xbench.study.request import StudyRequest
    from xbench.study.study import Study

EXIT_CODES = (
    "Exit code: 0 all measured · 2 bad input · 3 some cells have no figure · 4 nothing measured · "
    "128 + n ended by signal n."
)


@app.command(cls=ManyValues, epilog=EXIT_CODES)
@spread
def compare(asked: StudyOptions, how: RunOptions, save: Save = None) -> None:
    """Compares attentions in one skeleton: parameters, MACs, latency, throughput and peak memory, with intervals.

    The arms run in processes of their own that take turns, so that a drifting machine hits all alike. Example:

        xbench compare --attn xfa mhsa --res 1024

        xbench compare --attn xfa mhsa separable --res 64 --metrics top1 throughput memory --data digits
    """
    _measure(asked.request("compare"), how, save)


@app.command(cls=ManyValues, epilog=EXIT_CODES)
@spread
def sweep(asked: StudyOptions, how: RunOptions, save: Save = None) -> None:
    """Sweeps the product of any axes: how cost, speed and memory scale, where one attention overtakes another.

    What a cell cannot be is a row that says so. Examples:

        xbench sweep --level op --attn xfa mhsa mhsa-sdpa

        xbench sweep --attn xfa mhsa --res 256 512 1024 --patch 1 2 4 --metrics macs predicted_memory
    """
    _measure(asked.request("sweep"), how, save)


def _measure(request: "StudyRequest", how: RunOptions, save: Path | None) -> None:
    """Checks all that was asked before anything is written, be it the study itself."""
    from xbench.study.files import save_study
    from xbench.study.request import make_study

    study = make_study(request)
    limits = how.checked()
    if save is not None:
        save_study(request, save)
    _run_study(study, how, limits)


@app.command(epilog=EXIT_CODES)
@spread
def run(
    study_file: Annotated[
        Path, typer.Argument(help="A TOML file, or the name of a study that comes with xbench.", metavar="STUDY")
    ],
    *,
    quick: Quick = False,
    how: RunOptions,
    trust: Trust = False,
) -> None:
    """Runs a study, from a TOML file or by name: a question, its axes, its metrics and its plots.

    Its keys are the options of ``xbench sweep``, and question, name and plots; ``--save`` of compare and sweep writes
    one. xbench list studies shows those that come with xbench.
    """
    from xbench.study.files import load_study, read_request

    given = shipped.find(shipped.STUDIES, given_file(study_file))
    allow(read_request(given).attn, given, trust)
    _run_study(load_study(given, quick=quick), how, how.checked())


def _run_study(study: "Study", how: RunOptions, limits: "RunLimits") -> None:
    # Imported after the study was found good: this takes a second.
    from xbench.api import forecast, measure
    from xbench.report.terminal import show

    console = output()
    if how.dry_run:
        from xbench.report.estimate import show_forecast

        show_forecast(study, forecast(study, how.out, limits), console)
        return
    measured = measure(study, how.out, console=progress(), limits=limits, command=command_line())
    if how.as_json:
        for record in measured.results.records:
            put(json.dumps(asdict(record)))
    elif measured.results.arms:
        show(measured.results, measured.folder, console)
    if isinstance(measured.error, KeyboardInterrupt):
        raise InterruptedRunError("Interrupted. What was finished is kept.")
    if measured.error is not None:
        raise measured.error
    if not any(record.samples and record.case for record in measured.results.records):
        raise typer.Exit(EXIT_NOTHING_MEASURED)
    if measured.results.failures:
        raise typer.Exit(EXIT_SOME_FAILED)
