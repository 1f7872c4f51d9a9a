"""From a data set's name to its splits."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from xbench.data import Augmentation
from xbench.data.canvas.dataset import MEAN, STD, Canvases
from xbench.data.digits import NUM_CLASSES, digit_splits
from xbench.data.disk.public import open_public
from xbench.data.epochs import Splits
from xbench.data.names import CanvasOptions, DataSpec, check_task, parse_data
from xbench.data.pictures import Pictures, make_transforms


def open_splits(
    text: str, task: str, *, img_size: tuple[int, int], seed: int, augmentation: Augmentation, root: Path | None
) -> Splits:
    """The splits of the set that ``text`` names; see ``open_data``."""
    check_task(text, task)
    spec = parse_data(text)
    if spec.kind == "digits":
        return _digits(img_size, seed, augmentation)
    if spec.kind == "canvas":
        return _canvas(spec, img_size, seed, augmentation)
    if task != "classify":
        from xbench.data.annotated.sets import open_annotated

        return open_annotated(spec, task, root, img_size=img_size, seed=seed, augmentation=augmentation)
    return open_public(spec, root, img_size=img_size, seed=seed, augmentation=augmentation)


def _digits(img_size: tuple[int, int], seed: int, augmentation: Augmentation) -> Splits:
    transforms = make_transforms(img_size, augmentation, mean=MEAN, std=STD, crop=1.0)
    splits: dict[str, Any] = {
        name: Pictures(digits, transforms, seed, {"fingerprint": digits.fingerprint()})
        for name, digits in digit_splits().items()
    }
    return Splits("digits", NUM_CLASSES, **splits, facts={"transforms": transforms.facts()})


def _canvas(spec: DataSpec, img_size: tuple[int, int], seed: int, augmentation: Augmentation) -> Splits:
    options = CanvasOptions(**spec.options)
    facts: dict[str, Any] = {"canvas": asdict(options)}
    transforms = None
    if augmentation.changes_pictures:
        transforms = make_transforms(img_size, augmentation, mean=MEAN, std=STD, crop=1.0)
        facts["transforms"] = transforms.facts()
    return Splits(
        str(spec),
        NUM_CLASSES,
        train=Canvases("train", options, img_size, seed=seed, transforms=transforms),
        val=Canvases("val", options, img_size),
        test=Canvases("test", options, img_size),
        facts=facts,
    )
