"""What all tests stand on."""

import multiprocessing.util
import os
import signal
import sys

import pytest
import torch
from workers_here import WorkerHere

from xbench.records.commits import known_commits
from xbench.records.provenance import commit
from xbench.signals import ENDING

STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}  # as Python's audit hooks say it

_unmarked = ""  # the test that runs, where it may start no process


def _refuse(event: str, arguments: object = ()) -> None:
    if _unmarked and event in STARTS:
        pytest.fail(f"{_unmarked} starts a process ({event}{arguments}) and is not marked `process`", pytrace=True)


sys.addaudithook(_refuse)


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test that starts a process says so, or fails: the inner loop stays free of them. Its fixtures count as it does.

    What git says of this checkout is asked for once, before any test, and remembered.
    """
    global _unmarked
    commit(), known_commits()
    _unmarked = "" if item.get_closest_marker("process") else item.nodeid
    try:
        return (yield)
    finally:
        _unmarked = ""


@pytest.fixture(autouse=True, scope="session")
def spawning_is_seen():
    """Python has no audit event for the one way in which ``multiprocessing`` starts what it does not fork."""
    with pytest.MonkeyPatch.context() as patch:
        start = multiprocessing.util.spawnv_passfds
        patch.setattr(
            multiprocessing.util, "spawnv_passfds", lambda *given: (_refuse("os.posix_spawn", given), start(*given))[1]
        )
        yield


@pytest.fixture(autouse=True, scope="session")
def children_know_no_terminal():
    """readline, which pytest imports, tells children how wide it takes the terminal to be, and not ``os.environ``."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
        os.unsetenv(name)


@pytest.fixture(autouse=True)
def one_thread():
    """Models of the tests are small; several threads would wait for each other, on a busy machine a hundred times as
    long as they work.
    """
    torch.set_num_threads(1)


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


@pytest.fixture
def workers_here(monkeypatch):
    """Runs start no workers: this process answers in their place."""
    for where in ("workers", "precheck"):
        monkeypatch.setattr(f"xbench.runner.{where}.ArmProcess", WorkerHere)
