"""The command line. Each verb is a thin function whose docstring is its help."""

import signal
import sys
import warnings
from typing import Any

from rich.text import Text

from xbench.cli.app import EXIT_USER, app, progress
from xbench.errors import UserError
from xbench.records import SkippedWarning

# Each registers its verbs with the application, which lists them in this order.
# isort: off
from xbench.cli import measure, environment, runs, training, attentions, claims, gate, exchange, history  # noqa: F401


def _terminate(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: turns user errors into a message and exit code 2, and a signal to end into a clean end."""
    skipped: dict[str, None] = {}

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if isinstance(message, SkippedWarning):
            skipped[str(message)] = None
        else:
            print(f"Warning: {message}", file=sys.stderr)

    warnings.showwarning = show
    # What is left out is said of every file, even where two say it in the same words.
    warnings.simplefilter("always", SkippedWarning)
    signal.signal(signal.SIGTERM, _terminate)
    errors = progress()
    try:
        app()
    except UserError as error:
        errors.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(EXIT_USER)
    finally:
        for text in skipped:
            print(f"Warning: {text}", file=sys.stderr)
