"""Scenes: signs of six shapes on real photographs, of every size and colour, tilted, over one another, among strokes.

They are drawn as they are asked for, with exact boxes and masks of what is to be seen of each sign, so nothing has to
be downloaded. The photographs are scikit-learn's two samples; training, validation and test share no part of them. A
class is a shape, which is learnt in minutes: signs that differed by a handwritten digit were told apart no better than
by chance after 16,000 pictures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from xbench.data.annotated.pictures import AnnotatedTransforms, Mask, Objects
from xbench.data.chance import fingerprint, seed_of
from xbench.data.names import SceneOptions
from xbench.data.photos import photo_paths, photos_digest
from xbench.data.shown import as_shown

# Changes whenever the same numbers would give another picture.
DRAWING = 1
GROUND = 0  # the class of a pixel of no sign; a shape's is one more than its number
PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}  # of a photograph's width
SIDES = (0.2, 0.5)  # of a sign, as shares of the picture's shorter side
LEAST_SEEN = 0.7  # of every sign
TRIES = 12
TILT = 20  # degrees at most
FINER = 4  # that many times as large shapes are drawn, so that their edges are smooth


class Scenes:
    """A split of scenes, of ``task`` "detect" or "segment".

    Those for validation and test are always the same; those for training are new in every epoch and for every seed.
    """

    def __init__(self, task: str, split: str, options: SceneOptions, transforms: AnnotatedTransforms, seed: int = 0):
        self.task, self.split, self.options, self.seed = task, split, options, seed
        self.transforms = transforms

    def __len__(self) -> int:
        return getattr(self.options, self.split)

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        drawn = (self._said(*self.draw(index, epoch or 0)) for index in indices)
        luck = None if epoch is None else [("scene", self.seed, epoch, index) for index in indices]
        return self.transforms.apply(drawn, luck)

    def _said(self, picture: Image.Image, objects: Objects, mask: Mask) -> tuple[Image.Image, Objects | Mask]:
        return picture, objects if self.task == "detect" else mask

    def draw(self, index: int, epoch: int = 0) -> tuple[Image.Image, Objects, Mask]:
        """The scene of that number before any augmentation, the boxes of its signs, and the class of each pixel."""
        series = (self.seed, epoch) if self.split == "train" else ()
        luck = np.random.Generator(np.random.PCG64(seed_of("scene", self.split, *series, index)))
        height, width = self.transforms.img_size
        picture = self._ground(luck)
        for _ in range(luck.integers(self.options.clutter + 1)):
            _stroke(picture, luck)
        whole: list[np.ndarray] = []  # of each sign where it lies, seen or not
        labels: list[int] = []
        mask = np.full((height, width), GROUND, np.uint8)
        owner = np.full((height, width), -1)
        for _ in range(luck.integers(1, self.options.objects + 1)):
            label = int(luck.integers(len(SHAPES)))
            sign = self._sign(luck, label)
            place = self._place(luck, sign, owner, whole)
            if place is None:
                continue
            left, top = place
            picture.paste(sign, place, sign)
            here = np.zeros((height, width), bool)
            here[top : top + sign.height, left : left + sign.width] = np.asarray(sign.getchannel("A")) > 127
            owner[here], mask[here] = len(whole), label + 1
            whole.append(here)
            labels.append(label)
        boxes = [_around(owner == own) for own in range(len(whole))]
        found = Objects(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.zeros(len(labels), bool)
        )
        return picture, found, Mask(mask)

    def _ground(self, luck: np.random.Generator) -> Image.Image:
        photos = _photos()
        photo = photos[int(luck.integers(len(photos)))]
        low, high = (round(share * photo.width) for share in PARTS[self.split])
        height, width = self.transforms.img_size
        shape = width / height
        most = min(high - low, photo.height * shape)
        own_width = luck.uniform(0.5, 1.0) * most
        own_height = own_width / shape
        left, top = luck.uniform(low, high - own_width), luck.uniform(0, photo.height - own_height)
        box = (left, top, left + own_width, top + own_height)
        return photo.resize((width, height), Image.Resampling.BILINEAR, box=box)

    def _sign(self, luck: np.random.Generator, label: int) -> Image.Image:
        """A shape of one colour, tilted, on nothing: RGBA, no larger than the shape."""
        side = round(luck.uniform(*SIDES) * min(self.transforms.img_size))
        shape = SHAPES[list(SHAPES)[label]](FINER * side).rotate(
            luck.uniform(-TILT, TILT), Image.Resampling.BICUBIC, expand=True
        )
        shape = shape.crop(shape.getbbox())
        size = max(1, round(shape.width / FINER)), max(1, round(shape.height / FINER))
        sign = Image.new("RGBA", size, (*map(int, luck.integers(0, 256, 3)), 0))
        sign.putalpha(shape.resize(size, Image.Resampling.BOX))
        return sign

    def _place(
        self, luck: np.random.Generator, sign: Image.Image, owner: np.ndarray, whole: list[np.ndarray]
    ) -> tuple[int, int] | None:
        """(left, top) at which enough of every sign so far is still to be seen; None where none was found."""
        height, width = owner.shape
        covers = np.asarray(sign.getchannel("A")) > 127
        for _ in range(TRIES):
            left, top = int(luck.integers(width - sign.width + 1)), int(luck.integers(height - sign.height + 1))
            seen = owner.copy()
            seen[top : top + sign.height, left : left + sign.width][covers] = len(whole)
            if all((seen == own).sum() >= LEAST_SEEN * here.sum() for own, here in enumerate(whole)):
                return left, top
        return None

    def facts(self) -> dict[str, Any]:
        drawn = fingerprint([DRAWING, asdict(self.options), self.split, list(SHAPES), _digest()])
        return {"images": len(self), "fingerprint": drawn}


def _polygon(corners: Callable[[int], list[tuple[float, float]]]) -> Callable[[int], Image.Image]:
    """A shape by its corners, in shares of a square's side."""

    def drawn(side: int) -> Image.Image:
        shape = Image.new("L", (side, side))
        ImageDraw.Draw(shape).polygon([(x * side, y * side) for x, y in corners(side)], fill=255)
        return shape

    return drawn


