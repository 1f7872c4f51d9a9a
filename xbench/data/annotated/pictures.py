"""Annotated pictures on their way to a batch: torchvision's transforms, which move boxes and masks with the pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from xbench.data import Augmentation
from xbench.data.chance import Key, borrowed_generators
from xbench.data.pictures import Pictures, UnreadableError, normalised

LEAST_SIDE = 1.0  # pixels of a box after a crop, below which nothing of the object is left
NO_OBJECT = (0.0, 0.0, 0.0, 0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Objects:
    """What is in a picture.

    Attributes:
        boxes: [n, 4] x₁ y₁ x₂ y₂ in pixels.
        labels: [n] whole numbers from 0.
        crowd: [n] whether a box is around many objects that nobody counted.
        size: (width, height) of the picture that this was said of, where it was said.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Mask:
    """A class for each pixel, [H, W] uint8, 255 where there is none to be told."""

    classes: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.classes.shape[1], self.classes.shape[0]


class AnnotatedSet(Protocol):
    """A picture and what is said of it, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...

    def name(self, index: int, /) -> str: ...


@dataclass(frozen=True)
class AnnotatedTransforms:
    """The way of a picture and of its boxes or mask into training and into evaluation.

    Pictures are fitted to the image size: with boxes whole, on a grey ground where the shape is another; with a mask
    stretched. Training may crop, mirror and colour them.
    """

    img_size: tuple[int, int]
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        self.augmentation.check_followed()

    def apply(
        self, samples: Iterable[tuple[Image.Image, Any]], luck: Sequence[tuple[Key, ...]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images [n, 3, H, W] float32, normalised, and targets: [n, H, W] int64 of masks, else [n, objects, 6].

        With a key of chance for each they are as training sees them; the generators are as they were afterwards.
        """
        if luck is None:
            return self._batch([self._fit(*self._sample(*sample)) for sample in samples])
        with borrowed_generators() as start_from:
            changed = []
            for key, sample in zip(luck, samples, strict=True):
                start_from(*key)
                changed.append(self._change(*self._sample(*sample)))
        return self._batch(changed)

    def _sample(self, picture: Image.Image, said: Any) -> tuple[Image.Image, dict[str, Any]]:
        if isinstance(said, Mask):
            return picture, {"mask": tv_tensors.Mask(torch.from_numpy(said.classes))}
        canvas = (picture.height, picture.width)
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(said.boxes).float().view(-1, 4), format="XYXY", canvas_size=canvas
        )
        return picture, {
            "boxes": boxes,
            "labels": torch.from_numpy(said.labels.astype(np.float32)),
            "crowd": torch.from_numpy(said.crowd.astype(np.float32)),
        }

    def _fit(self, picture: Image.Image, said: dict[str, Any]) -> tuple[Image.Image, dict[str, Any]]:
        if (picture.height, picture.width) == self.img_size:
            return picture, said
        if "mask" in said:
            return v2.Resize(self.img_size)(picture, said)
        scale = min(self.img_size[0] / picture.height, self.img_size[1] / picture.width)
        size = [max(1, round(scale * side)) for side in (picture.height, picture.width)]
        spare = [whole - own for whole, own in zip(self.img_size, size, strict=True)]
        top, left = (side // 2 for side in spare)
        padding = [left, top, spare[1] - left, spare[0] - top]
        ground = [round(255 * value) for value in IMAGENET_DEFAULT_MEAN]
        small = functional.resize(picture, size, InterpolationMode.BILINEAR)
        boxes = functional.pad(functional.resize(said["boxes"], size), padding)
        return functional.pad(small, padding, fill=ground), {**said, "boxes": boxes}

    def _change(self, picture: Image.Image, said: dict[str, Any]) -> tuple[Image.Image, dict[str, Any]]:
        changed = self.augmentation
        if changed.scale:
            picture, said = v2.RandomResizedCrop(self.img_size, changed.scale)(picture, said)
        else:
            picture, said = self._fit(picture, said)
        if changed.hflip:
            picture, said = v2.RandomHorizontalFlip(changed.hflip)(picture, said)
        if changed.color_jitter:
            picture = v2.ColorJitter(*[changed.color_jitter] * 3)(picture)
        return picture, said

    def _batch(self, samples: list[tuple[Image.Image, dict[str, Any]]]) -> tuple[Tensor, Tensor]:
        images = normalised([picture for picture, _ in samples], IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        if "mask" in samples[0][1]:
            return images, torch.stack([said["mask"].as_subclass(Tensor) for _, said in samples]).long()
        rows = [_rows(said) for _, said in samples]
        most = max(map(len, rows))
        targets = torch.tensor(NO_OBJECT).repeat(len(rows), most, 1)
        for target, own in zip(targets, rows, strict=True):
            target[: len(own)] = own
        return images, targets

    def facts(self) -> dict[str, str]:
        changed = self.augmentation
        training = {
            name: getattr(changed, name) for name in ("scale", "hflip", "color_jitter") if getattr(changed, name)
        }
        return {"size": repr(self.img_size), "training": repr(training)}


def _rows(said: dict[str, Any]) -> Tensor:
    """[n, 6] of the objects of which something is left."""
    boxes = said["boxes"].as_subclass(Tensor)
    there = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(dim=1)
    return torch.cat((boxes, said["labels"][:, None], said["crowd"][:, None]), dim=1)[there]


class AnnotatedPictures(Pictures):
    """A split made of single pictures with boxes or masks."""

    def __init__(self, pictures: AnnotatedSet, transforms: AnnotatedTransforms, seed: int, facts: dict[str, Any]):
        super().__init__(pictures, transforms, seed, facts)  # type: ignore[arg-type]

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        numbers = self.numbers[list(indices)].tolist()
        luck = None if epoch is None else [("picture", self.seed, epoch, number) for number in numbers]
        return self.transforms.apply(map(self.open, numbers), luck)  # type: ignore[return-value, arg-type]

    def open(self, number: int) -> tuple[Image.Image, Any]:
        picture, said = cast(tuple[Image.Image, Objects | Mask], super().open(number))
        if said.size is not None and said.size != picture.size:
            what = "mask" if isinstance(said, Mask) else "annotation"
            sizes = " by ".join(map(str, picture.size)), " by ".join(map(str, said.size))
            raise UnreadableError(self.pictures.name(number), f"it has {sizes[0]} pixels, and its {what} {sizes[1]}")
        return picture, said
