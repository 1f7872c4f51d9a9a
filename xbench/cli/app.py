"""The application that verbs register with, and what becomes of its errors and warnings. No torch is imported here."""

import os
import sys
import warnings
from typing import Annotated, Any

import typer

from xbench.cli.defaults import Takes, with_defaults
from xbench.cli.streams import progress
from xbench.errors import UserError
from xbench.records.ledger import SkippedWarning

EXIT_CHECK_FAILED, EXIT_SOME_FAILED, EXIT_NOTHING_MEASURED = 1, 3, 4
EXIT_INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt, whatever the signal was

# typer's own errors of use; its newer versions bring click along, and the older take it from outside.
UsageError: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="Change only the attention: what happens to cost, speed and memory, and can the answer be trusted?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
            _add_defaults()
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


def _add_defaults() -> None:
    """Puts the project's defaults into the command line, where a report finds them too; and says what they are."""
    if "_XBENCH_COMPLETE" in os.environ:
        return
    words, said = with_defaults(sys.argv[1:], _options)
    sys.argv[1:] = words
    if said:
        progress().print(f"Defaults of {said}", style="dim", soft_wrap=True, highlight=False)


def _options() -> dict[str, dict[str, Takes]]:
    """By verb the names of its options, and how many values each takes."""
    commands = getattr(typer.main.get_command(app), "commands", {})
    return {
        verb: {
            name.removeprefix("--"): _takes(option)
            for option in command.params
            for name in option.opts
            if name.startswith("--")
        }
        for verb, command in commands.items()
    }


def _takes(option: Any) -> Takes:
    if getattr(option, "is_flag", False):
        return "nothing"
    return "many" if getattr(option, "multiple", False) else "one"


def _warn(message: Any) -> None:
    progress().print(f"Warning: {message}", soft_wrap=True, highlight=False)


def _in_words(error: Any) -> str:
    """What typer says, and where help is."""
    said = error.format_message().rstrip(".")
    verb = error.ctx.command_path if getattr(error, "ctx", None) else "xbench"
    return f"{said}. See {verb} --help."