def _disc(side: int) -> Image.Image:
    shape = Image.new("L", (side, side))
    ImageDraw.Draw(shape).ellipse((0, 0, side - 1, side - 1), fill=255)
    return shape


def _ring(side: int) -> Image.Image:
    shape = _disc(side)
    ImageDraw.Draw(shape).ellipse((side * 0.3, side * 0.3, side * 0.7, side * 0.7), fill=0)
    return shape


def _star(side: int) -> list[tuple[float, float]]:
    angles = [math.pi * (corner / 5 - 0.5) for corner in range(10)]
    reach = [0.5 if corner % 2 == 0 else 0.2 for corner in range(10)]
    return [
        (0.5 + far * math.cos(angle), 0.5 + far * math.sin(angle)) for far, angle in zip(reach, angles, strict=True)
    ]


_ARM = (0.35, 0.65)  # of a cross
SHAPES: dict[str, Callable[[int], Image.Image]] = {
    "disc": _disc,
    "square": _polygon(lambda side: [(0, 0), (1, 0), (1, 1), (0, 1)]),
    "triangle": _polygon(lambda side: [(0.5, 0), (1, 1), (0, 1)]),
    "star": _polygon(_star),
    "ring": _ring,
    "cross": _polygon(
        lambda side: [
            *((_ARM[0], 0), (_ARM[1], 0), (_ARM[1], _ARM[0]), (1, _ARM[0]), (1, _ARM[1]), (_ARM[1], _ARM[1])),
            *((_ARM[1], 1), (_ARM[0], 1), (_ARM[0], _ARM[1]), (0, _ARM[1]), (0, _ARM[0]), (_ARM[0], _ARM[0])),
        ]
    ),
}


def _stroke(picture: Image.Image, luck: np.random.Generator) -> None:
    """What is no sign: a line, or an arc."""
    pen = ImageDraw.Draw(picture)
    side = luck.uniform(*SIDES) * min(picture.size)
    x, y = luck.uniform(0, picture.width), luck.uniform(0, picture.height)
    colour, width = tuple(map(int, luck.integers(0, 256, 3))), max(1, round(side / 8))
    angle = luck.uniform(0, 360)
    if luck.random() < 0.5:
        end = (x + side * math.cos(math.radians(angle)), y + side * math.sin(math.radians(angle)))
        pen.line((x, y, *end), fill=colour, width=width)
    else:
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        pen.arc(box, angle, angle + luck.uniform(60, 180), fill=colour, width=width)


def _around(seen: np.ndarray) -> tuple[int, int, int, int]:
    """x₁ y₁ x₂ y₂ of what is to be seen; the box ends behind the last pixel."""
    rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


@cache
def _photos() -> list[Image.Image]:
    found = []
    for path in photo_paths():
        with Image.open(path) as photo:
            found.append(as_shown(photo))
    return found


@cache
def _digest() -> str:
    return photos_digest(photo_paths())


CLASSES = {"detect": len(SHAPES), "segment": len(SHAPES) + 1}
