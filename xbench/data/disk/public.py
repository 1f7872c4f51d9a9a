"""Sets of pictures from outside: folders, shards, and by timm's ``create_dataset`` torchvision's and Hugging Face's.

No picture is taken from timm's data set, only from its readers: where the data set cannot read one, it gives the next
one instead, with the next one's class. A set that has only one split besides its training images, as ImageNet-1K has,
gives it as "val" and as "test"; which of the set's own splits stands for what is among the facts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_dataset

from xbench.data import Augmentation
from xbench.data.chance import fingerprint
from xbench.data.disk.folders import Folder, class_folders
from xbench.data.disk.shards import Shards, shards_of
from xbench.data.epochs import Splits
from xbench.data.names import DataSpec
from xbench.data.pictures import NAMED, Pictures, PictureSet, make_transforms
from xbench.errors import UserError, unknown_name

# What a set may call its splits. timm's words, in timm's order.
WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval", "evaluation"),
    "test": ("test",),
}
TORCH_SETS = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist", "places365", "imagenet")


@dataclass(frozen=True)
class Opened:
    """One split of a set from outside.

    ``files`` is whether its pictures lie in files; ``facts`` are what a record says of it beside its size.
    """

    pictures: PictureSet
    labels: np.ndarray
    fingerprint: str
    files: bool = True
    facts: dict[str, Any] = field(default_factory=dict)


class Source(NamedTuple):
    """A set from outside: its own words for those of "train", "val" and "test" that it has, and who opens them."""

    words: dict[str, str]
    open_split: Callable[[str], Opened]


def open_public(
    spec: DataSpec, root: Path | None, *, img_size: tuple[int, int], seed: int, augmentation: Augmentation
) -> Splits:
    """The splits of a set from outside, normalised by ImageNet's mean and deviation.

    Raises:
        UserError: no folder, a set that is not there or cannot be read, or one without two splits.
    """
    root = spec.root or root
    if spec.kind in ("folder", "wds"):
        if root is None:
            raise UserError(f"data '{spec}' needs a folder: '{spec.kind}:/path'.")
        if not root.is_dir():
            raise UserError(f"data '{spec}': '{root}' is not a folder.")
    source = OPENERS[spec.kind](spec, root)
    own = resolve(spec, source.words)
    opened: dict[str, Opened] = {}
    for name in own.values():
        if name not in opened:
            opened[name] = source.open_split(name)
    transforms = make_transforms(
        img_size, augmentation, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD, crop=spec.option("crop")
    )
    classes = _classes(spec, own["train"], opened)
    pictures = {}
    for name, split in opened.items():
        shown = len(np.unique(split.labels))
        few = {"classes": shown} if shown < classes else {}
        facts = {"own": name, "fingerprint": split.fingerprint, **few, **split.facts}
        pictures[name] = Pictures(split.pictures, transforms, seed, facts)
    splits = {split: pictures[name] for split, name in own.items()}
    files = any(split.files for split in opened.values())
    return Splits(str(spec), classes, **splits, facts={"transforms": transforms.facts()}, files=files)


def _classes(spec: DataSpec, train: str, opened: dict[str, Opened]) -> int:
    """How many there are: one more than the highest number in training, which must have those of all other splits."""
    for name, split in opened.items():
        if not len(split.labels):
            raise UserError(f"data '{spec}': '{name}' holds no images.")
        if not np.issubdtype(split.labels.dtype, np.integer):
            raise UserError(
                f"data '{spec}': the classes in '{name}' are no whole numbers, such as {split.labels[0]!r}."
            )
        if (lowest := split.labels.min()) < 0:
            raise UserError(f"data '{spec}': '{name}' holds images of class {lowest}; classes count from 0.")
        strange = np.setdiff1d(split.labels, opened[train].labels)
        if len(strange):
            listed = ", ".join(map(str, strange[:5].tolist()))
            raise UserError(f"data '{spec}': '{name}' holds classes that training does not: {listed}.")
    return int(opened[train].labels.max()) + 1


def resolve(spec: DataSpec, found: dict[str, str]) -> dict[str, str]:
    """The set's own word for each of our three splits; the one that is missing for evaluation is the other one."""
    own = {split: str(spec.options[split]) for split in WORDS if spec.options.get(split)}
    own = {**found, **own}
    if "train" not in own or len(own) == 1:
        there = ", ".join(found.values()) or "none"
        raise UserError(f"data '{spec}' needs a split to train on and one to evaluate on; found: {there}.")
    own.setdefault("val", own.get("test", ""))
    own.setdefault("test", own["val"])
    return own


