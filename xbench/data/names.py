"""Names of data sets: name[:folder][:option=value,…]. Imports no torch, so that a wrong name is refused at once."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xbench.errors import UserError, check_readable, unknown_name
from xbench.parsing.axes import whole
from xbench.parsing.options import read_options

DIGIT_CLASSES = 10
# What becomes of images that cannot be read: they end the run, or are left out.
STOP, SKIP = "stop", "skip"
UNREADABLE = (STOP, SKIP)
NAMES = ("digits", "canvas", "folder", "wds", "torch/…", "hfds/…", "scenes", "coco", "cityscapes", "masks")
SPEC = re.compile(r"(?P<name>[^:]+)(?::(?P<root>(?![A-Za-z]\w*=)[^:]*))?(?::(?P<options>[A-Za-z]\w*=.*))?")


@dataclass(frozen=True)
class CanvasOptions:
    """What a canvas may be told, as in "canvas:digits=10,clutter=0.3".

    Attributes:
        digits: digits on a canvas; even, 6 to 20.
        clutter: share of the free cells in which a stroke or a fragment of a digit lies, 0 to 1.
        partial: share of the training canvases that show from one pair to all of them, 0 to 1: they teach what the
            digits are, and to compare a few, before many are to be compared. In validation and test there are none.
        train: canvases in an epoch; every epoch draws new ones.
        val: canvases for validation, always the same.
        test: canvases for the test, always the same.
    """

    digits: int = 10
    clutter: float = 0.3
    partial: float = 0.6
    train: int = 8192
    val: int = 1024
    test: int = 2048

    def __post_init__(self) -> None:
        pairs, odd = divmod(self.digits, 2)
        if odd or not 3 <= pairs <= DIGIT_CLASSES:
            raise UserError(f"canvas: digits must be an even number from 6 to {2 * DIGIT_CLASSES}, not {self.digits}.")
        for share in ("clutter", "partial"):
            if not 0 <= getattr(self, share) <= 1:
                raise UserError(f"canvas: {share} must lie between 0 and 1, not {getattr(self, share)}.")
        for split in ("train", "val", "test"):
            if getattr(self, split) < 1:
                raise UserError(f"canvas: {split} must be at least 1 canvas, not {getattr(self, split)}.")


@dataclass(frozen=True)
class SceneOptions:
    """What scenes may be told, as in "scenes:objects=3,train=512".

    Attributes:
        objects: signs in a scene at most; there is at least one.
        clutter: strokes that are no sign at most.
        train: scenes in an epoch; every epoch draws new ones.
        val: scenes for validation, always the same.
        test: scenes for the test, always the same.
    """

    objects: int = 4
    clutter: int = 4
    train: int = 2048
    val: int = 256
    test: int = 512

    def __post_init__(self) -> None:
        for name, least in (("objects", 1), ("clutter", 0), ("train", 1), ("val", 1), ("test", 1)):
            whole(f"scenes: {name}", getattr(self, name), least, 2**24)


# Which of the set's own splits to take, by its own words.
OWN_SPLITS: dict[str, Any] = {"train": None, "val": None, "test": None}
PUBLIC_OPTIONS: dict[str, Any] = {
    **OWN_SPLITS,
    # Share of the shorter side that evaluation keeps.
    "crop": 0.875,
}
DRAWN: dict[str, Any] = {"digits": dict, "canvas": CanvasOptions, "scenes": SceneOptions}  # come with xbench
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "digits": {},
    "canvas": {option.name: option.default for option in fields(CanvasOptions)},
    "folder": PUBLIC_OPTIONS,
    "wds": PUBLIC_OPTIONS,
    "torch": {"download": False, "crop": PUBLIC_OPTIONS["crop"]},
    "hfds": {**PUBLIC_OPTIONS, "image": "image", "label": "label"},
    "scenes": {option.name: option.default for option in fields(SceneOptions)},
    "coco": OWN_SPLITS,
    "cityscapes": OWN_SPLITS,
    # How many classes masks have, 0: one more than the highest number in training; and which number is none.
    "masks": {**OWN_SPLITS, "classes": 0, "ignore": 255},
}
# What of a picture a set tells: of those that are not named here its class.
TASKS_OF = {"scenes": ("detect", "segment"), "coco": ("detect",), "cityscapes": ("segment",), "masks": ("segment",)}
# What there is, as it is written, in words.
SETS = {
    "digits": "scikit-learn's handwritten digits, enlarged: comes with xbench",
    "canvas": "these digits far apart among clutter, drawn here",
    "folder:/data/imagenet": "a folder per split with a folder per class: ImageNet-1K's layout",
    "wds:/data/shards": "WebDataset shards",
    "torch/cifar10:/data": "torchvision's sets, by timm's names",
    "hfds/timm/mini-imagenet": "Hugging Face sets",
    "scenes": "signs of six shapes on photographs, drawn here",
    "coco:/data/coco": "COCO's layout: annotations/instances_train2017.json, train2017, …",
    "cityscapes:/data/cityscapes": "Cityscapes' layout: leftImg8bit and gtFine",
    "masks:/data/pairs": "pictures and masks of one name in two folders for each split",
}
DEFAULTS = {"classify": "digits", "detect": "scenes", "segment": "scenes"}


@dataclass(frozen=True)
class DataSpec:
    """A parsed name; ``root`` is the folder it states, if any. ``str()`` gives its canonical form."""

    name: str
    root: Path | None
    options: dict[str, Any]

    @property
    def kind(self) -> str:
        """The name without what stands behind its slash."""
        return self.name.partition("/")[0]

    def option(self, name: str) -> Any:
        return self.options.get(name, OWN_OPTIONS[self.kind][name])

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return ":".join(filter(None, (self.name, str(self.root or ""), options)))


def parse_data(text: str) -> DataSpec:
    """Parses the name of a data set.

    Raises:
        UserError: not of the form, an unknown name or option, or a value that is not of the option's type.
    """
    check_readable("data", text)
    match = SPEC.fullmatch(text)
    if match is None:
        raise UserError(f"data '{text}': write name[:folder][:option=value,…]; names: {', '.join(NAMES)}.")
    name, root = match["name"], match["root"]
    kind, slash, rest = name.partition("/")
    if kind not in OWN_OPTIONS or bool(slash) != (f"{kind}/…" in NAMES) or (slash and not rest):
        raise unknown_name("data set", name, NAMES)
    if root and kind in DRAWN:
        raise UserError(f"data '{text}': '{kind}' comes with xbench and takes no folder.")
    options = read_options(f"data '{text}'", f"option of data set '{kind}'", match["options"] or "", OWN_OPTIONS[kind])
    if kind in DRAWN and options:
        DRAWN[kind](**options)  # says which values cannot be
    return DataSpec(name, Path(root) if root else None, options)


def check_task(text: str, task: str) -> None:
    """Refuses a data set that does not tell of its pictures what the task is about.

    Raises:
        UserError: see ``parse_data``; or it does not.
    """
    kind = parse_data(text).kind
    if task in TASKS_OF.get(kind, ("classify",)):
        return
    fitting = [name for name in NAMES if task in TASKS_OF.get(name.removesuffix("/…"), ("classify",))]
    raise UserError(f"data '{text}' is not for --task {task}; for that there are {', '.join(fitting)}.")
