"""Scenes: tilted signs with digits on real photographs, of every size, over one another, among shapes without one.

They are drawn as they are asked for, with exact boxes and masks of what is to be seen of each sign, so nothing has to
be downloaded. The digits are scikit-learn's handwritten ones and the photographs its two samples; training, validation
and test share neither a digit nor a part of a photograph.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from xbench.data.annotated.pictures import AnnotatedTransforms, Mask, Objects
from xbench.data.chance import fingerprint, seed_of
from xbench.data.digits import NUM_CLASSES, Digits, digit_splits
from xbench.data.names import SceneOptions
from xbench.data.photos import photo_paths, photos_digest
from xbench.data.shown import as_shown

# Changes whenever the same numbers would give another picture.
DRAWING = 1
GROUND = 0  # the class of a pixel of no sign; a digit's is one more than itself
PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}  # of a photograph's width
SIDES = (0.16, 0.45)  # of a sign, as shares of the picture's shorter side
LEAST_SEEN = 0.6  # of every sign
TRIES = 12
TILT = 20  # degrees at most
INK = 0.8  # of a sign's side is its digit's


class Scenes:
    """A split of scenes, of ``task`` "detect" or "segment".

    Those for validation and test are always the same; those for training are new in every epoch and for every seed.
    """

    def __init__(self, task: str, split: str, options: SceneOptions, transforms: AnnotatedTransforms, seed: int = 0):
        self.task, self.split, self.options, self.seed = task, split, options, seed
        self.transforms = transforms
        self.digits: Digits = digit_splits()[split]

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
            _shape(picture, luck)
        whole: list[np.ndarray] = []  # of each sign where it lies, seen or not
        labels: list[int] = []
        mask = np.full((height, width), GROUND, np.uint8)
        owner = np.full((height, width), -1)
        for _ in range(luck.integers(1, self.options.objects + 1)):
            number = int(luck.integers(len(self.digits)))
            sign = self._sign(luck, number)
            place = self._place(luck, sign, owner, whole)
            if place is None:
                continue
            left, top = place
            picture.paste(sign, place, sign)
            here = np.zeros((height, width), bool)
            here[top : top + sign.height, left : left + sign.width] = np.asarray(sign.getchannel("A")) > 127
            owner[here], mask[here] = len(whole), self.digits.labels[number] + 1
            whole.append(here)
            labels.append(int(self.digits.labels[number]))
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

    def _sign(self, luck: np.random.Generator, number: int) -> Image.Image:
        """A disc or a square with a digit on it, tilted, on nothing: RGBA."""
        side = round(luck.uniform(*SIDES) * min(self.transforms.img_size))
        plate, ink = _two_colours(luck)
        sign = Image.new("RGBA", (side, side), (*plate, 0))
        shape = Image.new("L", (4 * side, 4 * side))
        pen = ImageDraw.Draw(shape)
        if luck.random() < 0.5:
            pen.ellipse((0, 0, 4 * side - 1, 4 * side - 1), fill=255)
        else:
            pen.rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), radius=side // 2, fill=255)
        sign.putalpha(shape.resize((side, side), Image.Resampling.BOX))
        own = round(INK * side)
        glyph = Image.fromarray((self.digits.images[number] * 255).round().astype(np.uint8))
        cover = glyph.resize((own, own), Image.Resampling.BICUBIC)
        sign.paste(Image.new("RGB", (own, own), ink), ((side - own) // 2,) * 2, _kept(cover, sign))
        return sign.rotate(luck.uniform(-TILT, TILT), Image.Resampling.BICUBIC, expand=True)

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
        drawn = fingerprint([DRAWING, asdict(self.options), self.split, self.digits.fingerprint(), _digest()])
        return {"images": len(self), "digits": len(self.digits), "fingerprint": drawn}


def _kept(cover: Image.Image, sign: Image.Image) -> Image.Image:
    """The ink where the sign is, so that none lies beside a disc."""
    margin = (sign.width - cover.width) // 2
    box = (margin, margin, margin + cover.width, margin + cover.height)
    return Image.fromarray(np.minimum(np.asarray(cover), np.asarray(sign.getchannel("A").crop(box))))


def _two_colours(luck: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of a plate and of its ink, one bright and one dark."""
    bright, dark = luck.integers(150, 256, 3), luck.integers(0, 90, 3)
    pair = (bright, dark) if luck.random() < 0.5 else (dark, bright)
    return tuple(map(int, pair[0])), tuple(map(int, pair[1]))


def _shape(picture: Image.Image, luck: np.random.Generator) -> None:
    """A shape without a digit: a disc, a square or a stroke."""
    pen = ImageDraw.Draw(picture)
    side = luck.uniform(*SIDES) * min(picture.size)
    x, y = luck.uniform(0, picture.width), luck.uniform(0, picture.height)
    colour = tuple(map(int, luck.integers(0, 256, 3)))
    kind = int(luck.integers(3))
    if kind == 2:
        angle = luck.uniform(0, 2 * math.pi)
        end = (x + side * math.cos(angle), y + side * math.sin(angle))
        pen.line((x, y, *end), fill=colour, width=max(1, round(side / 8)))
    else:
        draw = (pen.ellipse, pen.rectangle)[kind]
        draw((x - side / 2, y - side / 2, x + side / 2, y + side / 2), fill=colour)


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


CLASSES = {"detect": NUM_CLASSES, "segment": NUM_CLASSES + 1}
