"""The Typer application, and what its verbs share: options, exit codes, consoles. No torch is imported here."""

import shlex
import stat
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from xbench.cli.main import EXIT_USER
from xbench.cli.streams import output, progress, put
from xbench.errors import UserError
from xbench.records.ledger import SkippedWarning

if TYPE_CHECKING:
    from xbench.runner.progress import RunLimits

__all__ = ["EXIT_USER", "app", "output", "progress", "put"]

EXIT_CHECK_FAILED, EXIT_SOME_FAILED, EXIT_NOTHING_MEASURED = 1, 3, 4
EXIT_INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt, whatever the signal was
LARGEST = 1e6  # seconds or GiB that a limit may name

# typer's own errors of use; its newer versions bring click along, and the older take it from outside.
UsageError: Any = typer.BadParameter.__mro__[2]

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
Force = Annotated[
    bool, typer.Option("--force", help="Replace also a file that xbench did not make; a run's records never.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the records as JSON lines on standard output, nothing else.")]


def positive(name: str, value: float | None) -> Any:
    """The value of an option that limits something.

    Raises:
        UserError: it is not a number above 0, or beyond all reason.
    """
    if value is not None and not 0 < value <= LARGEST:
        raise UserError(f"{name} must be a number above 0 and at most {LARGEST:,.0f}, not {value:g}.")
    return value


def limits(budget: float | None, memory_limit: float | None, time_limit: float) -> "RunLimits":
    """What a run may use, by the options that say so."""
    from xbench.runner.progress import RunLimits

    return RunLimits(
        seconds=positive("--budget", budget),
        memory_bytes=None if memory_limit is None else int(positive("--memory-limit", memory_limit) * 2**30),
        turn_seconds=positive("--time-limit", time_limit),
    )


def command_line() -> str:
    """What the user typed, fit to be typed again."""
    return shlex.join(["xbench", *sys.argv[1:]])


def run() -> int:
    """Does what the user typed and returns the exit code.

    Raises:
        UserError: what was typed is no command, or cannot be done.
        KeyboardInterrupt: a signal came, and the verb had nothing to say of it.
    """
    skipped: dict[str, None] = {}

    def warn(message: Any, *_: Any, **__: Any) -> None:
        if isinstance(message, SkippedWarning):
            skipped[str(message)] = None
        else:
            _warn(message)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            # What is left out is said of every file, even where two say it in the same words; and once, at the end.
            warnings.simplefilter("always", SkippedWarning)
            code = app(standalone_mode=False, prog_name="xbench")
    except UsageError as error:
        if not error.format_message():  # a verb that was to be told more: it shows its help
            error.show()
            return int(error.exit_code)
        raise UserError(_in_words(error)) from error
    finally:
        for text in skipped:
            _warn(text)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _warn(message: Any) -> None:
    progress().print(f"Warning: {message}", soft_wrap=True, highlight=False)


def _in_words(error: Any) -> str:
    """What typer says, and where help is."""
    said = error.format_message().rstrip(".")
    verb = error.ctx.command_path if getattr(error, "ctx", None) else "xbench"
    return f"{said}. See {verb} --help."


def given_file(path: Path) -> Path:
    """A path that is to be read, unless what lies there is neither a file nor a folder and may never end.

    Raises:
        UserError: it is a pipe, a device or a socket, or no path at all.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return path  # whoever reads it says why it cannot be read
    except ValueError as error:
        raise UserError(f"{str(path)!r} is no path: {error}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is a pipe or a device, not a file.")
    return path


def given_name(run: str) -> str:
    """The same of what may be a path or the name of a run.

    Raises:
        UserError: see ``given_file``.
    """
    given_file(Path(run))
    return run
