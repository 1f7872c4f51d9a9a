"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP. Each is a KeyboardInterrupt, and none is lost.

What must not be left half done runs within ``held``: a signal that comes meanwhile comes after it.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 0.05  # after which a signal whose exception Python swallowed is raised again

_came: list[int] = []


class InterruptedRunError(Exception):
    """A signal ended a verb that has something to say of what it leaves."""


def exit_code() -> int:
    """What a shell calls the end by the signal that came first: 130 of Ctrl-C, 143 of SIGTERM, 129 of SIGHUP."""
    return 128 + (_came[0] if _came else signal.SIGINT)


@contextmanager
def ending() -> Iterator[None]:
    """Within, each of the signals raises KeyboardInterrupt. One that is ignored, as by nohup, stays so."""
    _came.clear()
    asked = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _end) for number in [*asked, signal.SIGALRM]}
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: Any) -> None:
    if number != signal.SIGALRM:
        _came.append(number)
    raise KeyboardInterrupt


def _raise_again(lost: Any) -> None:
    """What Python swallows, as in a handler of a fork or in ``__del__``, it tells this hook."""
    if isinstance(lost.exc_value, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def held() -> Iterator[None]:
    """A signal that would raise comes after what is done within."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    raising = [number for number in (*ENDING, signal.SIGALRM) if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in raising}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
