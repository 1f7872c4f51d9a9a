"""Pictures in folders of classes, as torchvision's ``ImageFolder`` reads them: a class is a folder and all below it.

What no user means to be a class is none: hidden folders (``.ipynb_checkpoints``), what systems leave (``__MACOSX``),
and folders without a picture. Hidden files are no pictures, and files of other kinds are counted, not read.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from timm.utils.misc import natural_key

from xbench.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
LEFT_BY_SYSTEMS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")


class Folder:
    """The pictures of one split, by number, in the natural order of their paths.

    Attributes:
        paths: below ``root``.
        targets: the class of each picture.
        classes: by name of its folder, the number of a class: those given, or those found, in natural order.
        empty: folders that would be classes and hold no picture.
        others: files that are not read, because their suffix is none of ``SUFFIXES``.

    Raises:
        UserError: no picture, or a folder that cannot be read.
    """

    def __init__(self, root: Path):
        self.root = root
        found: dict[str, list[str]] = {}
        self.empty: list[str] = []
        self.others: list[str] = []
        for name in _visible(entry.name for entry in root.iterdir()):
            if (root / name).is_dir():
                found[name] = self._pictures_below(name)
            else:
                self.others.append(name)
        self.empty = sorted((name for name, own in found.items() if not own), key=natural_key)
        self.others.sort(key=natural_key)
        names = sorted((name for name, own in found.items() if own), key=natural_key)
        if not names:
            raise UserError(f"'{root}' holds no pictures in folders of classes ({', '.join(SUFFIXES)}).")
        self.classes = {name: number for number, name in enumerate(names)}
        listed = [(path, self.classes[name]) for name in names for path in found[name]]
        listed.sort(key=lambda entry: natural_key(str(root / entry[0])))
        self.paths = [path for path, _ in listed]
        self.targets = [target for _, target in listed]

    def _pictures_below(self, name: str) -> list[str]:
        found: list[str] = []
        for folder, below, files in os.walk(self.root / name, followlinks=True, onerror=_refuse):
            here = os.path.realpath(folder)
            # A link to a folder that it lies in would be followed without end.
            below[:] = [own for own in _visible(below) if not _holds(os.path.join(folder, own), here)]
            for file in _visible(files):
                path = os.path.relpath(os.path.join(folder, file), self.root)
                kind = found if os.path.splitext(file)[1].lower() in SUFFIXES else self.others
                kind.append(path)
        return found

    def number_by(self, classes: dict[str, int]) -> None:
        """Gives the classes the numbers that they have in training.

        Raises:
            UserError: one is unknown there.
        """
        strange = [name for name in self.classes if name not in classes]
        if strange:
            missing = [name for name in classes if name not in self.classes]
            hint = f" Training has, and this has not: {_some(missing)}." if missing else ""
            raise UserError(f"'{self.root}' holds classes that training does not: {_some(strange)}.{hint}")
        renumbered = {number: classes[name] for name, number in self.classes.items()}
        self.targets = [renumbered[target] for target in self.targets]
        self.classes = classes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.root / self.paths[index]), self.targets[index]

    def name(self, index: int) -> str:
        return f"{self.root.name}/{self.paths[index]}"


def class_folders(root: Path) -> list[str]:
    """Names of the folders in ``root`` that could be classes."""
    if not root.is_dir():
        return []
    return [name for name in _visible(entry.name for entry in root.iterdir()) if (root / name).is_dir()]


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".") and name not in LEFT_BY_SYSTEMS]


def _holds(folder: str, here: str) -> bool:
    outer = os.path.realpath(folder)
    return os.path.commonpath([outer, here]) == outer


def _refuse(error: OSError) -> None:
    raise UserError(f"'{error.filename}' cannot be listed: {error.strerror}.") from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
