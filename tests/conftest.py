"""What all tests stand on."""

import signal

import pytest

from xbench.signals import ENDING


@pytest.fixture(autouse=True, scope="session")
def signals_end_processes():
    """As in a terminal. What nohup or a shell's background ignores, whatever a test starts would ignore too."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
