"""The consoles of the command line: results go to standard output, everything else to standard error."""

import os
import sys
from typing import IO, Any

import typer
from rich.text import Text

from xbench.errors import UserError
from xbench.report.inert import InertConsole

FILE_WIDTH = 100  # columns of what goes into a file
NARROWEST, WIDEST = 20, 1000  # columns that COLUMNS may ask for


class _Remarks:
    """Standard error: what it does not take is lost, and ends nothing."""

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def output() -> InertConsole:
    """Standard output: as wide as the screen or as COLUMNS says, or 100 columns where it goes into a file."""
    return _console(sys.stdout, None if sys.stdout.isatty() else FILE_WIDTH)


def progress() -> InertConsole:
    """Where progress is shown: standard error, so that standard output holds results alone."""
    return _console(_Remarks(), None)


def _console(file: Any, width: int | None) -> InertConsole:
    # A COLUMNS of 0 means that nobody knows, and one of few or of very many is nothing that a table fits into.
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and 0 < len(asked) < 10 and int(asked):
        width = min(max(int(asked), NARROWEST), WIDEST)
    stream: IO[str] = file
    return InertConsole(file=stream, width=width, _environ={k: v for k, v in os.environ.items() if k != "COLUMNS"})


def put(text: str) -> None:
    """A line of results for a program: nothing is wrapped."""
    sys.stdout.write(text + "\n")


def agree(yes: bool, question: str, otherwise: str) -> None:
    """Asks whoever sits before the terminal, unless ``yes`` was said already.

    Raises:
        UserError: the answer is no, or nobody can be asked: what was ``otherwise`` not done.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UserError(f"{otherwise}: say --yes where nobody can be asked.")
    progress().print(Text(question), soft_wrap=True)
    try:
        agreed = typer.confirm("")
    except typer.Abort:
        agreed = False
    if not agreed:
        raise UserError(f"{otherwise}.")
