"""A command line in this process, from its first word to its exit code: no start of Python has to be waited for."""

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from xbench.cli.main import main

PATIENCE = 300  # seconds; something is read that never ends


@contextmanager
def standard_output(encoding: str, kind: str) -> Iterator[io.TextIOWrapper]:
    """A stream that keeps what is written, or one that is "full" or "closed", as nobody reads it."""
    if kind == "full":
        stream = open("/dev/full", "w", encoding=encoding)  # noqa: SIM115, closed below
    elif kind == "closed":
        end, start = os.pipe()
        os.close(end)
        stream = os.fdopen(start, "w", encoding=encoding)
    else:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    yield stream
    try:
        stream.close()
    except OSError:
        return


def run_here(
    arguments: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    kind: str = "",
) -> tuple[int, str, str]:
    """The command in the current folder: its exit code, and what it wrote on standard output and standard error.

    Args:
        environment: variables to set; an empty one is unset.
        encoding: of standard output.
        kind: of standard output, as in ``standard_output``.

    Raises:
        TimeoutError: it did not end.
    """

    def stop(*_):
        raise TimeoutError("it did not end")

    with monkeypatch.context() as patch, standard_output(encoding, kind) as out:
        errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        patch.setattr(sys, "argv", ["xbench", *arguments])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        patch.setattr(sys, "path", [*sys.path])
        patch.delenv("COLUMNS", raising=False)
        for name, value in (environment or {}).items():
            patch.setenv(name, value) if value else patch.delenv(name, raising=False)
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(PATIENCE)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        written = out.buffer.getvalue().decode() if isinstance(out.buffer, io.BytesIO) else ""
        return code, written, errors.buffer.getvalue().decode()
