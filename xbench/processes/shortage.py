"""Memory that ran out: how libraries say so, and whose doing it was. No torch here."""

import re
from pathlib import Path

import psutil

OWN_SHARE = 0.5  # of the memory that was free at its start; from then on a process has itself to thank for its end
# What is said of a failed allocation, by whom. A primitive's descriptor that fails is a layer that oneDNN cannot run.
FAILED_ALLOCATION = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory"  # torch on the CPU, the C library
    r"|could not create a (primitive(?! desc)|memory object)|out_of_memory"  # oneDNN
    r"|bad_alloc|bad allocation"  # C++
    r"|out of memory|_STATUS_ALLOC_FAILED",  # CUDA, its libraries
    re.IGNORECASE,
)


def tells_of_shortage(text: str) -> bool:
    """Whether an error's text is that of an allocation that failed. There is no exception type for it on the CPU."""
    return FAILED_ALLOCATION.search(text) is not None


def free_bytes() -> int:
    """The machine's memory that a new process can have."""
    return psutil.virtual_memory().available


def oom_kills() -> int:
    """Processes that the kernel has killed for memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def own_doing(held: int, free: int) -> bool:
    """Whether a process that the kernel killed for memory was too large itself.

    Args:
        held: the most bytes that it had at once; of a process that was forked, no less than the one that it came from.
        free: bytes that were free when it started.
    """
    return held > OWN_SHARE * free


def killed_reason(held: int, free: int) -> str:
    """In words, why the kernel killed a process for memory; the arguments are those of ``own_doing``."""
    whose = "by the process's own size" if own_doing(held, free) else "because of other processes"
    sizes = f"it held at most {held / 2**30:,.1f} of the {free / 2**30:,.1f} GiB that were free when it started"
    return f"killed by the kernel, because the machine's memory ran out {whose}: {sizes}"
