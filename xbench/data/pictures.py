"""Pictures of any size and their path to a tensor: timm's transforms, each picture with a chance of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms import Compose

from xbench.data import Augmentation
from xbench.data.chance import seeded
from xbench.errors import UserError

Transform = Callable[[Image.Image], Tensor]
Colour = tuple[float, float, float]


class PictureSet(Protocol):
    """A picture and its class, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


@dataclass(frozen=True)
class Transforms:
    """The way of a picture into training and into evaluation: [3, H, W] float32, normalised with mean and deviation."""

    training: Transform
    evaluation: Transform

    def facts(self) -> dict[str, str]:
        return {"training": _in_a_line(self.training), "evaluation": _in_a_line(self.evaluation)}


def make_transforms(
    img_size: tuple[int, int], augmentation: Augmentation, *, mean: Colour, std: Colour, crop: float
) -> Transforms:
    """timm's transforms for an image size and an augmentation.

    Evaluation resizes a picture and takes ``crop`` of its shorter side from the middle. Training does the same where
    the augmentation asks for no random crop.

    Raises:
        UserError: a policy of augmentation that timm does not know, or a value that it refuses.
    """
    shared: dict[str, Any] = {"input_size": img_size, "interpolation": "bicubic", "mean": mean, "std": std}
    evaluation = create_transform(**shared, crop_pct=crop)
    try:
        first, second, last = create_transform(
            **shared,
            is_training=True,
            separate=True,
            scale=augmentation.scale,
            hflip=augmentation.hflip,
            color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]
            auto_augment=augmentation.auto_augment,
            re_prob=augmentation.random_erasing,
            re_mode="pixel",
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"timm refuses {augmentation}: {error or type(error).__name__}.") from error
    steps = [*first.transforms, *second.transforms, *last.transforms]
    if augmentation.scale is None:
        # The last two steps of evaluation make the tensor and normalise it.
        steps[:1] = evaluation.transforms[:-2]
    return Transforms(Compose(steps), evaluation)


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
        images, targets = [], []
        for index in indices:
            picture, target = self.pictures[index]
            picture = picture.convert("RGB")
            if epoch is None:
                images.append(self.transforms.evaluation(picture))
            else:
                with seeded("picture", self.seed, epoch, index):
                    images.append(self.transforms.training(picture))
            targets.append(target)
        return torch.stack(images), torch.tensor(targets)

    def facts(self) -> dict[str, Any]:
        return {"images": len(self), **self._facts}
