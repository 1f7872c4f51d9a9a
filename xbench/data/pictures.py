"""Pictures of any size and their path to a batch: timm's transforms, each picture with a chance of its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import Compose

from xbench.data import Augmentation
from xbench.data.chance import Key, borrowed_generators
from xbench.errors import UserError

Transform = Callable[[Image.Image], Image.Image]
Colour = tuple[float, float, float]


class PictureSet(Protocol):
    """A picture and its class, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


@dataclass(frozen=True)
class Transforms:
    """The way of pictures into training and into evaluation.

    Picture by picture go size and change; tensor, normalisation and erasing are one step for a whole batch, which takes
    half the time.

    Attributes:
        training: a picture to one of the image size, changed by chance.
        evaluation: a picture to one of the image size.
        erasing: makes rectangles of a tensor noise in training.
        mean, std: of the colours, 0 to 1.
    """

    training: Transform
    evaluation: Transform
    erasing: RandomErasing | None
    mean: Colour
    std: Colour

    def apply(self, pictures: Iterable[Image.Image], luck: Sequence[tuple[Key, ...]] | None = None) -> Tensor:
        """[n, 3, H, W] float32, channels last in memory, normalised; with a key of chance each, as training sees them.

        The generators are as they were afterwards.
        """
        if luck is None:
            return self._batch([self.evaluation(picture) for picture in pictures])
        with borrowed_generators() as start_from:
            changed = []
            for key, picture in zip(luck, pictures, strict=True):
                start_from(*key)
                changed.append(self.training(picture))
            images = self._batch(changed)
            if self.erasing is not None:
                for key, image in zip(luck, images, strict=True):
                    start_from("erasing", *key)
                    self.erasing(image)
        return images

    def _batch(self, pictures: list[Image.Image]) -> Tensor:
        mean, std = (255 * torch.tensor(colour).view(3, 1, 1) for colour in (self.mean, self.std))
        images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))  # [n, H, W, 3]
        return images.permute(0, 3, 1, 2).float().sub_(mean).div_(std)

    def facts(self) -> dict[str, str]:
        return {
            "training": _in_a_line(self.training),
            "evaluation": _in_a_line(self.evaluation),
            "erasing": repr(self.erasing),
            "mean": repr(self.mean),
            "std": repr(self.std),
        }


def make_transforms(
    img_size: tuple[int, int], augmentation: Augmentation, *, mean: Colour, std: Colour, crop: float
) -> Transforms:
    """timm's transforms for an image size and an augmentation.

    Evaluation resizes a picture and takes ``crop`` of its shorter side from the middle. Training does the same where
    the augmentation asks for no random crop.

    Raises:
        UserError: a policy of augmentation that timm does not know, or a value that it refuses.
    """
    # The last two steps would make the tensor and normalise it.
    evaluation = Compose(create_transform(input_size=img_size, interpolation="bicubic", crop_pct=crop).transforms[:-2])
    try:
        first, second, _ = create_transform(
            input_size=img_size,
            interpolation="bicubic",
            mean=mean,  # what auto_augment fills with
            is_training=True,
            separate=True,
            scale=augmentation.scale,
            hflip=augmentation.hflip,
            color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]
            auto_augment=augmentation.auto_augment,
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"timm refuses {augmentation}: {error or type(error).__name__}.") from error
    probability = augmentation.random_erasing
    sized = first.transforms if augmentation.scale else [evaluation, *first.transforms[1:]]
    return Transforms(
        training=Compose([*sized, *second.transforms]),
        evaluation=evaluation,
        erasing=RandomErasing(probability, mode="pixel", device="cpu") if probability else None,
        mean=mean,
        std=std,
    )


def _in_a_line(transform: Transform) -> str:
    return " ".join(repr(transform).split())


class Pictures:
    """A split made of single pictures."""

    def __init__(self, pictures: PictureSet, transforms: Transforms, seed: int, facts: dict[str, Any]):
        self.pictures, self.transforms, self.seed = pictures, transforms, seed
        self._facts = facts

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        targets: list[int] = []
        luck = None if epoch is None else [("picture", self.seed, epoch, index) for index in indices]
        images = self.transforms.apply(self._open(indices, targets), luck)
        return images, torch.tensor(targets)

    def _open(self, indices: Sequence[int], targets: list[int]) -> Iterator[Image.Image]:
        """One at a time, so that no more than one is held in its full size."""
        for index in indices:
            picture, target = self.pictures[index]
            targets.append(target)
            # It would copy one that is RGB already.
            yield picture if picture.mode == "RGB" else picture.convert("RGB")

    def facts(self) -> dict[str, Any]:
        return {"images": len(self), **self._facts}
