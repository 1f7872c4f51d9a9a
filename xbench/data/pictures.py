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
from xbench.data.shown import as_shown, why_unreadable
from xbench.errors import UserError

Transform = Callable[[Image.Image], Image.Image]
Colour = tuple[float, float, float]
NAMED = 5  # pictures that a record names one by one


class PictureSet(Protocol):
    """A picture and its class, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...

    def name(self, index: int, /) -> str:
        """Which picture that is, in a message: its file, where it has one."""
        ...


class UnreadableError(UserError):
    """A picture that cannot be read; ``why`` in a few words."""

    def __init__(self, name: str, why: str):
        super().__init__(f"the image {name} cannot be read: {why}.")
        self.why = why


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
        return normalised(pictures, self.mean, self.std)

    def facts(self) -> dict[str, str]:
        return {
            "training": _in_a_line(self.training),
            "evaluation": _in_a_line(self.evaluation),
            "erasing": repr(self.erasing),
            "mean": repr(self.mean),
            "std": repr(self.std),
        }


def normalised(pictures: Sequence[Image.Image], mean: Colour, std: Colour) -> Tensor:
    """Pictures of one size as [n, 3, H, W] float32, channels last in memory."""
    average, deviation = (255 * torch.tensor(colour).view(3, 1, 1) for colour in (mean, std))
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))  # [n, H, W, 3]
    return images.permute(0, 3, 1, 2).float().sub_(average).div_(deviation)


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
    """A split made of single pictures.

    Attributes:
        numbers: those of the pictures that are read, in the set's own count; the others were left out.
    """

    def __init__(self, pictures: PictureSet, transforms: Transforms, seed: int, facts: dict[str, Any]):
        self.pictures, self.transforms, self.seed = pictures, transforms, seed
        self.numbers = np.arange(len(pictures))
        self._facts = facts

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        targets: list[int] = []
        numbers = self.numbers[list(indices)].tolist()
        luck = None if epoch is None else [("picture", self.seed, epoch, number) for number in numbers]
        images = self.transforms.apply(self._open(numbers, targets), luck)
        return images, torch.tensor(targets)

    def _open(self, numbers: Sequence[int], targets: list[int]) -> Iterator[Image.Image]:
        """One at a time, so that no more than one is held in its full size."""
        for number in numbers:
            picture, target = self.open(number)
            targets.append(target)
            yield picture

    def open(self, number: int) -> tuple[Image.Image, int]:
        """The picture of that number in the set's own count, in RGB as it is shown, and its class.

        Raises:
            UnreadableError: its file is not whole, or shows nothing that is known.
        """
        try:
            picture, target = self.pictures[number]
            return as_shown(picture), target
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise almost anything.
            raise UnreadableError(self.pictures.name(number), why_unreadable(error)) from error

    def leave_out(self, why: dict[int, str]) -> None:
        """Does without the pictures of these numbers, and says so among the facts."""
        first = [f"{self.pictures.name(number)} ({why[number]})" for number in sorted(why)[:NAMED]]
        self._facts["unreadable"] = {"left_out": len(why), "of": len(self.numbers), "first": first}
        self.numbers = np.setdiff1d(self.numbers, list(why))

    def repeats(self, numbers: Sequence[int]) -> None:
        """Says among the facts that the pictures of these numbers are also trained on."""
        first = [self.pictures.name(number) for number in numbers[:NAMED]]
        self._facts["also_in_training"] = {"images": len(numbers), "first": first}

    def facts(self) -> dict[str, Any]:
        return {"images": len(self), **self._facts}
