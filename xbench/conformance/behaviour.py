"""What an attention must do with tokens: keep shapes, keep sequences apart, repeat itself, stay finite."""

from contextlib import suppress
from unittest import SkipTest

import torch

from xbench.conformance.check import Candidate, CheckFailed, check, require, require_close, require_finite
from xbench.errors import UserError

SQUARES = ((1, 1), (2, 2), (4, 4), (7, 7), (12, 12))
OBLONGS = ((2, 7), (7, 2), (1, 9), (9, 1), (5, 12))
# bf16 has 8 bits of mantissa; a handful of operations in a row lose a few of them.
BF16_TOLERANCE = 0.1


@check("shapes", quick=True)
def shapes(candidate: Candidate) -> str | None:
    """[B, N, C] → [B, N, C] for several N and B, the input left as it was."""
    return _keeps_shapes(candidate, SQUARES)


@check("non-square grids")
def non_square_grids(candidate: Candidate) -> str | None:
    """The same on grids with unequal sides, down to one row."""
    return _keeps_shapes(candidate, OBLONGS)


def _keeps_shapes(candidate: Candidate, grids: tuple[tuple[int, int], ...]) -> str | None:
    attention = candidate.build()
    refused = {}
    for grid in grids:
        for batch in (1, 3):
            x = candidate.tokens(grid, batch)
            before = x.clone()
            try:
                with torch.no_grad():
                    y = attention(x, grid)
            except UserError as error:
                refused[grid] = str(error)
                continue
            except Exception as error:
                error.add_note(f"on a grid of {_show(grid)}")
                raise
            require(isinstance(y, torch.Tensor), f"returned a {type(y).__name__}, not a tensor")
            require(y.shape == x.shape, f"returned {list(y.shape)} for {list(x.shape)} on a grid of {_show(grid)}")
            require(y.dtype == x.dtype, f"returned {y.dtype} for {x.dtype}")
            require_finite(y, f"output on a grid of {_show(grid)}")
            require(torch.equal(x, before), "changed its input in place")
    if len(refused) == len(grids):
        why = f"refuses every grid that was tried: {refused[grids[0]]}"
        if grids is OBLONGS:
            raise SkipTest(why)
        raise CheckFailed(why)
    return f"refuses {', '.join(map(_show, refused))}" if refused else None


def _show(grid: tuple[int, int]) -> str:
    return f"{grid[0]} × {grid[1]}"


@check("batch independence", quick=True)
def batch_independence(candidate: Candidate) -> None:
    """A sequence gives the same alone, in a batch, and beside other sequences."""
    attention = candidate.build()
    x = candidate.tokens(batch=3)
    others = torch.cat((x[:1], 10 * candidate.tokens(batch=2, seed=2)))
    with torch.no_grad():
        together, alone, beside = (
            attention(x, candidate.grid),
            attention(x[:1], candidate.grid),
            attention(others, candidate.grid),
        )
    require_close(together[:1], alone, "a sequence in a batch and alone")
    require_close(beside[:1], together[:1], "a sequence beside two others and beside two more")


@check("determinism", quick=True)
def determinism(candidate: Candidate) -> None:
    """The same seed gives the same weights, the same input the same output, bit by bit, whatever ran in between."""
    attention, again = candidate.build(), candidate.build()
    for (name, one), other in zip(attention.state_dict().items(), again.state_dict().values(), strict=True):
        require(torch.equal(one, other), f"built twice from one seed, '{name}' differs")
    x = candidate.tokens()
    with torch.no_grad():
        first = attention(x, candidate.grid)
        with suppress(UserError):  # as one that takes a single grid does
            attention(candidate.tokens((3, 3), seed=3), (3, 3))
        require(torch.equal(attention(x, candidate.grid), first), "the same input gave another output the second time")
        require(torch.equal(again(x, candidate.grid), first), "two instances with equal weights gave different outputs")


@check("finite in fp32", quick=True)
def finite_in_fp32(candidate: Candidate) -> None:
    """Outputs and gradients are finite for random, large, equal and zero tokens."""
    _stays_finite(candidate, torch.float32)


