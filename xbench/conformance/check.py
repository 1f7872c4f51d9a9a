"""What a check is: a function of a candidate that raises when the candidate fails, and a record of how it went."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from unittest import SkipTest

import torch
from torch import Tensor, nn

from xbench.attention.spec import AttentionSpec, build_attention, parse_attention
from xbench.errors import UserError

Grid = tuple[int, int]
GRID = (4, 6)
OTHER_GRIDS = ((7, 7), (8, 8), (14, 14), (16, 16))
NUM_HEADS = 4


class CheckFailed(AssertionError):  # noqa: N818, an outcome rather than an error
    """The attention is not what the contract asks for; the message says where."""


@dataclass(frozen=True)
class Finding:
    """How one check of one attention went. ``reason`` is why it failed or was skipped, or what was measured."""

    attention: str
    check: str
    outcome: Literal["pass", "fail", "skip"]
    reason: str
    seconds: float


class Candidate:
    """An attention under test: builds it, small by default, and draws inputs, always the same ones.

    Args:
        attention: spec string, parsed spec or class.
        embed_dim, qkv_dim, num_heads: widths to build it with; the first two are by default small multiples of the
            last, which is the spec's own where it has one.
    """

    def __init__(
        self,
        attention: str | AttentionSpec | type[nn.Module],
        *,
        embed_dim: int | None = None,
        qkv_dim: int | None = None,
        num_heads: int | None = None,
    ):
        self.attention = attention
        self.name = attention.__name__ if isinstance(attention, type) else str(attention)
        heads = num_heads or _own_heads(attention)
        self.widths = {"embed_dim": embed_dim or 6 * heads, "qkv_dim": qkv_dim or 4 * heads, "num_heads": heads}

    def build(
        self, seed: int = 0, dtype: torch.dtype = torch.float32, widths: dict[str, int] | None = None
    ) -> nn.Module:
        """A fresh instance in evaluation mode. What starts as zeros gets small random values, so that it can be seen.

        Raises:
            UserError: it does not exist, cannot be imported, or refuses its arguments.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build_attention(self.attention, **{**self.widths, **(widths or {})})
            for parameter in module.parameters():
                if not parameter.is_meta and not parameter.any():
                    nn.init.normal_(parameter, std=0.02)
        module.eval()  # on its own: some foreign modules do not return themselves
        return module.to(dtype)

    @property
    def mapping(self) -> str:
        """How a class that was not written for the contract was brought onto it; empty for others."""
        return getattr(self.build(), "mapping", "")

    @cached_property
    def grid(self) -> Grid:
        """The grid to check on: one that the attention takes, where it refuses the usual one."""
        attention = self.build()
        for grid in (GRID, *OTHER_GRIDS):
            try:
                with torch.no_grad():
                    attention(self.tokens(grid), grid)
            except UserError:
                continue
            except Exception:  # which the checks will meet
                break
            return grid
        return GRID

    def tokens(
        self, grid: Grid | None = None, batch: int = 2, seed: int = 1, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Random tokens [batch, rows · cols, embed_dim], normalised like what a LayerNorm gives."""
        grid = grid or self.grid
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, grid[0] * grid[1], self.widths["embed_dim"], generator=generator).to(dtype)


def _own_heads(attention: str | AttentionSpec | type[nn.Module]) -> int:
    try:
        spec = parse_attention(attention) if isinstance(attention, str) else attention
    except UserError:  # which every check will say when it builds
        return NUM_HEADS
    return dict(spec.at_stage().options).get("num_heads", NUM_HEADS) if isinstance(spec, AttentionSpec) else NUM_HEADS


def judged(findings: Sequence[Finding]) -> bool:
    """Whether the findings of one attention say anything: one of them is a failure, or at least half are passes."""
    outcomes = [finding.outcome for finding in findings]
    return "fail" in outcomes or 2 * outcomes.count("pass") >= len(outcomes)


@dataclass(frozen=True)
class Check:
    """A named property that every attention must have. ``str()`` is its name, for test identifiers.

    Called with an attention (a spec string or a class) it returns what it measured, if anything.

    Raises:
        CheckFailed: the attention fails; an AssertionError.
        unittest.SkipTest: the check does not apply to it, which pytest shows as skipped.
    """

    name: str
    what: str
    function: Callable[[Candidate], str | None]
    quick: bool = False

    def __str__(self) -> str:
        return self.name

    def __call__(self, attention: str | type[nn.Module]) -> str | None:
        return self._on(Candidate(attention))

    def examine(self, candidate: Candidate) -> Finding:
        """Runs the check; every way it can end is a finding."""
        began = time.monotonic()
        outcome: Literal["pass", "fail", "skip"] = "pass"
        try:
            reason = self._on(candidate) or ""
        except SkipTest as skip:
            outcome, reason = "skip", str(skip)
        except Exception as error:
            outcome, reason = "fail", str(error) if isinstance(error, CheckFailed) else first_line(error)
        return Finding(candidate.name, self.name, outcome, reason, time.monotonic() - began)

    def _on(self, candidate: Candidate) -> str | None:
        try:
            candidate.build()
        except UserError as error:
            raise CheckFailed(str(error)) from error
        try:
            return self.function(candidate)
        except UserError as error:
            raise SkipTest(f"refused: {error}") from error


CHECKS: list[Check] = []


def check(name: str, *, quick: bool = False) -> Callable[[Callable[[Candidate], str | None]], Check]:
    """Decorator that makes a function a check and adds it to ``CHECKS``. Its docstring says what must hold."""

    def add(function: Callable[[Candidate], str | None]) -> Check:
        made = Check(name, (function.__doc__ or "").strip().partition("\n")[0], function, quick)
        CHECKS.append(made)
        return made

    return add


def require(condition: Any, message: str) -> None:
    """Raises CheckFailed with the message unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


def require_close(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """Raises CheckFailed unless both have one shape and differ by no more than ``tolerance`` of the larger's size."""
    require(found.shape == expected.shape, f"{what}: shape {list(found.shape)}, not {list(expected.shape)}")
    scale = max(float(expected.detach().abs().max()), float(found.detach().abs().max()), 1e-6)
    apart = float((found - expected).detach().abs().max()) / scale
    require(apart <= tolerance, f"{what}: differs by {apart:.1e} of its size; allowed {tolerance:.0e}")


def require_finite(tensor: Tensor, what: str) -> None:
    """Raises CheckFailed where a value is NaN or infinite."""
    finite = tensor.isfinite()
    if not finite.all():
        kind = "NaN" if tensor.isnan().any() else "infinite values"
        raise CheckFailed(f"{what}: {kind} in {int((~finite).sum())} of {tensor.numel()} places")


def first_line(error: BaseException) -> str:
    """ "Type: message", cut to one line."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}"[:300]