def first_words(there: Callable[[str], bool]) -> dict[str, str]:
    """Of every split the first word that a set has."""
    first = {split: next(filter(there, words), None) for split, words in WORDS.items()}
    return {split: word for split, word in first.items() if word is not None}


def _folder(spec: DataSpec, root: Path | None) -> Source:
    """A folder per split with a folder per class; a split's classes may be fewer than those of training."""
    assert root is not None
    classes: dict[str, int] = {}

    def open_split(word: str) -> Opened:
        pictures = Folder(root / word)
        if classes:
            pictures.number_by(classes)
        classes.update(pictures.classes)
        left = {"empty_folders": pictures.empty, "files_not_read": pictures.others}
        facts = {what: {"number": len(names), "first": names[:NAMED]} for what, names in left.items() if names}
        listing = list(zip(pictures.paths, pictures.targets, strict=True))
        return Opened(pictures, np.array(pictures.targets), fingerprint(listing), facts=facts)

    return Source(first_words(lambda word: bool(class_folders(root / word))), open_split)


def _wds(spec: DataSpec, root: Path | None) -> Source:
    assert root is not None

    def open_split(word: str) -> Opened:
        paths = shards_of(root, word)
        if not paths:
            raise UserError(f"data '{spec}': no tar in '{root}' has '{word}' in its name, and no folder is called so.")
        pictures = Shards(paths)
        return Opened(pictures, pictures.labels, pictures.fingerprint())

    return Source(first_words(lambda word: bool(shards_of(root, word))), open_split)


def _torch(spec: DataSpec, root: Path | None) -> Source:
    _, _, name = spec.name.partition("/")
    if name not in TORCH_SETS:
        raise unknown_name("torchvision set", name, TORCH_SETS)
    if root is None:
        raise UserError(f"data '{spec}' needs the folder that torchvision keeps it in: '{spec.name}:/path'.")

    def open_split(word: str) -> Opened:
        try:
            pictures = create_dataset(spec.name, root=str(root), split=word, download=spec.option("download"))
        except (RuntimeError, OSError) as error:
            raise UserError(f"data '{spec}' cannot be opened in '{root}': {error}") from error
        labels = np.asarray(pictures.targets)
        # Of the others all pictures are in one file, with a checksum of its own.
        files = hasattr(pictures, "imgs")
        return Opened(_TorchPictures(pictures, word), labels, fingerprint([labels.tolist()]), files)

    return Source({"train": "train", "val": "validation"}, open_split)


def _hfds(spec: DataSpec, root: Path | None) -> Source:
    try:
        import datasets
    except ImportError:
        raise UserError(f"data '{spec}' needs Hugging Face's library: pip install datasets.") from None
    _, _, name = spec.name.partition("/")
    image, label = spec.option("image"), spec.option("label")
    cache = str(root) if root else None

    def open_split(word: str) -> Opened:
        try:
            pictures = create_dataset(spec.name, root=cache, split=word, input_key=image, target_key=label)
        except (KeyError, ValueError, OSError) as error:
            raise UserError(f"data '{spec}': split '{word}' cannot be opened: {error}") from error
        table = pictures.reader.dataset
        labels = np.asarray(table[label][:])
        return Opened(_Rows(pictures.reader, word), labels, fingerprint([table.num_rows, labels.tolist()]))

    try:
        words = datasets.get_dataset_split_names(name)
    except (ValueError, OSError) as error:
        raise UserError(f"data '{spec}' cannot be opened: {error}") from error
    return Source(first_words(lambda word: word in words), open_split)


@dataclass(frozen=True)
class _TorchPictures:
    """The pictures of one of torchvision's sets."""

    pictures: Any
    split: str

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.pictures[index]

    def name(self, index: int) -> str:
        files = getattr(self.pictures, "imgs", None)
        return str(files[index][0]) if files else f"{index} of '{self.split}'"


@dataclass(frozen=True)
class _Rows:
    """The pictures in the rows of a Hugging Face set, by timm's reader."""

    reader: Any
    split: str

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        file, target = self.reader[index]
        return Image.open(file), target

    def name(self, index: int) -> str:
        return f"in row {index} of '{self.split}'"


OPENERS: dict[str, Callable[[DataSpec, Path | None], Source]] = {
    "folder": _folder,
    "wds": _wds,
    "torch": _torch,
    "hfds": _hfds,
}
