"""Sets of annotated pictures by their names, as splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xbench.data import Augmentation
from xbench.data.annotated.coco import CocoPictures
from xbench.data.annotated.coco import words_of as coco_words
from xbench.data.annotated.masks import (
    CITYSCAPES_CLASSES,
    MaskedPictures,
    as_they_are,
    by_table,
    cityscapes_pairs,
    cityscapes_table,
    folder_pairs,
    most,
)
from xbench.data.annotated.pictures import AnnotatedPictures, AnnotatedTransforms
from xbench.data.annotated.scenes import CLASSES, Scenes
from xbench.data.disk.public import WORDS, resolve
from xbench.data.epochs import Splits
from xbench.data.names import DataSpec, SceneOptions
from xbench.errors import UserError


def open_annotated(
    spec: DataSpec, task: str, root: Path | None, *, img_size: tuple[int, int], seed: int, augmentation: Augmentation
) -> Splits:
    """The splits of a set of annotated pictures, for the task.

    Raises:
        UserError: no folder, a set that is not there or cannot be read, or one without two splits; an augmentation that
            boxes and masks cannot follow.
    """
    transforms = AnnotatedTransforms(img_size, augmentation)
    facts = {"transforms": transforms.facts()}
    if spec.kind == "scenes":
        options = SceneOptions(**spec.options)
        drawn: dict[str, Any] = {
            split: Scenes(task, split, options, transforms, seed) for split in ("train", "val", "test")
        }
        return Splits(str(spec), CLASSES[task], **drawn, facts=facts)
    root = spec.root or root
    if root is None:
        raise UserError(f"data '{spec}' needs a folder: '{spec.kind}:/path'.")
    if not root.is_dir():
        raise UserError(f"data '{spec}': '{root}' is not a folder.")
    open_split, words, num_classes, more = OPENERS[spec.kind](spec, root)
    own = resolve(spec, _words(words))
    opened: dict[str, AnnotatedPictures] = {}
    for word in own.values():
        if word not in opened:
            pictures = open_split(word)
            if not len(pictures):
                raise UserError(f"data '{spec}': '{word}' holds no pictures.")
            found = {"own": word, "fingerprint": pictures.fingerprint(), **getattr(pictures, "facts", {})}
            opened[word] = AnnotatedPictures(pictures, transforms, seed, found)
    splits: dict[str, Any] = {split: opened[word] for split, word in own.items()}
    return Splits(str(spec), num_classes, **splits, facts={**facts, **more}, files=True)


Opened = tuple[Callable[[str], Any], Callable[[str], bool], int, dict[str, Any]]


def _words(there: Callable[[str], bool]) -> dict[str, str]:
    first = {split: next(filter(there, words), None) for split, words in WORDS.items()}
    return {split: word for split, word in first.items() if word is not None}


def _coco(spec: DataSpec, root: Path) -> Opened:
    """COCO's own words end with a year: train2017."""
    there = coco_words(root)
    if not there:
        raise UserError(f"data '{spec}': there is no 'annotations/instances_….json' in '{root}'.")
    years = {word.rstrip("0123456789"): word for word in there}
    read: dict[str, CocoPictures] = {}

    def open_split(word: str) -> CocoPictures:
        own = word if word in there else years.get(word, word)
        if own not in read:
            read[own] = CocoPictures(root, own)
            if read[own].names != first.names:
                raise UserError(f"data '{spec}': '{own}' has other categories than '{train}'.")
        return read[own]

    train = spec.options.get("train") or next((years[word] for word in WORDS["train"] if word in years), there[0])
    first = read[train] = CocoPictures(root, train)
    return open_split, lambda word: word in there or word in years, len(first.names), {"categories": first.names}


def _cityscapes(spec: DataSpec, root: Path) -> Opened:
    classes = by_table(cityscapes_table())

    def open_split(word: str) -> MaskedPictures:
        return MaskedPictures(cityscapes_pairs(root, word), root, classes)

    # The masks of its test split are not published: they hold nothing but ignored labels.
    return open_split, lambda word: word != "test" and bool(cityscapes_pairs(root, word)), CITYSCAPES_CLASSES, {}


def _masks(spec: DataSpec, root: Path) -> Opened:
    ignored = spec.option("ignore")
    if not 0 <= ignored <= 65535:
        raise UserError(f"masks: ignore must be from 0 to 65535, not {ignored}.")
    train = spec.options.get("train") or next((word for word in WORDS["train"] if folder_pairs(root, word)), "train")
    classes = spec.option("classes") or most(folder_pairs(root, train), ignored)
    if not 0 < classes < 255:
        raise UserError(f"masks: classes must be from 1 to 254, not {classes}.")

    def open_split(word: str) -> MaskedPictures:
        return MaskedPictures(folder_pairs(root, word), root, as_they_are(classes, ignored))

    return open_split, lambda word: bool(folder_pairs(root, word)), classes, {}


OPENERS: dict[str, Callable[[DataSpec, Path], Opened]] = {"coco": _coco, "cityscapes": _cityscapes, "masks": _masks}
