"""Peak memory of one forward (or one step), in bytes: exact and repeatable, so that it is compared by equality.

CPU: the running sum of the profiler's allocation events, which torch's allocator itself reports. It sees the scratch
memory of kernels (fused attention, convolutions), which trackers of tensors miss. It does not see what a library
allocates behind torch's back, nor how the C allocator rounds. Kernel scratch depends on the number of threads and on
the CPU's instruction set, so a figure belongs to both.

CUDA: the caching allocator's own peak counters. ``requested`` is what the model asked for and repeats exactly;
``allocated`` adds the rounding of blocks, ``reserved`` what the allocator holds from the device.

Measure in another process than time: the profiler slows the model down.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class PeakMemory:
    """Bytes. JSON-friendly through ``dataclasses.asdict``.

    ``resident``: parameters, buffers and input, each storage once. ``activations``: the most that the forward held on
    top of what was there before it, its output and scratch included. ``total``: the figure to compare;
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
    forward: Callable[[], Tensor], model: nn.Module, inputs: Tensor, device: torch.device, *, warm: bool = False
) -> PeakMemory:
    """Peak memory of a *later* ``forward()``, one with lazily made tables, compiled code and workspaces in place.

    Args:
        forward: runs ``model`` on ``inputs``, in the grad mode that is meant.
        device: where both are; "cpu" or "cuda".
        warm: a forward of this shape has already run; otherwise one runs first, unmeasured. On the CPU in eager mode
            the first forward has the same peak as the later ones.

    Raises:
        ValueError: another device.
        torch.OutOfMemoryError, RuntimeError: from ``forward``; on the CPU torch raises a plain RuntimeError.
    """
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"peak memory can be measured on cpu and cuda, not on {device.type}")
    if not warm:
        forward()
    resident = resident_bytes(model, inputs)
    return _cuda_peak(forward, resident, device) if device.type == "cuda" else _cpu_peak(forward, resident)


def resident_bytes(model: nn.Module, inputs: Tensor) -> int:
    """Bytes of parameters, buffers and input; a storage that several tensors share counts once."""
    storages = {}
    for tensor in (*model.parameters(), *model.buffers(), inputs):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _cpu_peak(forward: Callable[[], Tensor], resident: int) -> PeakMemory:
    # Kineto announces each start and stop on stderr, and that it found no GPU; 6 is above its highest level. It reads
    # this when the first profiler starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        output = forward()
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


def _cuda_peak(forward: Callable[[], Tensor], resident: int, device: torch.device) -> PeakMemory:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)
    output = forward()
    torch.cuda.synchronize(device)
    del output
    return read_cuda_stats(before, torch.cuda.memory_stats(device), resident)


def read_cuda_stats(before: dict[str, int], after: dict[str, int], resident: int) -> PeakMemory:
    """PeakMemory from ``torch.cuda.memory_stats`` taken before (peaks just reset) and after the forward."""
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
