"""What counters of MACs miss in an attention: ratios to its closed formula, and the time spent where none has a rule.

The attention stands alone, at the widths of stage 3 of XFormer-s, for one sequence. Counting happens on the meta
device. Time is the CPU time that the profiler gives to each operation, over a few forwards on one thread: good enough
for a share of the time, and for nothing else.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from xbench.attention.spec import build_attention
from xbench.errors import UserError
from xbench.metrics.counting.counters import (
    DATA_MOVEMENT,
    FVCORE_MAC_RULES,
    Count,
    count_fvcore,
    count_ptflops,
    count_torch,
)
from xbench.metrics.counting.products import RULES
from xbench.models.alone import Alone

WIDTHS = {"embed_dim": 144, "qkv_dim": 96, "num_heads": 4}
GRIDS = ((16, 16), (32, 32), (64, 64))
FORWARDS = 5
COUNTERS: dict[str, Callable[[nn.Module, Tensor, dict[str, nn.Module]], Count]] = {
    "torch": count_torch,
    "fvcore": count_fvcore,
    "ptflops": count_ptflops,
}
# Composites of views and copies; the parts that torch itself marks as views are found by asking it.
MOVING = DATA_MOVEMENT | {"contiguous", "reshape", "to", "flatten", "unflatten", "chunk", "repeat", "pad", "roll"}


@dataclass(frozen=True)
class Coverage:
    """What was found for one attention; figures per entry of ``GRIDS``, None where it refuses that size.

    Attributes:
        formula: MACs by its own closed formula, by torch's count where it has none.
        ratios: by counter, its count relative to ``formula``; None where it failed.
        without_rule: by counter, the operations it met and has no rule for, the most output elements first.
        seen, moving: shares of the time in operations that a counter has a rule for, and that only move data.
        unseen: the rest, by operation, the largest share first. All shares are of the largest size that it takes.
        at_least: operations that may multiply and that no rule knows, where torch's count stands in for the formula.
        problem: why there are no figures; empty where there are.
    """

    attention: str
    has_formula: bool = True
    formula: tuple[int | None, ...] = ()
    ratios: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    without_rule: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seen: float = 0.0
    moving: float = 0.0
    unseen: tuple[tuple[str, float], ...] = ()
    at_least: tuple[str, ...] = ()
    problem: str = ""


def coverage(name: str) -> Coverage:
    """Counts and profiles the attention of that spec string; its ``problem`` says why that cannot be done."""
    try:
        with torch.device("meta"):
            attention = build_attention(name, **WIDTHS).eval()
        found = [_count(attention, grid) for grid in GRIDS]
        if not any(found):
            return Coverage(name, problem="it refuses every size that was tried")
        seen, moving, unseen = time_shares(name, max(grid for grid, one in zip(GRIDS, found, strict=True) if one))
    except (UserError, ZeroCostError) as error:
        return Coverage(name, problem=str(error))
    except Exception as error:
        return Coverage(name, problem=f"{type(error).__name__}: {error}".partition("\n")[0][:300])
    formulas = tuple(one[0] if one else None for one in found)
    counts = {name: tuple(one[1][name] if one else None for one in found) for name in COUNTERS}
    ratios = {
        name: tuple(n.total / f if n and f else None for n, f in zip(own, formulas, strict=True))
        for name, own in counts.items()
    }
    without = {name: _without_rule(own) for name, own in counts.items()}
    has_formula = hasattr(attention, "macs")
    unknown = {op for count in counts["torch"] if count and not has_formula for op in count.unknown}
    return Coverage(name, has_formula, formulas, ratios, without, seen, moving, unseen, tuple(sorted(unknown)))


class ZeroCostError(ValueError):
    """An attention that costs nothing by its formula, or has none and counts as nothing."""


def _count(attention: nn.Module, grid: tuple[int, int]) -> tuple[int, dict[str, Count | None]] | None:
    model = Alone(attention, grid)
    x = torch.empty(1, grid[0] * grid[1], WIDTHS["embed_dim"], device="meta")
    counts: dict[str, Count | None] = {}
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, count in COUNTERS.items():
            try:
                counts[name] = count(model, x, {"attention": attention})
            except UserError:
                return None
            except Exception:
                counts[name] = None
    torch_count = counts["torch"]
    closed_form = getattr(attention, "macs", None)
    stated = closed_form(grid) if closed_form else torch_count.total if torch_count else 0
    if stated <= 0:
        source = "its formula" if closed_form else "torch, and it has no formula"
        raise ZeroCostError(f"counts as zero by {source}; an attention that costs nothing is an error")
    return stated, counts


def _without_rule(counts: tuple[Count | None, ...]) -> tuple[str, ...]:
    last = next((count for count in reversed(counts) if count), None)
    ops = [op.op.removeprefix("aten.").removeprefix("aten::") for op in last.uncounted] if last else []
    return tuple(dict.fromkeys(op for op in ops if op not in MOVING and not _is_view(op)))


def time_shares(name: str, grid: tuple[int, int]) -> tuple[float, float, tuple[tuple[str, float], ...]]:
    """Shares of the time of a CPU forward: operations that any counter has a rule for, moving data, each other one."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    torch.manual_seed(0)
    model = Alone(build_attention(name, **WIDTHS).eval().requires_grad_(False), grid)
    x = torch.randn(1, grid[0] * grid[1], WIDTHS["embed_dim"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(2):
                model(x)
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                for _ in range(FORWARDS):
                    model(x)
    finally:
        torch.set_num_threads(threads)
    times: Counter[str] = Counter()
    for event in profiler.events() or ():
        if event.name.startswith("aten::"):
            times[_kind(event)] += event.self_cpu_time_total
    total = sum(times.values()) or 1.0
    shares = {kind: microseconds / total for kind, microseconds in times.most_common()}
    seen, moving = shares.pop(SEEN, 0.0), shares.pop(MOVED, 0.0)
    return seen, moving, tuple(shares.items())


SEEN, MOVED = "seen", "moved"


def _kind(event: Any) -> str:
    """SEEN or MOVED where the operation, or one that it is part of, is; else its name."""
    parents = [event]
    while parents[-1].cpu_parent is not None:
        parents.append(parents[-1].cpu_parent)
    names = [parent.name.removeprefix("aten::") for parent in parents]
    if rules() & set(names):
        return SEEN
    if any(name in MOVING or _is_view(name) for name in names):
        return MOVED
    return names[0].strip("_")


def rules() -> set[str]:
    """Names of the operations that at least one of the counters has a rule for."""
    from ptflops.aten_engine import FlopCounterMode as PtflopsCounterMode

    ptflops = PtflopsCounterMode(output_params={"print_params": {}, "serialize_params": {}}).all_ops
    packets = [packet.__name__ for packet in ptflops]
    return {*RULES, *packets, *(op.removeprefix("aten::") for op in FVCORE_MAC_RULES)}


def _is_view(name: str) -> bool:
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and any(getattr(packet, overload).is_view for overload in packet.overloads())
