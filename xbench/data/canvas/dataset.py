"""Canvases: scenes of distant digits drawn as they are asked for, with boxes and masks for who wants to find them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes
from torchvision.transforms.functional import to_pil_image

from xbench.data.canvas.drawing import draw, glyph_cover
from xbench.data.canvas.scene import Scenery
from xbench.data.chance import fingerprint
from xbench.data.digits import Digits, digit_splits
from xbench.data.names import CanvasOptions
from xbench.data.pictures import Transforms

# Changes whenever the same numbers would give another picture.
DRAWING = 4
MEAN = STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Canvas:
    """One canvas and what is on it.

    Attributes:
        image: [3, H, W] float32, 0 to 1.
        label: the digit whose two tiles have the same colour.
        classes: [n] the digits that are shown; the first half lies at one end, the second at the other.
        boxes: [n, 4] float32, x₁ y₁ x₂ y₂ in pixels, around each digit's ink.
        masks: [n, H, W] bool, each digit's ink.
    """

    image: Tensor
    label: int
    classes: Tensor
    boxes: Tensor
    masks: Tensor


class Canvases:
    """A split of canvases.

    Those for validation and test are always the same; those for training are new in every epoch and for every seed.
    """

    def __init__(
        self,
        split: str,
        options: CanvasOptions,
        img_size: tuple[int, int],
        *,
        seed: int = 0,
        transforms: Transforms | None = None,
    ):
        self.split, self.options, self.img_size, self.seed = split, options, img_size, seed
        self.transforms = transforms
        self.digits: Digits = digit_splits()[split]
        self.scenery = Scenery(options, self.digits, img_size, options.partial if split == "train" else 0.0)

    def __len__(self) -> int:
        return getattr(self.options, self.split)

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        scenes = self.scenery.set(np.asarray(indices), *self._series(epoch))
        images, labels = draw(scenes, self.img_size), torch.from_numpy(scenes.labels)
        if epoch is None or self.transforms is None:
            return (images - MEAN[0]) / STD[0], labels
        luck = [("canvas", self.seed, epoch, index) for index in indices]
        return self.transforms.apply(map(to_pil_image, images), luck), labels

    def draw(self, index: int, epoch: int = 0) -> Canvas:
        """The canvas of that number, as it is before any augmentation, and where its digits are."""
        scenes = self.scenery.set(np.array([index]), *self._series(epoch))
        image = draw(scenes, self.img_size)[0]
        shown = np.flatnonzero(scenes.shown[0])
        first = scenes.glyphs.shape[1] - scenes.classes.shape[1]
        masks = torch.cat([glyph_cover(scenes, first + digit, self.img_size) for digit in shown]) > 0.5
        # The library gives the last pixel; a box ends behind it.
        boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
        return Canvas(image, int(scenes.labels[0]), torch.from_numpy(scenes.classes[0, shown]), boxes, masks)

    def _series(self, epoch: int | None) -> tuple[str | int, ...]:
        return (self.split, self.seed, epoch or 0) if self.split == "train" else (self.split,)

    def facts(self) -> dict[str, Any]:
        drawn = fingerprint([DRAWING, asdict(self.options), self.split, self.digits.fingerprint()])
        return {"images": len(self), "digits": len(self.digits), "fingerprint": drawn}
