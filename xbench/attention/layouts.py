"""Finds how a module that was not written for xbench wants its tokens arranged, by looking at what it does with them.

The arrangements are tried in this order, and the first is taken in which the module, on small random tensors,

- returns the shape that it was given, the same one each time, and finite values;
- keeps sequences apart: whatever changes in some of a batch leaves the others as they were, and sequences in another
  order give the same outputs in that order. What looks for tokens where the batch lies fails one of the two, be it
  causal or be there a position in it;
- refuses a wrong number of channels, because nothing else shows where it looks for them:

[B, N, C] · [B, C, rows, cols] · [B, rows, cols, C] · [B, C, N] · [N, B, C].

A module that takes rows and columns and lets tokens meet along one of them only may have blocks of tokens there that
are nothing to each other, as MobileViT's [B, C, P, N]: it is given all tokens as one row or one column, and the mapping
says so. Whoever knows better names the arrangement, as in ``package.module:Class:layout=BCHW``.

What starts at zero or nearly so, as gates, scales of residual branches and last projections do, hides what lies behind
it. In the module that is tried it gets random values; that one is thrown away.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """An arrangement of the tokens, by the word that asks for it: from [B, N, C] into it, and back."""

    word: str
    name: str
    into: Callable[[Tensor, Grid], Tensor]
    back: Callable[[Tensor, Grid], Tensor]


def _channels_first(word: str, name: str, sides: Callable[[int, int], Grid]) -> Layout:
    return Layout(
        word,
        name,
        lambda x, grid: x.transpose(1, 2).unflatten(2, sides(*grid)),
        lambda y, grid: y.flatten(2).transpose(1, 2),
    )


def _channels_last(word: str, name: str, sides: Callable[[int, int], Grid]) -> Layout:
    return Layout(word, name, lambda x, grid: x.unflatten(1, sides(*grid)), lambda y, grid: y.flatten(1, 2))


LAYOUTS = (
    Layout("BNC", "[B, N, C]", lambda x, grid: x, lambda y, grid: y),
    _channels_first("BCHW", "[B, C, rows, cols]", lambda rows, cols: (rows, cols)),
    _channels_last("BHWC", "[B, rows, cols, C]", lambda rows, cols: (rows, cols)),
    Layout("BCN", "[B, C, N]", lambda x, grid: x.transpose(1, 2), lambda y, grid: y.transpose(1, 2)),
    Layout("NBC", "[N, B, C]", lambda x, grid: x.transpose(0, 1), lambda y, grid: y.transpose(0, 1)),
)
ONE_ROW = {
    "BCHW": _channels_first("BC1N", "[B, C, 1, N]", lambda rows, cols: (1, rows * cols)),
    "BHWC": _channels_last("B1NC", "[B, 1, N, C]", lambda rows, cols: (1, rows * cols)),
}
ONE_COLUMN = {
    "BCHW": _channels_first("BCN1", "[B, C, N, 1]", lambda rows, cols: (rows * cols, 1)),
    "BHWC": _channels_last("BN1C", "[B, N, 1, C]", lambda rows, cols: (rows * cols, 1)),
}
BY_WORD = {layout.word: layout for layout in (*LAYOUTS, *ONE_ROW.values(), *ONE_COLUMN.values())}

TRIED_GRIDS = ((4, 6), (6, 8), (8, 8), (7, 7), (14, 14), (16, 16))
SEQUENCES = 3
# Of the size of the output. What float32 makes of another place in the batch is a hundredth of this.
TOLERANCE = 1e-5
NEARLY_ZERO = 1e-2

Call = Callable[[Tensor, Grid], Tensor]


class NoLayoutError(Exception):
    """Why no arrangement of the tokens suits a module."""


def find_layout(call: Call, embed_dim: int, asked: Layout | None = None) -> tuple[Layout, str, bool]:
    """The first layout that works, what is to be said of it, and whether it works on all grids that were tried.

    Args:
        call: the module, in evaluation mode: what it returns for tokens in some layout and their grid.
        asked: the only one to try, which may be blind to the number of channels and to rows or columns.

    Raises:
        NoLayoutError: none works.
    """
    refused: list[Grid] = []
    reasons: dict[str, str] = {}
    # Equal sizes would make two layouts look alike.
    grids = [grid for grid in TRIED_GRIDS if embed_dim not in (*grid, grid[0] * grid[1])]
    for place, grid in enumerate(grids):
        for layout in (asked,) if asked else LAYOUTS:
            trial = _Trial(call, layout, grid, embed_dim)
            why_not = trial.refusal() or (None if asked else trial.blindness())
            if why_not is None:
                found, note = (layout, "") if asked else _as_one_block(trial)
                if not refused:
                    others = (_Trial(call, found, other, embed_dim) for other in grids[place + 1 : place + 3])
                    refused = [other.grid for other in others if other.refusal()]
                if refused:
                    note += f"; takes a grid of {_show(grid)} tokens, but not {', '.join(map(_show, refused))}"
                return found, note, not refused
            reasons.setdefault(layout.name, why_not)
        refused.append(grid)
    tried = "; ".join(f"{layout} {reason}" for layout, reason in reasons.items())
    raise NoLayoutError(f"it takes none of the layouts that were tried. {tried}.")


def _show(grid: Grid) -> str:
    return f"{grid[0]} × {grid[1]}"


def wake(module: nn.Module) -> None:
    """Gives parameters that are zero, or nearly, random values: what they hide can then be seen.

    Vectors and numbers get positive ones, which open a gate whatever function it has.
    """
    for parameter in module.parameters():
        if nn.parameter.is_lazy(parameter) or not parameter.is_floating_point() or parameter.numel() == 0:
            continue
        if float(parameter.abs().max()) <= NEARLY_ZERO:
            if parameter.squeeze().dim() <= 1:
                nn.init.uniform_(parameter, 0.5, 1.0)
            else:
                nn.init.normal_(parameter, std=0.2)


class _Trial:
    """A module in one layout on one grid. Its output for ``x`` is compared with that for a changed ``x``."""

    def __init__(self, call: Call, layout: Layout, grid: Grid, embed_dim: int):
        self.call = call
        self.layout = layout
        self.grid = grid
        self.embed_dim = embed_dim
        self.x = torch.randn(SEQUENCES, grid[0] * grid[1], embed_dim)

    def output(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]"""
        return self.layout.back(self.call(self.layout.into(x, self.grid), self.grid), self.grid)

    def refusal(self) -> str | None:
        """Why the layout does not work; None where it does."""
        try:
            inside = self.layout.into(self.x, self.grid)
            y = self.call(inside, self.grid)
            if not isinstance(y, Tensor):
                return f"returns a {type(y).__name__}"
            if y.shape != inside.shape:
                return f"returns {list(y.shape)} for {list(inside.shape)}"
            if not y.isfinite().all():
                return "returns values that are not finite"
            y = self.output(self.x)
            if not _same(self.output(self.x), y):
                return "returns something else each time"
            fresh = torch.randn_like(self.x)
            first, last = (
                self.output(torch.cat((self.x[:1], fresh[1:]))),
                self.output(torch.cat((fresh[:-1], self.x[-1:]))),
            )
            if not (_same(first[:1], y[:1]) and _same(last[-1:], y[-1:])):
                return "mixes sequences"
            if not _same(self.output(self.x.flip(0)).flip(0), y):
                return "depends on the order of the sequences"
        except Exception as error:
            return f"fails ({reason(error)})"
        return None

    def blindness(self) -> str | None:
        """That the module does not see where its channels are, if so."""
        try:
            self.output(torch.randn(SEQUENCES, self.x.shape[1], self.embed_dim + 1))
        except Exception:
            return None
        return "takes any number of channels"

    def heard(self, part: Tensor) -> bool:
        """Whether a change to the tokens of ``part``, [N] of booleans, is heard by any of the others."""
        changed = torch.where(part[:, None], torch.randn_like(self.x), self.x)
        return not _same(self.output(changed)[:, ~part], self.output(self.x)[:, ~part])


def _as_one_block(trial: _Trial) -> tuple[Layout, str]:
    """The trial's layout, or that of one row or one column of all tokens, with a note; see the top of this file.

    Raises:
        NoLayoutError: the module takes rows or columns for blocks, and does not take all tokens as one of them.
    """
    word, (rows, cols) = trial.layout.word, trial.grid
    if word not in ONE_ROW:
        return trial.layout, ""
    place = torch.arange(rows * cols)
    across_rows, across_cols = trial.heard(place // cols == 0), trial.heard(place % cols == 0)
    if across_rows == across_cols:
        return trial.layout, ""
    kind, other, instead = ("column", "columns", ONE_COLUMN) if across_rows else ("row", "rows", ONE_ROW)
    one = _Trial(trial.call, instead[word], trial.grid, trial.embed_dim)
    said = f"it never mixes {other}; layout={word} gives it the {other} as they are"
    if why_not := one.refusal():
        raise NoLayoutError(f"{said}, and as one {kind} of all tokens, {one.layout.name}, it {why_not}.")
    return one.layout, f", all tokens as one {kind}, because {said}"


def _same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max())


def reason(error: Exception) -> str:
    """The kind of an error and the beginning of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:90]}"
