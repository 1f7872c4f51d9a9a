"""Gradients against finite differences, and values and gradients against the attention's own naive reference."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from unittest import SkipTest

import torch
from torch import Tensor, nn

from xbench.conformance.check import GRID, Candidate, Grid, check, require, require_close

SMALL = (2, 3)
DIRECTIONS = 3
# Narrow ones for strong curvature, wide ones for modules that compute in fp32 inside, as some do for stability.
STEPS = (1e-6, 1e-5, 1e-4, 1e-3)
GRADIENT_TOLERANCE = 2e-3
# Of the largest gradient. Below it a gradient is zero, whose differences are nothing but rounding.
FLOOR = 1e-7


@check("gradients")
def gradients(candidate: Candidate) -> None:
    """In fp64, gradients in the tokens and in every parameter are those of finite differences.

    As in the fast mode of ``torch.autograd.gradcheck``, along random directions; a failure names the tensor. Of several
    steps the one that is nearest counts, as far as it agrees with the next longer or shorter one.
    """
    attention = candidate.build(dtype=torch.float64)
    grid = small(candidate)
    x = candidate.tokens(grid, batch=2, dtype=torch.float64)
    tensors = {"input": x, **{name: p.detach().clone() for name, p in attention.named_parameters()}}
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = draw(x.shape)

    def value(tensors: dict[str, Tensor]) -> Tensor:
        rest = dict(tensors)
        y = torch.func.functional_call(attention, rest, (rest.pop("input"), grid))
        require(y.dtype == torch.float64, f"returned {y.dtype} for torch.float64")
        return (y * weights).sum()

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    found = torch.autograd.grad(value(leaves), list(leaves.values()), materialize_grads=True)
    floor = FLOOR * max(float(gradient.norm()) for gradient in found)
    for (name, tensor), gradient in zip(tensors.items(), found, strict=True):
        for _ in range(DIRECTIONS):
            direction = draw(tensor.shape)
            slope = float((gradient * direction).sum())
            with torch.no_grad():
                differences = [
                    float(value({**tensors, name: tensor + step}) - value({**tensors, name: tensor - step}))
                    / (2 * size)
                    for size, step in ((size, size * direction) for size in STEPS)
                ]
            nearest = min(differences, key=lambda difference: abs(difference - slope))
            unsure = min(abs(one - other) for one, other in pairwise(differences) if nearest in (one, other))
            scale = max(abs(slope), abs(nearest), float(gradient.norm()))
            require(
                abs(slope - nearest) <= GRADIENT_TOLERANCE * scale + 3 * unsure + floor,
                f"gradient in '{name}' along a direction is {slope:.4g}; by differences {nearest:.4g}",
            )


def small(candidate: Candidate) -> Grid:
    """A grid of few tokens, or the candidate's own where it does not take that."""
    return SMALL if candidate.grid == GRID else candidate.grid


@check("reference")
def reference(candidate: Candidate) -> str | None:
    """In fp64, values and gradients equal those of its own naive ``reference``.

    That is a method ``reference(self, x, grid)``, or a function ``reference(attention, x, grid)`` beside the class.
    """
    attention = candidate.build(dtype=torch.float64)
    naive = find_reference(attention)
    if naive is None:
        raise SkipTest("it has no reference(x, grid) of its own")
    grid = small(candidate)
    x = candidate.tokens(grid, dtype=torch.float64)
    found, expected = (_values_and_gradients(function, attention, x, grid) for function in (attention, naive))
    for name, value in found.items():
        require(expected[name] is not None, f"{name}: the reference gives none")
        require_close(value, expected[name], f"{name}, against the reference", tolerance=1e-9)
    return None


def find_reference(attention: nn.Module) -> Callable[[Tensor, tuple[int, int]], Tensor] | None:
    """The naive form that an attention brings with it, as a function of (x, grid); None where it has none."""
    method = getattr(attention, "reference", None)
    if callable(method):
        return method
    function = getattr(sys.modules.get(type(attention).__module__), "reference", None)
    if not inspect.isfunction(function):
        return None
    return lambda x, grid: function(attention, x, grid)


def _values_and_gradients(
    function: Callable[[Tensor, Grid], Tensor], attention: nn.Module, x: Tensor, grid: Grid
) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    names, parameters = zip(("input", x), *attention.named_parameters(), strict=True)
    y = function(x, grid)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    found = torch.autograd.grad((y * weights).sum(), parameters, allow_unused=True)
    gradients = {
        f"gradient in '{name}'": torch.zeros(()) if g is None else g for name, g in zip(names, found, strict=True)
    }
    return {"output": y.detach(), **gradients}
