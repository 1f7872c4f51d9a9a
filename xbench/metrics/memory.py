"""Peak memory of one forward (or one step), in bytes: exact and repeatable, so that it is compared by equality.

CPU: the running sum of the profiler's allocation events, which torch's allocator itself reports. It sees the scratch
memory of kernels (fused attention, convolutions), which trackers of tensors miss. It does not see what a library
allocates behind torch's back, nor how the C allocator rounds. Kernel scratch depends on the number of threads and on
the CPU's instruction set, so a figure belongs to both.

CUDA: the caching allocator's own peak counters. ``requested`` is what the model asked for and repeats exactly;
``allocated`` adds the rounding of blocks, ``reserved`` what the allocator holds from the device.

Measure in another process than time: the profiler slows the model down.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class PeakMemory:
    """Bytes. JSON-friendly through ``dataclasses.asdict``.

    ``resident``: parameters, buffers, state of the optimizer and input, each storage once. ``activations``: the most
    that the step held on top of what was there before it, with its output and scratch, and in training with what is
    saved for the backward pass and the gradients. ``total``: the figure to compare;
    resident + activations on the CPU, the peak of requested bytes on CUDA (where it also contains whatever else lives
    on the device, such as the workspaces of cuBLAS). The last three are CUDA's peaks, None on the CPU; ``requested``
    is also None under an allocator that does not report it, and ``total`` is then the allocated peak.
    """

    resident: int
    activations: int
    total: int
    requested: int | None = None
    allocated: int | None = None
    reserved: int | None = None


def peak_memory(
    step: Callable[[], object],
    model: nn.Module,
    inputs: Tensor,
    device: torch.device,
    *,
    warm: bool = False,
    optimizer: Optimizer | None = None,
) -> PeakMemory:
    """Peak memory of a *later* ``step()``, one with lazily made tables, compiled code and workspaces in place.

    Args:
        step: runs ``model`` on ``inputs``: a forward in the grad mode that is meant, or a step of training that leaves
            no gradients.
        device: where both are; "cpu" or "cuda".
        warm: a step of this shape has already run; otherwise one runs first, unmeasured. On the CPU in eager mode the
            first forward has the same peak as the later ones; the first step of training, which makes the optimizer's
            state, has not, and never counts.
        optimizer: what a step of training uses.

    Raises:
        ValueError: another device.
        torch.OutOfMemoryError, RuntimeError: from ``step``; on the CPU torch raises a plain RuntimeError.
    """
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"peak memory can be measured on cpu and cuda, not on {device.type}")
    if not warm or (optimizer is not None and not optimizer.state):
        step()
    resident = resident_bytes(model, inputs, optimizer)
    return _cuda_peak(step, resident, device) if device.type == "cuda" else _cpu_peak(step, resident)


def resident_bytes(model: nn.Module, inputs: Tensor, optimizer: Optimizer | None = None) -> int:
    """Bytes of parameters, buffers, optimizer state and input; a storage that several tensors share counts once."""
    state = (tensor for entry in optimizer.state.values() for tensor in entry.values()) if optimizer else ()
    storages = {}
    for tensor in (*model.parameters(), *model.buffers(), *state, inputs):
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            # The address of the storage itself, because those on the meta device have no data.
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


def _cpu_peak(step: Callable[[], object], resident: int) -> PeakMemory:
    # Kineto announces each start and stop on stderr, and that it found no GPU; 6 is above its highest level. It reads
    # this when the first profiler starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        output = step()
    del output
    activations = peak_of(allocations(profiler))
    return PeakMemory(resident, activations, resident + activations)


def allocations(profiler: profile) -> list[tuple[int, int]]:
    """The (address, bytes) of every allocation and, with negative bytes, every release, in order of time.

    Read from the profiler's event tree, because it alone tells addresses at no cost: the flat list of "[memory]"
    events has sizes only, and the memory timeline needs ``record_shapes``, under which it keeps tensors alive.
    """
    results = profiler.profiler.kineto_results if profiler.profiler else None
    if results is None:
        raise RuntimeError("the profiler kept no results")
    found = []
    for event in _walk(results.experimental_event_tree()):
        kind, fields = event.typed
        if kind.name == "Allocation":
            found.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    found.sort(key=lambda allocation: allocation[0])
    return [(address, size) for _, address, size in found]


def _walk(events: list[Any]) -> Iterator[Any]:
    pending = list(reversed(events))
    while pending:
        event = pending.pop()
        yield event
        pending.extend(reversed(event.children))


def peak_of(events: list[tuple[int, int]]) -> int:
    """The highest sum of live bytes.

    A release counts only for a block whose allocation was seen: memory from before the profile lowers nothing, also
    when the profiler still has an old size on file for its address.
    """
    live: dict[int, int] = {}
    current = peak = 0
    for address, size in events:
        if size > 0:
            live[address] = size
            current += size
            peak = max(peak, current)
        else:
            current -= live.pop(address, 0)
    return peak


def _cuda_peak(step: Callable[[], object], resident: int, device: torch.device) -> PeakMemory:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)
    output = step()
    torch.cuda.synchronize(device)
    del output
    return read_cuda_stats(before, torch.cuda.memory_stats(device), resident)


def read_cuda_stats(before: dict[str, int], after: dict[str, int], resident: int) -> PeakMemory:
    """PeakMemory from ``torch.cuda.memory_stats`` taken before (peaks just reset) and after the step."""
    kind = "requested_bytes" if after.get("requested_bytes.all.peak") else "allocated_bytes"
    total = after[f"{kind}.all.peak"]
    return PeakMemory(
        resident=resident,
        activations=total - before[f"{kind}.all.current"],
        total=total,
        requested=after.get("requested_bytes.all.peak") or None,
        allocated=after["allocated_bytes.all.peak"],
        reserved=after["reserved_bytes.all.peak"],
    )


def largest_batch(peak: Callable[[int], float], limit: int, start: int = 1) -> tuple[int, float]:
    """The largest batch whose peak stays within ``limit``, and that peak; (0, peak of one) where one is too many.

    Memory grows with the batch in a line, but for the scratch of kernels, which may come in steps. So the first two
    measurements draw a line, the batch that it promises is measured, and a line from there corrects it, until the line
    promises no more than what was seen to fit: three or four measurements where the growth is straight.

    Args:
        peak: measures the peak of one step at that batch, in bytes; infinite where there is no memory for it. It may
            be asked for a batch that is a little too large, and has to survive that.
        limit: bytes.
        start: the batch to measure first; where it does not fit, one image is.
    """
    fits, used = start, peak(start)
    if used > limit:
        return (0, used) if start == 1 else largest_batch(peak, limit)
    candidate, too_many = 2 * start, math.inf
    while fits < candidate < too_many:
        needed = peak(candidate)
        if math.isinf(needed):
            too_many = candidate
            candidate = (fits + candidate) // 2
            continue
        per_image = (needed - used) / (candidate - fits)
        if needed <= limit:
            fits, used = candidate, needed
        else:
            too_many = candidate
        candidate = fits + int((limit - used) / per_image) if per_image > 0 else 2 * fits
        if candidate >= too_many:
            candidate = int(too_many) - 1
    return fits, used
