"""Pictures with a mask each, a picture whose pixels are numbers of classes: Cityscapes' layout, and folders of pairs.

Cityscapes' label ids become its 19 training ids, as its authors map them; all others are not to be told. In folders of
pairs ("masks") a mask has the name of its picture, and the two lie in ``images`` and ``masks``, either above or below
the folders of the splits; one of ADE20K's or Pascal's ("annotations", "labels", "SegmentationClass") is understood as
well.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import Cityscapes

from xbench.data.annotated.pictures import Mask
from xbench.data.chance import fingerprint
from xbench.data.disk.folders import SUFFIXES
from xbench.errors import UserError
from xbench.tasks.segmentation import IGNORED

PICTURES, MASKS = ("images", "JPEGImages"), ("masks", "annotations", "labels", "SegmentationClass")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
LEFT, FINE = "leftImg8bit", "gtFine"
CITYSCAPES_CLASSES = 19


def cityscapes_table() -> np.ndarray:
    """By label id, 0 to 255, the training id, and ``IGNORED`` where there is none; −1 for ids that do not exist."""
    table = np.full(256, -1)
    table[255] = IGNORED  # the licence plate's −1, as a file has it
    for label in Cityscapes.classes:
        if label.id >= 0:
            table[label.id] = label.train_id if 0 <= label.train_id < CITYSCAPES_CLASSES else IGNORED
    return table


class MaskedPictures:
    """The pictures of one split and their masks, by number.

    Args:
        pairs: of files, a picture and its mask.
        root: that names in messages begin below.
        classes: what the numbers in a mask mean; it raises a ValueError for one that means nothing.
    """

    def __init__(self, pairs: list[tuple[Path, Path]], root: Path, classes: Callable[[np.ndarray], np.ndarray]):
        self._pairs, self._root, self._classes = pairs, root, classes

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Image.Image, Mask]:
        picture, mask = self._pairs[index]
        try:
            with Image.open(mask) as numbers:
                said = self._classes(numbers_of(numbers))
        except ValueError as error:
            raise ValueError(f"its mask {mask.name} {error}") from error
        except OSError as error:
            raise ValueError(f"its mask {mask.name} cannot be read: {error.strerror or 'not an image'}") from error
        return Image.open(picture), Mask(said)

    def name(self, index: int) -> str:
        return str(self._pairs[index][0].relative_to(self._root))

    def fingerprint(self) -> str:
        return fingerprint([(str(own.relative_to(self._root)), mask.stat().st_size) for own, mask in self._pairs])


def numbers_of(mask: Image.Image) -> np.ndarray:
    """The numbers of a mask's pixels, [H, W]; of one with a palette its entries.

    Raises:
        ValueError: it has more than one number a pixel.
    """
    if len(mask.getbands()) != 1 or mask.mode == "F":
        raise ValueError(f"is {mask.mode}, and not one whole number a pixel")
    return np.asarray(mask).astype(np.int64)


def by_table(table: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Classes by a table of them, −1 for what is none."""

    def classes(numbers: np.ndarray) -> np.ndarray:
        found = np.where((numbers >= 0) & (numbers < len(table)), table[numbers.clip(0, len(table) - 1)], -1)
        if (found < 0).any():
            raise ValueError(f"has the label {numbers[found < 0].flat[0]}, which does not exist")
        return found.astype(np.uint8)

    return classes


def as_they_are(num_classes: int, ignored: int) -> Callable[[np.ndarray], np.ndarray]:
    """Numbers from 0 are classes, and ``ignored`` is none."""
    table = np.full(max(256, ignored + 1), -1)
    table[:num_classes] = np.arange(num_classes)
    table[ignored] = IGNORED
    return by_table(table)


def cityscapes_pairs(root: Path, word: str) -> list[tuple[Path, Path]]:
    """Of Cityscapes' split the pictures with the files of their label ids.

    Raises:
        UserError: a picture has none.
    """
    found = []
    for picture in sorted((root / LEFT / word).glob(f"*/*_{LEFT}.png")):
        stem = picture.name.removesuffix(f"_{LEFT}.png")
        found.append((picture, root / FINE / word / picture.parent.name / f"{stem}_{FINE}_labelIds.png"))
    return _checked(found, root)


def folder_pairs(root: Path, word: str) -> list[tuple[Path, Path]]:
    """Of folders of pairs the split's pictures and masks.

    Raises:
        UserError: a picture has no mask.
    """
    place = _places(root, word)
    if place is None:
        return []
    pictures, masks = place
    by_stem = {path.stem: path for path in sorted(masks.iterdir()) if path.suffix.lower() in MASK_SUFFIXES}
    listed = sorted(path for path in pictures.iterdir() if path.suffix.lower() in SUFFIXES)
    return _checked([(path, by_stem.get(path.stem, masks / f"{path.stem}.png")) for path in listed], root)


def _places(root: Path, word: str) -> tuple[Path, Path] | None:
    for pictures in PICTURES:
        for masks in MASKS:
            for one, other in (
                (root / pictures / word, root / masks / word),
                (root / word / pictures, root / word / masks),
            ):
                if one.is_dir() and other.is_dir():
                    return one, other
    return None


def _checked(pairs: list[tuple[Path, Path]], root: Path) -> list[tuple[Path, Path]]:
    missing = [picture.relative_to(root) for picture, mask in pairs if not mask.is_file()]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UserError(f"'{root}': the picture {missing[0]}{more} has no mask.")
    return pairs


def most(pairs: list[tuple[Path, Path]], ignored: int) -> int:
    """One more than the highest number in the masks, but for the one that is none.

    Raises:
        UserError: a mask cannot be read, or has nothing but that number.
    """
    highest = -1
    for _, path in pairs:
        try:
            with Image.open(path) as mask:
                numbers = numbers_of(mask)
        except (OSError, ValueError) as error:
            raise UserError(f"the mask '{path}' cannot be read: {error}.") from error
        own = numbers[numbers != ignored]
        highest = max(highest, int(own.max()) if own.size else -1)
    if highest < 0:
        raise UserError("the masks of the training pictures tell no class; set classes= and ignore=.")
    return highest + 1
