"""Sets of annotated pictures by their names, as splits."""

from collections.abc import Callable
from functools import cache, partial
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
from xbench.data.disk.public import first_words, resolve
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
    own = resolve(spec, words)
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


# Who opens a split by the set's own word, those words, how many classes there are, and other facts.
Opened = tuple[Callable[[str], Any], dict[str, str], int, dict[str, Any]]


def _coco(spec: DataSpec, root: Path) -> Opened:
    """COCO's own words end with a year: train2017."""
    there = coco_words(root)
    if not there:
        raise UserError(f"data '{spec}': there is no 'annotations/instances_….json' in '{root}'.")
    years = {word.rstrip("0123456789"): word for word in there}
    words = {split: years[word] for split, word in first_words(years.__contains__).items()}
    train = spec.options.get("train") or words.get("train", there[0])
    read = {train: CocoPictures(root, train)}

    def open_split(word: str) -> CocoPictures:
        if word not in read:
            read[word] = CocoPictures(root, word)
            if read[word].names != read[train].names:
                raise UserError(f"data '{spec}': '{word}' has other categories than '{train}'.")
        return read[word]

    names = read[train].names
    return open_split, words, len(names), {"categories": names}


def _cityscapes(spec: DataSpec, root: Path) -> Opened:
    pairs, classes = cache(partial(cityscapes_pairs, root)), by_table(cityscapes_table())

    def open_split(word: str) -> MaskedPictures:
        return MaskedPictures(pairs(word), root, classes)

    # The masks of its test split are not published: they hold nothing but ignored labels.
    words = first_words(lambda word: word != "test" and bool(pairs(word)))
    return open_split, words, CITYSCAPES_CLASSES, {}


def _masks(spec: DataSpec, root: Path) -> Opened:
    ignored = spec.option("ignore")
    if not 0 <= ignored <= 65535:
        raise UserError(f"masks: ignore must be from 0 to 65535, not {ignored}.")
    pairs = cache(partial(folder_pairs, root))
    words = first_words(lambda word: bool(pairs(word)))
    train = spec.options.get("train") or words.get("train", "train")
    classes = spec.option("classes") or most(pairs(train), ignored)
    if not 0 < classes < 255:
        raise UserError(f"masks: classes must be from 1 to 254, not {classes}.")

    def open_split(word: str) -> MaskedPictures:
        return MaskedPictures(pairs(word), root, as_they_are(classes, ignored))

    return open_split, words, classes, {}


OPENERS: dict[str, Callable[[DataSpec, Path], Opened]] = {"coco": _coco, "cityscapes": _cityscapes, "masks": _masks}
