"""The command line. Each verb is a thin function whose docstring is its help; torch is not imported here."""

import json
import signal
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand

from xbench.errors import UserError

if TYPE_CHECKING:
    from xbench.study import Study
    from xbench.watch import Limits

EXIT_CHECK_FAILED, EXIT_USER, EXIT_SOME_FAILED, EXIT_NOTHING_MEASURED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
LARGEST = 1e6  # seconds or GiB that a limit may name
EXIT_CODES = (
    "Exit code: 0 all measured · 2 bad input · 3 some cells have no figure · 4 nothing measured · 130 interrupted."
)

app = typer.Typer(
    help="Change only the attention: what happens to cost, speed and memory, and can the answer be trusted?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class ManyValues(TyperCommand):
    """Lets a repeatable option take several values at once: ``--attn xfa mhsa`` is ``--attn xfa --attn mhsa``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        expanded: list[str] = []
        current = None
        for i, arg in enumerate(args):
            if arg == "--":
                expanded += args[i:]
                break
            name, equals, _ = arg.partition("=")
            if arg.startswith("-") and not _is_number(arg):
                current = name if name in repeatable else None
                expanded.append(arg)
                fresh = not equals
            elif current is not None:
                expanded += [arg] if fresh else [current, arg]
                fresh = False
            else:
                expanded.append(arg)
        return super().parse_args(ctx, expanded)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _print_version(wanted: bool) -> None:
    if wanted:
        from xbench import __version__

        print(f"xbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


Many = list[str] | None
Quick = Annotated[bool, typer.Option("--quick", help="A look, not a claim: three launches, no control.")]
Budget = Annotated[float | None, typer.Option(help="Seconds to stay within; three launches always run.")]
MemoryLimit = Annotated[float | None, typer.Option(help="GiB a CPU worker may allocate. Default: 90 % of the free.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds one answer of a worker may take.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder of the results; what it holds is not measured again. Default: new, in results/runs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the records as JSON lines on standard output, nothing else.")]


@app.command("list")
def list_attentions() -> None:
    """The attentions there are: name, paper, cost in the number of tokens N, options with their defaults."""
    from xbench.registry import survey
    from xbench.report.listing import list_table

    Console().print(list_table(survey()))
    Console().print(
        "Every attention also takes num_heads. Options go into the name: xfa:rank=4,kernel=5", highlight=False
    )


@app.command(epilog="Exit code: 0 nothing fails · 1 something fails · 2 bad input.")
def verify(
    names: Annotated[Many, typer.Argument(help="Attentions, as in compare --attn. Default: all there are.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON lines, nothing else.")] = False,
) -> None:
    """Proves that an attention is one: shapes, gradients, saving, compiling, and that its stated cost is true.

    Growth in N is measured in counted work and peak memory, which are exact, not in seconds. Example:

        xbench verify xfa ./mine.py:MyAttention
    """
    from xbench.registry import catalogue

    chosen = names or sorted(catalogue())
    from xbench.report.verification import json_lines, show_findings, summary, verify_all

    found = verify_all(chosen, Console(stderr=True))
    if as_json:
        print(json_lines(found))
    else:
        console = Console(width=None if sys.stdout.isatty() else 100)
        show_findings(found, console)
        console.print(Text(summary(found), style="bold"))
    if any(finding.outcome == "fail" for finding in found):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command(epilog="Exit code: 0 all counted · 1 an attention cannot be counted or counts as zero · 2 bad input.")
def counters(
    names: Annotated[Many, typer.Argument(help="Attentions, as in compare --attn. Default: all there are.")] = None,
    out: Annotated[Path, typer.Option(help="File for the tables, in Markdown.")] = Path("results/reports/counters.md"),
) -> None:
    """What torch's, fvcore's and ptflops' counters miss in each attention, and the time spent on what none sees."""
    from xbench.attention import parse_attention
    from xbench.registry import catalogue

    chosen = [str(parse_attention(name)) for name in names or sorted(catalogue())]
    from xbench.report.coverage import cover, ratio_grid
    from xbench.report.tables import rich_table

    console = Console(width=None if sys.stdout.isatty() else 100)
    grid = ratio_grid(cover(chosen, out, Console(stderr=True)))
    console.print(rich_table(grid, console.width))
    for row, problem in grid.spans.items():
        console.print(Text(f"  {grid.rows[row][0]}: {problem}", style="red"))
    console.print(Text(f"With the time that no counter sees: {out}"), soft_wrap=True)
    if grid.spans:
        raise typer.Exit(EXIT_CHECK_FAILED)


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
        help="params, macs, predicted_memory, latency, throughput, peak_memory, breakdown, limits, max_batch; in "
        "training forward_time, backward_time, optimizer_time; on CUDA device_time. Default: all but predicted_memory "
        "and max_batch."
    ),
]
Images = Annotated[str | None, typer.Option(help="Folder of photographs to use as input.")]
Mode = Annotated[Many, typer.Option(help="eager, compile or both, side by side. Default: eager.")]
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
    metrics: Metrics = None,
    images: Images = None,
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
    """
    _run_study(_asked_study(locals()), _limits(budget, memory_limit, time_limit), out, as_json, dry_run)


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
    metrics: Metrics = None,
    images: Images = None,
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
    _run_study(_asked_study(locals(), name="sweep"), _limits(budget, memory_limit, time_limit), out, as_json, dry_run)


def _asked_study(options: dict[str, Any], **rest: Any) -> "Study":
    """The study that a verb's options make, also saved if so asked. What was not given is left to its default."""
    from xbench.request import make_study
    from xbench.study_file import ARGUMENTS, save_study

    asked = {name: value for name, value in options.items() if name in ARGUMENTS and value is not None} | rest
    study = make_study(**asked)
    if options["save"] is not None:
        save_study(asked, options["save"])
    return study


