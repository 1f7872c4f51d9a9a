"""Brings modules that were not written for xbench onto its contract, by looking at what they take and return.

Arguments are mapped by the signature of ``__init__``:

- the width: the first of ``WIDTHS`` that it has, else the only argument that must be given, ← embed_dim;
- heads: the first of ``HEADS`` ← num_heads; a head's width that must be given ← embed_dim / num_heads;
- an output width that must be given ← embed_dim; ``batch_first`` ← True; ``qkv_dim`` ← qkv_dim.

What else must be given is an option of the spec string. Arguments of ``forward``: the first is x; of the others that
must be given, those in ``ROWS`` and ``COLS`` are the sides of the grid, those in ``GRIDS`` are (rows, columns), those
in ``AGAIN`` are x once more, as in the cross-attention of x with itself. ``need_weights`` is False. Of several results
the first is used.

The layout is found by trying. In this order the first is taken in which the module accepts a small random tensor,
returns its shape, keeps sequences apart, so that a change to one leaves the others as they were, and refuses a wrong
number of channels, because nothing else shows where it looks for them:
[B, N, C] · [B, C, rows, cols] · [B, rows, cols, C] · [B, C, N] · [N, B, C]. A module that takes [B, C, rows, cols] and
never mixes rows has sequences there, as MobileViT's [B, C, P, N]: it is given [B, C, 1, N].
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from xbench.errors import UserError

WIDTHS = (
    *("embed_dim", "dim", "d_model", "embed_dims", "hidden_dim", "hidden_size"),
    *("channels", "in_channels", "in_dim", "in_features"),
)
HEADS = ("num_heads", "heads", "nhead", "n_heads", "n_head", "num_attention_heads")
HEAD_WIDTHS = ("head_dim", "dim_head", "key_dim", "value_dim")
OUTPUT_WIDTHS = ("dim_out", "out_dim", "output_dim", "out_channels", "out_features")

ROWS = ("h", "height", "rows")
COLS = ("w", "width", "cols", "columns")
GRIDS = ("grid", "feat_size", "hw", "hw_shape", "size", "x_size", "input_size", "resolution", "patch_resolution")
AGAIN = ("query", "key", "value", "q", "k", "v", "kv", "y", "context", "memory")

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """An arrangement of the tokens: from [B, N, C] into it, and back."""

    name: str
    into: Callable[[Tensor, Grid], Tensor]
    back: Callable[[Tensor, Grid], Tensor]


TOKENS = Layout("[B, N, C]", lambda x, grid: x, lambda y, grid: y)
IMAGES = Layout(
    "[B, C, rows, cols]",
    lambda x, grid: x.transpose(1, 2).unflatten(2, grid),
    lambda y, grid: y.flatten(2).transpose(1, 2),
)
PATCHES = Layout(
    "[B, C, 1, N]", lambda x, grid: x.transpose(1, 2).unsqueeze(2), lambda y, grid: y.squeeze(2).transpose(1, 2)
)
LAYOUTS = (
    TOKENS,
    IMAGES,
    Layout("[B, rows, cols, C]", lambda x, grid: x.unflatten(1, grid), lambda y, grid: y.flatten(1, 2)),
    Layout("[B, C, N]", lambda x, grid: x.transpose(1, 2), lambda y, grid: y.transpose(1, 2)),
    Layout("[N, B, C]", lambda x, grid: x.transpose(0, 1), lambda y, grid: y.transpose(0, 1)),
)
TRIED_GRIDS = ((4, 6), (6, 8), (8, 8), (7, 7), (14, 14), (16, 16))


def on_contract(cls: type[nn.Module]) -> bool:
    """Whether a class takes the contract's three widths by name and its forward takes (x, grid)."""
    try:
        known = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return False
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    second = _positional(cls.forward)[1:2]
    takes_grid = bool(second) and (second[0].name in GRIDS or (second[0].default is second[0].empty and not takes_any))
    return takes_grid and (takes_any or {"embed_dim", "qkv_dim", "num_heads"} <= set(known))