@check("finite in bf16")
def finite_in_bf16(candidate: Candidate) -> str:
    """The same in bf16, with outputs near those of fp32."""
    _stays_finite(candidate, torch.bfloat16)
    grid = (12, 12)
    with torch.no_grad():
        exact = candidate.build()(candidate.tokens(grid), grid)
        half = candidate.build(dtype=torch.bfloat16)(candidate.tokens(grid, dtype=torch.bfloat16), grid)
    error = float((half.float() - exact).norm() / exact.norm().clamp_min(1e-6))
    require(error <= BF16_TOLERANCE, f"differs from fp32 by {error:.0%}; allowed {BF16_TOLERANCE:.0%}")
    return f"{error:.1%} from fp32"


def _stays_finite(candidate: Candidate, dtype: torch.dtype) -> None:
    x = candidate.tokens(dtype=dtype)
    inputs = {"random": x, "large": 30 * x, "equal": x[:, :1].expand_as(x), "zero": torch.zeros_like(x)}
    for kind, tokens in inputs.items():
        attention = candidate.build(dtype=dtype)
        tokens = tokens.clone().requires_grad_()
        y = attention(tokens, candidate.grid)
        require(y.dtype == dtype, f"returned {y.dtype} for {dtype}")
        require_finite(y, f"output for {kind} tokens")
        if not y.requires_grad:
            raise SkipTest("nothing in it has a gradient")
        y.float().square().sum().backward()
        if tokens.grad is not None:
            require_finite(tokens.grad, f"gradient in the input for {kind} tokens")
        for name, parameter in attention.named_parameters():
            if parameter.grad is not None:
                require_finite(parameter.grad, f"gradient in '{name}' for {kind} tokens")


@check("autocast")
def autocast(candidate: Candidate) -> None:
    """Under autocast to bf16, fp32 tokens and weights give finite outputs and gradients."""
    attention = candidate.build()
    x = candidate.tokens().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = attention(x, candidate.grid)
    require(y.shape == x.shape, f"returned {list(y.shape)} for {list(x.shape)}")
    require_finite(y, "output")
    if y.requires_grad:
        y.float().square().sum().backward()
        require_finite(x.grad if x.grad is not None else y, "gradient in the input")


@check("train and eval")
def train_and_eval(candidate: Candidate) -> str | None:
    """Without dropout or batch statistics, training and evaluation mode give the same."""
    attention = candidate.build()
    x = candidate.tokens()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        expected = attention(x, candidate.grid)
        attention.train()
        once, twice = attention(x, candidate.grid), attention(x, candidate.grid)
    if not torch.equal(once, twice):
        raise SkipTest("random in training, as dropout is")
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in attention.modules()):
        raise SkipTest("uses the statistics of the batch in training")
    require_close(once, expected, "training mode")
    return None


@check("strides")
def strides(candidate: Candidate) -> None:
    """Tokens that lie in memory as an image does, channels first, give the same as contiguous ones."""
    attention = candidate.build()
    x = candidate.tokens()
    channels_first = x.transpose(1, 2).contiguous().transpose(1, 2)
    every_second = torch.stack((x, torch.zeros_like(x)), dim=1).flatten(0, 1)[::2]
    with torch.no_grad():
        expected = attention(x, candidate.grid)
        require_close(attention(channels_first, candidate.grid), expected, "tokens with the strides of an image")
        require_close(attention(every_second, candidate.grid), expected, "every second sequence of a batch")


@check("other N than in training")
def other_n_than_in_training(candidate: Candidate) -> None:
    """Trained on one grid, it works on smaller, larger and oblong ones."""
    attention = candidate.build().train()
    trainable = [parameter for parameter in attention.parameters() if parameter.requires_grad]
    if not trainable:
        raise SkipTest("nothing in it can be trained")
    optimiser = torch.optim.SGD(trainable, lr=1e-3)
    for seed in (1, 2):
        optimiser.zero_grad()
        attention(candidate.tokens((4, 4), seed=seed), (4, 4)).square().mean().backward()
        optimiser.step()
    attention.eval()
    for grid in ((2, 3), (8, 8), (3, 10)):
        with torch.no_grad():
            y = attention(candidate.tokens(grid), grid)
        require(y.shape[1] == grid[0] * grid[1], f"returned {y.shape[1]} tokens on a grid of {_show(grid)}")
        require_finite(y, f"output on a grid of {_show(grid)}")
