"""What is trained on a task, and on which grids."""

from dataclasses import asdict, dataclass
from typing import Any

from xbench.errors import UserError
from xbench.parsing.axes import grid_of
from xbench.probing.recipe import ProbeRecipe

CELL = 16  # pixels a side of the square in which a picture has a token's tile


@dataclass(frozen=True)
class ProbeJob:
    """One training: the attention ``attn`` in an XFormer's ``size``, on a ``task`` with each of these numbers of pairs.

    At ``level`` "layer" the transformer layers of stage 3 take grids of ``tokens``. At "model" grids are drawn as
    pictures of ``img_size``, (height, width) in pixels, a tile for each token, and the skeleton is read out at every
    tile, behind the XF block of stage 3.
    """

    task: str
    attn: str
    size: str
    level: str
    pairs: tuple[int, ...]
    recipe: ProbeRecipe
    tokens: int | None = None
    img_size: tuple[int, int] | None = None
    patch_size: int = 1
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        if self.img_size:
            return self.img_size[0] // CELL, self.img_size[1] // CELL
        return grid_of(self.tokens or 1)

    @property
    def name(self) -> str:
        """Of the model, as in tables."""
        return self.attn

    @property
    def place(self) -> str:
        """What else it belongs to, as a part of a folder's name."""
        where = f"{'x'.join(map(str, self.img_size))}-p{self.patch_size}" if self.img_size else f"n{self.tokens}"
        return f"{self.task}-{where}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        img_size = list(self.img_size) if self.img_size else None
        return {**asdict(self), "pairs": list(self.pairs), "img_size": img_size, "recipe": self.recipe.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ProbeJob":
        """The inverse of ``as_dict``."""
        img_size = tuple(values["img_size"]) if values["img_size"] else None
        changed = {"pairs": tuple(values["pairs"]), "img_size": img_size}
        return cls(**{**values, **changed, "recipe": ProbeRecipe.from_dict(values["recipe"])})


def check_grids(job: ProbeJob) -> None:
    """Refuses grids that cannot be.

    Raises:
        UserError: pairs that fill the grid, or that the task cannot divide; a side that is no multiple of the tile's.
    """
    if job.img_size and any(side % CELL for side in job.img_size):
        raise UserError(
            f"{job.task} is drawn in cells of {CELL} pixels: both sides of a picture are multiples of that."
        )
    rows, cols = job.grid
    for pairs in job.pairs:
        if not 0 < pairs < rows * cols:
            raise UserError(f"{rows * cols} tokens cannot hold {pairs} pairs and a question.")
        if job.task == "two_hop" and pairs % 2:
            raise UserError(f"two_hop takes even numbers of pairs, half of which are links, not {pairs}.")
