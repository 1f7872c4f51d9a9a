"""Verbs that measure: compare, sweep, run."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xbench.cli.app import (
    EXIT_NOTHING_MEASURED,
    EXIT_SOME_FAILED,
    Budget,
    Json,
    Many,
    ManyValues,
    MemoryLimit,
    Out,
    Quick,
    TimeLimit,
    app,
    command_line,
    given_file,
    limits,
    output,
    progress,
    put,
)
from xbench.cli.main import InterruptedRunError
from xbench.cli.trust import Trust, allow
from xbench.errors import UserError

if TYPE_CHECKING:
    from xbench.runner.progress import RunLimits
    from xbench.study.study import Study

EXIT_CODES = (
    "Exit code: 0 all measured · 2 bad input · 3 some cells have no figure · 4 nothing measured · "
    "128 + n ended by signal n."
)

# The axes, each written once for the verbs that have them.
Attn = Annotated[
    Many,
    typer.Option(
        help="Attentions in the XFormer skeleton: xfa, mhsa, xfa:rank=4, package.module:Class, ./file.py:Class."
    ),
]
Res = Annotated[Many, typer.Option(help="Image sizes in pixels: 1024, or 512x1024 for height x width.")]
Baseline = Annotated[Many, typer.Option(help="Whole timm models beside them: mobilevit_s, efficientnet_b0, …")]
Against = Annotated[str | None, typer.Option(help="The arm that ratios refer to. Default: the first.")]
Patch = Annotated[Many, typer.Option(help="Patch sizes of the XF blocks. Default: 2.")]
Size = Annotated[str, typer.Option(help="XFormer's size: s, xs or xxs.")]
Batch = Annotated[Many, typer.Option(help="Images per forward pass. Default: 1, on CUDA 8. Latency is always at 1.")]
Dtype = Annotated[Many, typer.Option(help="fp32, bf16 or fp16. Default: fp32.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[Many, typer.Option(help="CPU threads. Default: the physical cores.")]
Metrics = Annotated[
    Many,
    typer.Option(
        help="params, macs, predicted_memory, latency, throughput, peak_memory, stock_latency, breakdown, limits, "
        "max_batch; in training forward_time, backward_time, optimizer_time; on CUDA device_time; top1, for which arms "
        "are trained. "
        "Default: all but predicted_memory, max_batch and top1."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="What accuracy is trained and tested on: digits, canvas, or a set on disk such as folder:/data/imagenet. "
        "Default: digits."
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Epochs of training. Default: the recipe's.")]
Seeds = Annotated[int, typer.Option(help="Training runs per arm, each from a seed of its own.")]
Recipe = Annotated[Many, typer.Option(help="Settings of the recipe to change, for all arms: lr=0.001 batch=128 ema=0.")]
Workers = Annotated[int, typer.Option(help="Processes that load images, of a data set on disk.")]
Unreadable = Annotated[
    str,
    typer.Option(help="Images of a data set that cannot be read: stop (name them and end) or skip (leave them out)."),
]
Images = Annotated[str | None, typer.Option(help="Folder of photographs to use as input.")]
Mode = Annotated[Many, typer.Option(help="eager, compile or both, side by side. Default: eager.")]
Policy = Annotated[
    Many,
    typer.Option(
        help="Settings of the processes, side by side: tuned (the heap is kept, so that figures repeat), stock (what a "
        "plain script gets), jemalloc, tcmalloc, passive, active. Default: tuned."
    ),
]
Direction = Annotated[Many, typer.Option(help="inference, training (a whole step) or both. Default: inference.")]
Level = Annotated[
    Many, typer.Option(help="op (the attention alone), block (the XF block of stage 3), model. Default: model.")
]
Tokens = Annotated[Many, typer.Option(help="Tokens at level op. Default: 64 to 65536 by powers of 4.")]
Save = Annotated[Path | None, typer.Option(help="Also write the study down, for xbench run.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only print the plan: cells, predicted memory and time, what cannot be.")
]


@app.command(cls=ManyValues, epilog=EXIT_CODES)
def compare(
    attn: Attn = None,
    res: Res = None,
    baseline: Baseline = None,
    against: Against = None,
    patch: Patch = None,
    size: Size = "s",
    batch: Batch = None,
    dtype: Dtype = None,
    device: Device = "cpu",
    threads: Threads = None,
    policy: Policy = None,
    metrics: Metrics = None,
    images: Images = None,
    data: Data = None,
    epochs: Epochs = None,
    seeds: Seeds = 3,
    recipe: Recipe = None,
    workers: Workers = 0,
    unreadable: Unreadable = "stop",
    quick: Quick = False,
    budget: Budget = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = 600.0,
    out: Out = None,
    save: Save = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Compares attentions in one skeleton: parameters, MACs, latency, throughput and peak memory, with intervals.

    The arms run in processes of their own that take turns, so that a drifting machine hits all alike. Example:

        xbench compare --attn xfa mhsa --res 1024

        xbench compare --attn xfa mhsa separable --res 64 --metrics top1 throughput memory --data digits
    """
    _run_study(*_asked_study(locals()), limits(budget, memory_limit, time_limit), out, as_json, dry_run)


