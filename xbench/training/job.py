"""What is trained: a model on data by a recipe from a seed; and the weights that it starts from."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from xbench.data.names import STOP
from xbench.models.baselines import check_takes
from xbench.models.sizes import check_input
from xbench.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from xbench.data import Data

# Whose place the attention takes: the skeleton's weights are drawn with it, whatever the attention is.
PLACE_HOLDER = "identity"


@dataclass(frozen=True)
class Job:
    """One training run for a ``task``. ``attn`` or ``baseline`` is the model, ``img_size`` (height, width) in pixels.

    ``data`` is a spec such as "digits" or "folder:/data/imagenet". ``threads`` and ``workers`` (of
    the data loader) decide speed, and on a CPU ``threads`` the last bits of the result. ``unreadable`` is what becomes
    of images that cannot be read: "stop" ends the run, "skip" leaves them out. ``start`` is the folder of a training
    whose weights this one begins from.
    """

    data: str
    img_size: tuple[int, int]
    recipe: Recipe
    attn: str | None = None
    baseline: str | None = None
    size: str = "s"
    patch_size: int = 2
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    workers: int = 0
    unreadable: str = STOP
    task: str = "classify"
    start: str = ""

    @property
    def name(self) -> str:
        """Of the model, as in tables."""
        return self.attn or self.baseline or ""

    @property
    def place(self) -> str:
        """What else it belongs to, as a part of a folder's name."""
        task = "" if self.task == "classify" else f"{self.task}-"
        return f"{task}{'x'.join(map(str, self.img_size))}-p{self.patch_size}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as config.json holds them."""
        return {**asdict(self), "img_size": list(self.img_size), "recipe": self.recipe.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Job":
        """The inverse of ``as_dict``."""
        recipe, img_size = Recipe.from_dict(values["recipe"]), tuple(values["img_size"])
        return cls(**{**values, "recipe": recipe, "img_size": img_size})

    def open_data(
        self,
        rank: int = 0,
        world: int = 1,
        *,
        inspected: Sequence[str] = (),
        tell: Callable[[str, int, int], None] | None = None,
    ) -> "Data":
        """The data, as one of ``world`` processes sees it; for ``inspected`` and ``tell`` see ``xbench.data``.

        Raises:
            UserError: there are no such data, no file where they should lie, or images that cannot be read.
        """
        from xbench.data import open_data

        return open_data(
            self.data,
            task=self.task,
            img_size=self.img_size,
            batch=self.recipe.batch,
            seed=self.seed,
            # Where images are mixed, the targets are soft, and smoothed there.
            augmentation=replace(self.recipe.augmentation, label_smoothing=self.recipe.label_smoothing),
            rank=rank,
            world=world,
            workers=self.workers,
            inspected=inspected,
            unreadable=self.unreadable,
            tell=tell,
        )

    def build(self, num_classes: int) -> "nn.Module":
        """The model of the task, see ``build_for``, with weights that the seed alone decides.

        Outside the attention they are equal whatever the attention is: they are drawn with a place holder for it.

        Raises:
            UserError: see ``build_for``; or a timm model that cannot take the size.
        """
        import torch

        if self.baseline:
            check_takes(self.baseline, self.img_size)
        torch.manual_seed(self.seed)
        if self.baseline:
            return self._model(None, num_classes)
        check_input(self.img_size, self.patch_size)
        model = self._model(self.attn, num_classes)
        torch.manual_seed(self.seed)
        shared = outside_attention(self._model(PLACE_HOLDER, num_classes).state_dict())
        model.load_state_dict(shared, strict=False)
        return model

    def _model(self, attn: str | None, num_classes: int) -> "nn.Module":
        from xbench.tasks.building import build_for

        return build_for(
            self.task,
            attn,
            self.baseline,
            img_size=self.img_size,
            num_classes=num_classes,
            size=self.size,
            patch_size=self.patch_size,
            drop_rate=self.recipe.drop_rate,
            drop_path_rate=self.recipe.drop_path_rate,
        )


def outside_attention(weights: dict[str, Any]) -> dict[str, Any]:
    """Those of an XFormer's weights that belong to no attention."""
    return {name: weight for name, weight in weights.items() if ".attn." not in name}


def digest(weights: dict[str, Any]) -> str:
    """Of names and values, to compare two models by."""
    found = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        found.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
