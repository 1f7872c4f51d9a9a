"""The stated cost: the closed formula against torch's counter, and the stated growth in N against what is counted.

Growth is measured in counted multiply–accumulates and in peak memory, which are exact and quick, not in seconds.
"""

import math
from collections.abc import Callable
from unittest import SkipTest

import torch
from torch import Tensor

from xbench.attention.registry import stated_exponent
from xbench.conformance.check import Candidate, CheckFailed, Grid, check, require
from xbench.errors import UserError
from xbench.metrics.counting.counters import Count, count_torch
from xbench.metrics.counting.coverage import WIDTHS
from xbench.metrics.memory import peak_memory
from xbench.models.alone import Alone

COUNTED_GRIDS = ((8, 8), (12, 20), (32, 32))
MEMORY_GRIDS = ((20, 20), (40, 40))
FORMULA_GRIDS = ((2**10, 2**10), (2**11, 2**11))
COUNTER_GRIDS = ((64, 64), (128, 128))
FORMULA_TOLERANCE = 0.02
EXPONENT_TOLERANCE = 0.15


def at_real_widths(candidate: Candidate, grid: Grid, device: str = "meta") -> tuple[Alone, Tensor]:
    """The attention where what acts on single elements is a small share, and one sequence for it."""
    with torch.device(device):
        widths = real_widths(candidate)
        return Alone(candidate.build(widths=widths), grid), torch.zeros(1, grid[0] * grid[1], widths["embed_dim"])


def real_widths(candidate: Candidate) -> dict[str, int]:
    """Those of a model, with the heads of the candidate."""
    return {**WIDTHS, "num_heads": candidate.widths["num_heads"]}


def counted(candidate: Candidate, grid: Grid) -> Count:
    """What is counted in one sequence, with real tensors where the attention does not run without."""
    with torch.inference_mode(False), torch.no_grad():
        try:
            model, x = at_real_widths(candidate, grid)
            return count_torch(model, x, {})
        except UserError:
            raise
        except Exception:
            model, x = at_real_widths(candidate, grid, "cpu")
            return count_torch(model, x, {})


@check("cost formula")
def cost_formula(candidate: Candidate) -> str:
    """``macs(grid)`` is above zero and what torch's counter counts, at three sizes; not below, where no rule knows an
    operation."""
    ratios = []
    unruled = ""
    for grid in COUNTED_GRIDS:
        try:
            count = counted(candidate, grid)
        except UserError:
            continue
        unruled = f"; no rule knows {', '.join(sorted(count.unknown))}" if count.unknown else ""
        formula = getattr(candidate.build(widths=real_widths(candidate)), "macs", None)
        if formula is None:
            require(count.total > 0, f"has no macs(grid) of its own and torch's counter sees no cost in it{unruled}")
            stands_in = "is a lower bound of it" if unruled else "stands in for it"
            raise SkipTest(f"it has no macs(grid) of its own; torch's count {stands_in}{unruled}")
        stated = formula(grid)
        require(stated > 0, f"states {stated} multiply–accumulates; an attention that costs nothing is an error")
        require(stated == int(stated), f"states {stated} multiply–accumulates, not a whole number")
        ratio = count.total / stated
        ratios.append(ratio)
        enough = count.total == 0 or bool(unruled) or ratio >= 1 - FORMULA_TOLERANCE
        require(
            enough and ratio <= 1 + FORMULA_TOLERANCE,
            f"states {stated:,} on a grid of {grid[0]} × {grid[1]}; torch counts {ratio:.3f} of that",
        )
    if not ratios:
        raise SkipTest("refuses the sizes that are counted")
    if not any(ratios):
        raise SkipTest(f"torch's counter sees no product in it, so nothing checks the formula{unruled}")
    low, high = (f"{ratio:.3f}" for ratio in (min(ratios), max(ratios)))
    return f"torch counts {low} of it{unruled}" if low == high else f"torch counts {low} to {high}{unruled}"


@check("growth in N")
def growth_in_n(candidate: Candidate) -> str:
    """Counted work and peak memory together grow with N as stated, by exponent; measured exactly, not timed."""
    measured = {"work": exponent(lambda grid: _work(candidate, grid), _work_grids(candidate))}
    try:
        measured["memory"] = exponent(lambda grid: _activations(candidate, grid), MEMORY_GRIDS)
    except UserError:
        measured["memory"] = math.nan
    words = " and ".join(f"N^{value:.2f} in {what}" for what, value in measured.items() if not math.isnan(value))
    cost = stated_cost(candidate)
    if not cost:
        raise SkipTest(f"it states no cost; measured: {words}")
    stated = stated_exponent(cost)
    if stated is None:
        raise SkipTest(f"cannot read the stated cost '{cost}'; measured: {words}")
    largest = max(value for value in measured.values() if not math.isnan(value))
    if abs(largest - stated) > EXPONENT_TOLERANCE:
        raise CheckFailed(f"states {cost}, but grows as {words}")
    return words


def stated_cost(candidate: Candidate) -> str:
    """The cost in N that the attention was registered with; empty where it was not."""
    return getattr(getattr(candidate.build(), "attention_info", None), "cost", "")


def exponent(measure: Callable[[Grid], float], grids: tuple[Grid, Grid]) -> float:
    """The power of N with which ``measure`` grows from the first grid to the second; 0 where it stays zero."""
    small, large = (measure(grid) for grid in grids)
    if not small or not large:
        return 0.0
    first, second = (rows * cols for rows, cols in grids)
    return math.log(large / small) / math.log(second / first)


def _work_grids(candidate: Candidate) -> tuple[Grid, Grid]:
    return FORMULA_GRIDS if hasattr(candidate.build(), "macs") else COUNTER_GRIDS


def _work(candidate: Candidate, grid: Grid) -> float:
    attention = candidate.build()
    formula = getattr(attention, "macs", None)
    return counted(candidate, grid).total if formula is None else formula(grid)


def _activations(candidate: Candidate, grid: Grid) -> float:
    attention = candidate.build().requires_grad_(False)
    x = candidate.tokens(grid, batch=1)
    return peak_memory(lambda: attention(x, grid), attention, x, torch.device("cpu")).activations