@app.command(cls=ManyValues, epilog=EXIT_CODES)
def sweep(
    attn: Attn = None,
    res: Res = None,
    tokens: Tokens = None,
    level: Level = None,
    direction: Direction = None,
    mode: Mode = None,
    baseline: Baseline = None,
    against: Against = None,
    patch: Patch = None,
    size: Size = "s",
    batch: Batch = None,
    dtype: Dtype = None,
    device: Device = "cpu",
    threads: Threads = None,
    policy: Policy = None,
    metrics: Metrics = None,
    images: Images = None,
    data: Data = None,
    epochs: Epochs = None,
    seeds: Seeds = 3,
    recipe: Recipe = None,
    workers: Workers = 0,
    unreadable: Unreadable = "stop",
    quick: Quick = False,
    budget: Budget = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = 600.0,
    out: Out = None,
    save: Save = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Sweeps the product of any axes: how cost, speed and memory scale, where one attention overtakes another.

    What a cell cannot be is a row that says so. Examples:

        xbench sweep --level op --attn xfa mhsa mhsa-sdpa

        xbench sweep --attn xfa mhsa --res 256 512 1024 --patch 1 2 4 --metrics macs predicted_memory
    """
    asked = _asked_study(locals(), name="sweep")
    _run_study(*asked, limits(budget, memory_limit, time_limit), out, as_json, dry_run)


def _asked_study(options: dict[str, Any], **rest: Any) -> "tuple[Study, Callable[[], None]]":
    """The study that a verb's options make, and what writes it down if so asked: once all else was found good."""
    from xbench.study.files import ARGUMENTS, check_new, save_study
    from xbench.study.request import make_study

    asked = {name: value for name, value in options.items() if name in ARGUMENTS and value is not None} | rest
    study = make_study(**asked)
    place = options["save"]
    if place is None:
        return study, lambda: None
    check_new(place)
    return study, lambda: save_study(asked, place)


@app.command(epilog=EXIT_CODES)
def run(
    study_file: Annotated[Path, typer.Argument(help="A study as a TOML file, such as studies/resolution.toml.")],
    quick: Quick = False,
    budget: Budget = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = 600.0,
    out: Out = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Runs a study from a TOML file: a question, its axes, its metrics and its plots.

    Its keys are the options of ``xbench sweep``, and question, name and plots; ``--save`` of compare and sweep writes
    one.
    """
    from xbench.study.files import load_study, read_asked

    given = given_file(study_file)
    allow(read_asked(given).get("attn", []), given, trust)
    study = load_study(given, quick=quick)
    _run_study(study, lambda: None, limits(budget, memory_limit, time_limit), out, as_json, dry_run)


def _run_study(
    study: "Study", save: Callable[[], None], bounds: "RunLimits", out: Path | None, as_json: bool, dry_run: bool
) -> None:
    if dry_run and as_json:
        raise UserError("--dry-run makes no records; leave out --json.")
    save()
    # Imported after the study was found good: this takes a second.
    from xbench.api import forecast, measure
    from xbench.report.terminal import show

    console = output()
    if dry_run:
        from xbench.report.estimate import show_forecast

        show_forecast(study, forecast(study, out, bounds), console)
        return
    measured = measure(study, out, console=progress(), limits=bounds, command=command_line())
    if as_json:
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
