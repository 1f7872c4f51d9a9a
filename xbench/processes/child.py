"""What every process does that a run starts: keep to its memory, and answer on a channel of its own."""

import contextlib
import ctypes
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import IO

import torch

from xbench.errors import UserError
from xbench.processes.shortage import tells_of_shortage
from xbench.records.record import Status

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt
REST_SECONDS = 0.1  # after which threads are taken never to sleep


def begin() -> IO[str]:
    """Makes this process a child that can be relied on, and gives the stream for its answers.

    Whatever else is printed goes to standard error: standard output belongs to the protocol.
    """
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    limit_memory(int(os.environ.get("XBENCH_MEMORY_LIMIT", "0")))
    return answers


def rest() -> bool:
    """Waits until all other threads of this process sleep, and says whether they do.

    After a parallel region OpenMP's threads spin for some milliseconds (7 seen) in the hope of the next. Whoever has
    the next turn would share the processors with them. Watching them takes as long as they spin, and no longer.
    """
    end = time.monotonic() + REST_SECONDS
    while _busy_threads():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def _busy_threads() -> bool:
    own = str(threading.get_native_id())
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            if task.name != own and (task / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def keep_heap() -> None:
    """Makes this process keep the memory it has freed, as a worker does by ``processes.policy.KEPT_HEAP``.

    For a command that trains in its own process. It made 106 images per second out of 85 to 97, which changed from run
    to run, with a seventh of the page faults. Nothing happens without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never


def limit_memory(max_bytes: int) -> None:
    """Makes allocations beyond the limit fail, and this process the first that the kernel kills for memory.

    What the process holds before it has a model does not count.
    """
    import resource

    if max_bytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (max_bytes + status_bytes("VmData"), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def status_bytes(field: str) -> int:
    """A figure of this process's memory in bytes, as the kernel tells it: "VmData" is mapped, "RssAnon" is in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def failure(error: Exception) -> tuple[Status, str]:
    """The status of a record that this error makes, and the reason in words."""
    if isinstance(error, UserError):
        return "unsupported", str(error)
    return "oom" if is_oom(error) else "crash", f"{type(error).__name__}: {_first_line(error)}"


def is_oom(error: Exception) -> bool:
    """Whether an allocation failed, torch's own or a library's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or tells_of_shortage(str(error))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