def _limits(budget: float | None, memory_limit: float | None, time_limit: float) -> "Limits":
    from xbench.watch import Limits

    return Limits(
        seconds=_positive("--budget", budget),
        memory_bytes=None if memory_limit is None else int(_positive("--memory-limit", memory_limit) * 2**30),
        turn_seconds=_positive("--time-limit", time_limit),
    )


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
) -> None:
    """Runs a study from a TOML file: a question, its axes, its metrics and its plots.

    Its keys are the options of ``xbench sweep``, and question, name and plots; ``--save`` of compare and sweep writes
    one.
    """
    from xbench.study_file import load_study

    study = load_study(study_file, quick=quick)
    _run_study(study, _limits(budget, memory_limit, time_limit), out, as_json, dry_run)


@app.command(epilog="Exit code: 0 shown · 2 no such run.")
def show(
    runs: Annotated[
        Many, typer.Argument(help="Folders of runs, or their names in results/runs. Default: list all.")
    ] = None,
) -> None:
    """Lists the runs in results/runs, or shows what the named ones found."""
    from xbench.report.runs import runs_table
    from xbench.report.terminal import show as show_results
    from xbench.runs import find_runs, read_run, run_folder

    console = Console(width=None if sys.stdout.isatty() else 100)
    if not runs:
        console.print(runs_table(find_runs()))
    for name in runs or []:
        show_results(read_run(name), run_folder(name), console)


def _run_study(study: "Study", limits: "Limits", out: Path | None, as_json: bool, dry_run: bool) -> None:
    if dry_run and as_json:
        raise UserError("--dry-run makes no records; leave out --json.")
    # Imported after the study was found good: this takes a second.
    from xbench.api import forecast, measure
    from xbench.report.terminal import show

    progress, console = Console(stderr=True), Console(width=None if sys.stdout.isatty() else 100)
    if dry_run:
        from xbench.report.forecast import show_forecast

        show_forecast(study, forecast(study, out, limits), console)
        return
    measured = measure(study, out, console=progress, limits=limits, command=_command())
    if as_json:
        for record in measured.results.records:
            print(json.dumps(asdict(record)))
    else:
        show(measured.results, measured.folder, console)
    if isinstance(measured.error, KeyboardInterrupt):
        progress.print("Interrupted. What was finished is kept.")
        raise typer.Exit(EXIT_INTERRUPTED)
    if measured.error is not None:
        raise measured.error
    if not any(record.samples and record.case for record in measured.results.records):
        raise typer.Exit(EXIT_NOTHING_MEASURED)
    if measured.results.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


def _positive(name: str, value: float | None) -> Any:
    if value is not None and not 0 < value <= LARGEST:
        raise UserError(f"{name} must be a number above 0 and at most {LARGEST:,.0f}, not {value:g}.")
    return value


def _command() -> str:
    import shlex

    return shlex.join(["xbench", *sys.argv[1:]])


def _terminate(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: turns user errors into a message and exit code 2, and a signal to end into a clean end."""
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)
    errors = Console(stderr=True)
    try:
        app()
    except UserError as error:
        errors.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(EXIT_USER)