def _positional(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    """What ``forward`` takes by position, after ``self``."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


class Adapted(nn.Module):
    """A foreign module on the contract: [B, N, C] → [B, N, C]. ``mapping`` says in words what became what."""

    def __init__(self, inner: nn.Module, layout: Layout, roles: tuple[str, ...], fixed: dict[str, Any], mapping: str):
        super().__init__()
        self.inner = inner
        self.layout = layout
        self.roles = roles
        self.fixed = fixed
        self.mapping = mapping
        for name in ("macs", "attention_info"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        # x: [B, N, C]
        inside = self.layout.into(x, grid)
        return self.layout.back(self.call(inside, grid), grid)

    def call(self, inside: Tensor, grid: Grid) -> Tensor:
        """What the foreign module returns for x in its own layout; the first of several results."""
        places = {"x": inside, "rows": grid[0], "cols": grid[1], "grid": grid}
        y = self.inner(*(places[role] for role in self.roles), **self.fixed)
        return y[0] if isinstance(y, tuple | list) else y


def adapt(cls: type[nn.Module], name: str, widths: dict[str, int], options: dict[str, Any]) -> Adapted:
    """An instance of ``cls`` for the widths (embed_dim, qkv_dim, num_heads), on the contract.

    Raises:
        UserError: an argument that nothing is known to fill, a constructor that refuses, or no layout that works.
    """
    arguments, mapping = _map_arguments(cls, name, widths, options)
    roles, fixed = _map_forward(cls, name)
    hashable: Any = cls  # which mypy does not believe of a module class
    try:
        layout, note = _find_layout(
            hashable, tuple(arguments.items()), roles, tuple(fixed.items()), widths["embed_dim"]
        )
        inner = cls(**arguments)
    except _RefusedError as error:
        raise UserError(f"attention '{name}' cannot be adapted: {error}") from None
    call = ", ".join([*roles, *(f"{key}={value}" for key, value in fixed.items())])
    words = f"{'; '.join([*mapping, f'forward({call}) with x as {layout.name}'])}{note}"
    return (AdaptedToSomeGrids if note else Adapted)(inner, layout, roles, fixed, words)


class AdaptedToSomeGrids(Adapted):
    """A foreign module that works on some grids only; on others it is refused, rather than failing inside."""

    def call(self, inside: Tensor, grid: Grid) -> Tensor:
        try:
            return super().call(inside, grid)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            if "memory" in str(error):
                raise
            where = f"{type(self.inner).__name__} fails on a grid of {grid[0]} x {grid[1]} tokens"
            raise UserError(f"{where}, as on others when it was adapted: {_reason(error)}") from error


class _RefusedError(Exception):
    """Why a module cannot be built or run."""


def _map_arguments(
    cls: type[nn.Module], name: str, widths: dict[str, int], options: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Arguments of the constructor, and in words where each came from."""
    try:
        known = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        raise UserError(f"attention '{name}' cannot be adapted: what its constructor takes is unknown.") from None
    parameters = [p for p in known.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    found: dict[str, Any] = {}
    words = []

    def fill(argument: str, value: Any, source: str) -> None:
        found[argument] = value
        words.append(f"{argument} ← {source}")

    heads = next((word for word in HEADS if word in known), None)
    left = [word for word in needed if word != heads]
    width = next((word for word in WIDTHS if word in left), None) or next(
        (word for word in WIDTHS if word in known), None
    )
    if width is None and len(left) == 1:
        width = left[0]
    if width is None and left:
        raise UserError(
            f"attention '{name}' cannot be adapted: its constructor takes ({', '.join(known)}), "
            f"none of which is known to be the width of the tokens: {', '.join(WIDTHS)}."
        )
    if width is not None:
        fill(width, widths["embed_dim"], "embed_dim")
    if heads is not None:
        fill(heads, widths["num_heads"], f"num_heads {widths['num_heads']}")
    for word in needed:
        if word in HEAD_WIDTHS:
            fill(word, widths["embed_dim"] // widths["num_heads"], "embed_dim / num_heads")
        elif word in OUTPUT_WIDTHS:
            fill(word, widths["embed_dim"], "embed_dim")
    if "qkv_dim" in known:
        fill("qkv_dim", widths["qkv_dim"], f"qkv_dim {widths['qkv_dim']}")
    if "batch_first" in known:
        fill("batch_first", True, "True")
    filled = (("embed_dim", width), ("num_heads", heads), ("qkv_dim", "qkv_dim" in known))
    if ignored := [word for word, used in filled if not used]:
        words.append(f"{' and '.join(ignored)} ignored")
    missing = [word for word in needed if word not in found]
    if missing:
        raise UserError(
            f"attention '{name}' cannot be adapted: nothing is known to fill {', '.join(missing)} of its constructor. "
            f"Give it as an option: {name}{',' if options else ':'}{missing[0]}=…"
        )
    words += [f"{key} ← {value}, as asked" for key, value in options.items()]
    return found | options, [", ".join(words)]


def _map_forward(cls: type[nn.Module], name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What each argument of ``forward`` that must be given is: "x", "rows", "cols" or "grid"; and fixed keywords."""
    fixed = {"need_weights": False} if "need_weights" in inspect.signature(cls.forward).parameters else {}
    needed = [p.name for p in _positional(cls.forward) if p.default is p.empty]
    roles = ["x"]
    for word in needed[1:]:
        known = (("rows", ROWS), ("cols", COLS), ("grid", GRIDS), ("x", AGAIN))
        role = next((role for role, words in known if word.lower() in words), None)
        if role is None:
            raise UserError(
                f"attention '{name}' cannot be adapted: its forward takes ({', '.join(needed)}), and nothing is known "
                f"to fill '{word}'. Needed is forward(x), with grid, H and W or key and value beside x if need be."
            )
        roles.append(role)
    return tuple(roles), fixed


@cache
def _find_layout(
    cls: Any,
    arguments: tuple[tuple[str, Any], ...],
    roles: tuple[str, ...],
    fixed: tuple[tuple[str, Any], ...],
    embed_dim: int,
) -> tuple[Layout, str]:
    """The first layout that works, and a note where it works on some grids only.

    Raises:
        _RefusedError: the constructor refuses, or no layout works.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(0)
        try:
            inner = cls(**dict(arguments))
            inner.eval()  # on its own: some modules override train() and forget to return themselves
        except (TypeError, ValueError, AssertionError) as error:
            given = ", ".join(f"{key}={value}" for key, value in arguments)
            raise _RefusedError(f"{cls.__name__}({given}) fails: {_reason(error)}") from None
        refused: list[Grid] = []
        reasons: dict[str, str] = {}
        # Equal sizes would make two layouts look alike.
        for grid in (grid for grid in TRIED_GRIDS if embed_dim not in (*grid, grid[0] * grid[1])):
            for layout in LAYOUTS:
                trial = Adapted(inner, layout, roles, dict(fixed), "")
                why_not = _refusal(trial, grid, embed_dim)
                if why_not is None:
                    if layout is IMAGES and not _mixes_rows(trial, grid, embed_dim):
                        layout = PATCHES
                    takes, not_ = f"{grid[0]} × {grid[1]}", ", ".join(f"{rows} × {cols}" for rows, cols in refused)
                    return layout, f"; takes a grid of {takes} tokens, but not {not_}" if refused else ""
                reasons.setdefault(layout.name, why_not)
            refused.append(grid)
    tried = "; ".join(f"{layout} {reason}" for layout, reason in reasons.items())
    raise _RefusedError(f"it takes none of the layouts that were tried. {tried}.")


def _refusal(trial: Adapted, grid: Grid, embed_dim: int) -> str | None:
    """Why the layout does not work; None where it does."""
    x = torch.randn(3, grid[0] * grid[1], embed_dim)
    changed = torch.cat((x[:1], torch.randn_like(x[1:])))
    try:
        inside = trial.layout.into(x, grid)
        y = trial.call(inside, grid)
        if not isinstance(y, Tensor):
            return f"returns a {type(y).__name__}"
        if y.shape != inside.shape:
            return f"returns {list(y.shape)} for {list(inside.shape)}"
        apart = torch.allclose(trial(x, grid)[0], trial(changed, grid)[0], rtol=1e-4, atol=1e-5)
    except Exception as error:
        return f"fails ({_reason(error)})"
    if not apart:
        return "mixes sequences"
    try:
        trial(torch.randn(3, grid[0] * grid[1], embed_dim + 1), grid)
    except Exception:
        return None
    return "takes any number of channels"


def _mixes_rows(trial: Adapted, grid: Grid, embed_dim: int) -> bool:
    """Whether tokens of other rows hear of a change in the first row."""
    x = torch.randn(1, grid[0] * grid[1], embed_dim)
    changed = x.clone()
    changed[:, : grid[1]] = torch.randn_like(changed[:, : grid[1]])
    return not torch.allclose(trial(x, grid)[:, grid[1] :], trial(changed, grid)[:, grid[1] :], rtol=1e-4, atol=1e-5)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:90]}"
