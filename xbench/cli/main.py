"""The command from its first import to its exit code. Whatever ends it ends it with a sentence, never with a traceback.

Only the standard library is imported before signals are looked after: the rest takes long enough to be interrupted.
"""

import codecs
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xbench.errors import UserError
from xbench.signals import InterruptedRunError, ending, exit_code

LONG, KEPT = (
    re.compile(r"\S{300,}"),
    60,
)  # a word in an error that nobody would read to its end, and what is shown of it
EXIT_USER, EXIT_CLOSED = 2, 141  # as of any program whose reader has gone
# What our own texts use beyond ASCII, for streams that can write no more.
PLAIN = {"–": "-", "—": "-", "−": "-", "×": "x", "·": ".", "…": "...", "±": "+/-", "→": "->", "÷": "/", "≤": "<="}
PLAIN |= {"✓": "ok", "✗": "x", "†": "+", "²": "^2", "³": "^3", "√": "sqrt ", "’": "'"}


class OutputClosedError(Exception):
    """Nobody reads standard output any more."""


def main() -> None:
    """Entry point: a user's error is a message and exit code 2; a signal lets what was begun be put away first."""
    with ending():
        try:
            _prepare_streams()
            code = _run()
            sys.stdout.flush()
        except (KeyboardInterrupt, InterruptedRunError) as end:
            _say(str(end) or "Interrupted.")
            code = exit_code()
        except OutputClosedError:
            code = EXIT_CLOSED
        except UserError as error:
            code = _fail(str(error))
        except OSError as error:
            # Whoever knows what it was for says so; this is for the rest, such as a home or a temporary folder.
            named = f"{error.filename}: " if error.filename else ""
            code = _fail(f"{named}{error.strerror or error}.")
        finally:
            _silence_what_is_left()
    sys.exit(code)


def _run() -> int:
    try:
        os.getcwd()
    except OSError:
        raise UserError("the folder that this was started in is no longer there; change to another.") from None
    import xbench.cli.verbs  # noqa: F401
    from xbench.cli.app import run

    return run()


def _prepare_streams() -> None:
    """Makes any of the three standard streams writable that is closed, and all text writable on each."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error("xbench.plain", _plainly)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, open to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="xbench.plain")
    sys.stdout = ResultStream(sys.stdout)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in lost), error.end


class ResultStream:
    """Standard output. That it takes nothing more ends the command, whoever writes to it.

    Raises:
        OutputClosedError: its reader has gone.
        UserError: the disk is full, or the like.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with self._guarded():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise OutputClosedError from None
        except OSError as error:
            raise UserError(f"cannot write to standard output: {error.strerror}.") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _say(sentence: str) -> None:
    """On standard error, as far as that takes anything."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:
        return


def _fail(why: str) -> int:
    from rich.text import Text

    from xbench.cli.streams import progress

    short = LONG.sub(lambda word: f"{word[0][:KEPT]}…", why)
    progress().print(Text.assemble(("Error: ", "bold red"), short), soft_wrap=True)
    return EXIT_USER


def _silence_what_is_left() -> None:
    """Python flushes the streams once more at its end, and would tell of what it cannot write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, UserError, OutputClosedError):
            try:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            except (OSError, ValueError):
                continue
