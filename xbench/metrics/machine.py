"""The machine's own limits, measured: multiply–accumulates per second of a matrix product, bytes per second of a copy.

With a step's multiply–accumulates and its traffic they say how near to the machine a model comes (the roofline model,
Williams et al., Communications of the ACM 52(4), 2009). They are what torch reaches here, with this number of threads,
and not what a data sheet promises.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xbench.metrics.timing import device_seconds

SECONDS = 0.1  # for each of the two, on a CPU
REPETITIONS = 3  # at least

# On two CPU cores a product is within 6 % of its plateau from a side of 512 on; 1024 is for larger machines. Sides that
# would take too long are left out (fp16 on most CPUs).
SIDES = {"cpu": (256, 512, 1024), "cuda": (2048, 4096, 8192)}

# Twice this is read and written: more than the caches of a few cores hold, and little for a process whose heap is never
# trimmed.
COPIED_BYTES = {"cpu": 64 * 2**20, "cuda": 1024 * 2**20}


@dataclass(frozen=True)
class MachineLimits:
    """The best seen: multiply–accumulates per second, and bytes read and written per second."""

    macs_per_second: float
    copy_bytes_per_second: float


def machine_limits(device: torch.device, dtype: torch.dtype) -> MachineLimits:
    """Measures both, within some 0.3 s and 130 MiB on two CPU cores.

    Args:
        device: "cpu" or "cuda"; on a CPU the current number of threads counts.
        dtype: of the matrices. Those in fp32 follow torch's setting for TF32, as a model does.
    """
    return MachineLimits(_product_rate(device, dtype), _copy_rate(device))


def _copy_rate(device: torch.device) -> float:
    """Bytes read and written per second by a copy within one block of memory."""
    source, target = torch.zeros(2, COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device, SECONDS)


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply–accumulates per second of the fastest square product."""
    rates: list[float] = []
    end = time.perf_counter() + (SECONDS if device.type == "cpu" else math.inf)
    for side in SIDES[device.type]:
        left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        product = torch.empty_like(left)
        multiply = partial(torch.mm, left, right, out=product)
        rates.append(side**3 / _best(multiply, device, SECONDS / len(SIDES[device.type])))
        if time.perf_counter() >= end:
            break
    return max(rates)


def _best(work: Callable[[], Tensor], device: torch.device, seconds: float) -> float:
    """The shortest time of a few repetitions, in seconds, after one that does not count.

    On CUDA it is the device's own, after it has had work for long enough to be as fast as it gets: the first products
    of an H200 took 2.4 times as long as its later ones.
    """
    if device.type == "cuda":
        return min(device_seconds(work))
    times: list[float] = []
    while len(times) <= REPETITIONS or sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])
