"""Sets of pictures from outside, opened by timm's ``create_dataset``: folders, torchvision's, Hugging Face's; shards.

A set that has only one split besides its training images, as ImageNet-1K has, gives it as "val" and as "test"; which
of the set's own splits stands for what is among the facts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_dataset

from xbench.data import Augmentation
from xbench.data.chance import fingerprint
from xbench.data.epochs import Splits
from xbench.data.names import DataSpec
from xbench.data.pictures import Pictures, PictureSet, make_transforms
from xbench.data.shards import Shards, shards_of
from xbench.errors import UserError, unknown_name

# What a set may call its splits. timm's words, in timm's order.
WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval", "evaluation"),
    "test": ("test",),
}
TORCH_SETS = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist", "places365", "imagenet")


class Opened(NamedTuple):
    """One split of a set from outside."""

    pictures: PictureSet
    classes: int
    fingerprint: str


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
    own = _resolve(spec, source.words)
    opened: dict[str, Opened] = {}
    for name in own.values():
        if name not in opened:
            opened[name] = source.open_split(name)
    transforms = make_transforms(
        img_size, augmentation, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD, crop=spec.option("crop")
    )
    splits = {
        split: Pictures(opened[name].pictures, transforms, seed, {"own": name, "fingerprint": opened[name].fingerprint})
        for split, name in own.items()
    }
    classes = max(split.classes for split in opened.values())
    return Splits(str(spec), classes, **splits, facts={"transforms": transforms.facts()})


def _resolve(spec: DataSpec, found: dict[str, str]) -> dict[str, str]:
    """The set's own word for each of our three splits; the one that is missing for evaluation is the other one."""
    own = {split: str(spec.options[split]) for split in WORDS if spec.options.get(split)}
    own = {**found, **own}
    if "train" not in own or len(own) == 1:
        there = ", ".join(found.values()) or "none"
        raise UserError(f"data '{spec}' needs a split to train on and one to evaluate on; found: {there}.")
    own.setdefault("val", own.get("test", ""))
    own.setdefault("test", own["val"])
    return own


def _first_words(there: Callable[[str], bool]) -> dict[str, str]:
    """Of every split the first word that a set has."""
    first = {split: next(filter(there, words), None) for split, words in WORDS.items()}
    return {split: word for split, word in first.items() if word is not None}


def _folder(spec: DataSpec, root: Path | None) -> Source:
    """A folder per split with a folder per class; a split's classes may be fewer than those of training."""
    assert root is not None
    classes: dict[str, int] = {}

    def open_split(word: str) -> Opened:
        folder = root / word
        try:
            pictures = create_dataset("", root=str(folder), search_split=False)
            strange = sorted(set(pictures.reader.class_to_idx) - set(classes)) if classes else []
            if strange:
                raise UserError(f"'{folder}' holds classes that training does not: {', '.join(strange[:5])}.")
            if classes:
                pictures = create_dataset("", root=str(folder), search_split=False, class_map=classes)
        except (AssertionError, RuntimeError) as error:
            raise UserError(f"data '{spec}': '{folder}' holds no pictures in folders of classes.") from error
        classes.update(pictures.reader.class_to_idx)
        listing = [(pictures.filename(i), target) for i, (_, target) in enumerate(pictures.reader.samples)]
        return Opened(pictures, len(classes), fingerprint(listing))

    def there(word: str) -> bool:
        folder = root / word
        return folder.is_dir() and any(child.is_dir() for child in folder.iterdir())

    return Source(_first_words(there), open_split)


def _wds(spec: DataSpec, root: Path | None) -> Source:
    assert root is not None

    def open_split(word: str) -> Opened:
        paths = shards_of(root, word)
        if not paths:
            raise UserError(f"data '{spec}': no tar in '{root}' has '{word}' in its name, and no folder is called so.")
        pictures = Shards(paths)
        return Opened(pictures, int(pictures.labels.max()) + 1, pictures.fingerprint())

    return Source(_first_words(lambda word: bool(shards_of(root, word))), open_split)


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
        return Opened(pictures, len(pictures.classes), fingerprint([np.asarray(pictures.targets).tolist()]))

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
        return Opened(pictures, int(labels.max()) + 1, fingerprint([table.num_rows, labels.tolist()]))

    try:
        words = datasets.get_dataset_split_names(name)
    except (ValueError, OSError) as error:
        raise UserError(f"data '{spec}' cannot be opened: {error}") from error
    return Source(_first_words(lambda word: word in words), open_split)


OPENERS: dict[str, Callable[[DataSpec, Path | None], Source]] = {
    "folder": _folder,
    "wds": _wds,
    "torch": _torch,
    "hfds": _hfds,
}
