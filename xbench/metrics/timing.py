"""Time per forward pass, in blocks of a few iterations, with what is known of the quality of each block.

A block is short (5 to 20 ms, or one iteration where that is longer), so that the controller can pass turns between
processes and a drifting machine hits all sides alike. ``torch.utils.benchmark.Timer.timeit`` would add at least two
untimed iterations to every block, seconds at high resolution; here only a block of short iterations begins with one.
"""

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

BLOCK_SECONDS = 0.02
CACHE_WARM_SECONDS = 0.1  # a block of shorter iterations begins with an untimed one: another process ran in between
SLOW_SECONDS = 0.5
AGREEMENT = 0.05
STEADY_FAULTS = 64  # minor page faults per iteration below which memory no longer grows


@dataclass(frozen=True)
class WarmUp:
    """How an arm got warm.

    Seconds of its first and of a warm iteration, how many it took, iterations per block from now on, and whether time
    and memory had settled.
    """

    first_seconds: float
    seconds: float
    iterations: int
    block_iterations: int
    settled: bool


@dataclass(frozen=True)
class Block:
    """Seconds and minor page faults per iteration; involuntary switches, stolen and stalled seconds of the block.

    ``parts``: seconds per iteration of each part of the step, where it has such.
    """

    seconds: float
    faults: float
    involuntary_switches: int
    steal_seconds: float
    stall_seconds: float
    parts: dict[str, float] = field(default_factory=dict)


def run(step: Callable[[], object], iterations: int) -> tuple[float, float]:
    """Runs ``step`` so often and returns seconds per iteration and minor page faults per iteration."""
    _synchronise()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    for _ in range(iterations):
        step()
    _synchronise()
    seconds = time.perf_counter() - start
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return seconds / iterations, faults / iterations


def warm_up(step: Callable[[], object], seconds: float, at_least: int) -> WarmUp:
    """Runs until the last two windows agree in time and memory no longer grows, or ``seconds`` are spent.

    The first call, in which code may be compiled, counts neither as one of ``at_least`` iterations nor in ``seconds``.
    """
    times: list[float] = []
    faults: list[float] = []
    settled = False
    spent = 0.0
    while True:
        elapsed, faulted = run(step, 1)
        times.append(elapsed)
        faults.append(faulted)
        spent += elapsed if len(times) > 1 else 0.0
        window = max(1, min(len(times) // 3, 10))  # of three, so that the cold start is in neither
        recent, before = median(times[-window:]), median(times[-2 * window : -window] or times)
        steady = median(faults[-window:]) <= STEADY_FAULTS
        # A first iteration of a second is as warm as two short ones.
        enough = len(times) >= (3 if recent >= SLOW_SECONDS else 4)
        settled = steady and enough and abs(recent / before - 1) <= AGREEMENT
        if len(times) > at_least and ((settled and spent >= 0.2) or spent >= seconds):
            break
    block_iterations = max(1, round(BLOCK_SECONDS / recent))
    # A very slow model spends its time before that; then a steady memory is what can be told.
    return WarmUp(times[0], recent, len(times), block_iterations, settled or (steady and not enough))


def measure_block(step: Callable[[], object], warm: WarmUp, parts: dict[str, float] | None = None) -> Block:
    """Times one block with garbage collection off.

    ``parts``: where the step adds up the seconds of its parts (``TrainingStep.parts``); starts from zero here.
    """
    parts = {} if parts is None else parts
    if warm.seconds < CACHE_WARM_SECONDS:
        run(step, 1)
    parts.update(dict.fromkeys(parts, 0.0))
    switches, steal, stall = _interference()
    gc.disable()
    try:
        seconds, faults = run(step, warm.block_iterations)
    finally:
        gc.enable()
    after_switches, after_steal, after_stall = _interference()
    each = {part: total / warm.block_iterations for part, total in parts.items()}
    return Block(seconds, faults, after_switches - switches, after_steal - steal, after_stall - stall, each)


def device_seconds(step: Callable[[], object]) -> list[float]:
    """Device time of each iteration with a cold L2 cache, in seconds, by ``triton.testing.do_bench``. CUDA only.

    Between events before and after, so it contains what the device waits for a process that hands out work too slowly,
    as small models in eager mode do.
    """
    from triton.testing import do_bench

    return [milliseconds / 1e3 for milliseconds in do_bench(step, return_mode="all")]


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _interference() -> tuple[int, float, float]:
    """Involuntary switches of this process, and seconds of steal and CPU stall of the machine (0 where unknown)."""
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    steal = stall = 0.0
    try:
        # Fields of /proc/stat are in ticks of 10 ms; the eighth of the first line is steal, over all CPUs.
        steal = int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / 100
        stall = int(Path("/proc/pressure/cpu").read_text().split("total=", 1)[1].split()[0]) / 1e6
    except (OSError, IndexError, ValueError):
        pass
    return switches, steal, stall
