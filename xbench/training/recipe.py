"""The one recipe: everything that decides how a model is trained, but for the model and the data.

Each data set has its own, and every arm of a comparison is trained by it. It stands in the record of every accuracy.
The pieces are timm's: optimizer, schedule, mixup, EMA.
"""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from xbench.data import Augmentation
from xbench.errors import UserError, check_readable, unknown_name
from xbench.parsing.axes import one_of
from xbench.parsing.options import LARGEST, check_limits, split_setting

DTYPES = ("fp32", "bf16", "fp16")
SCHEDULES = ("cosine", "poly", "tanh")
POLICIES = ("rand", "augmix", "original", "v0", "3a")  # of timm's auto_augment_transform and its siblings
AUGMENTATION_LIMITS = {"color_jitter": 10, "random_erasing": 1, "hflip": 1, "mixup": 100, "cutmix": 100}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        batch: images per optimizer step, over all processes together.
        optimizer: any name of timm's; weights of one dimension and biases do not decay.
        lr: the highest learning rate, at the end of the warm-up; not scaled by the batch.
        min_lr, warmup_lr: the learning rates at the end and at the beginning, as shares of ``lr``.
        warmup: the share of all steps during which the learning rate rises linearly.
        schedule: how it then falls: "cosine", "poly" or "tanh".
        weight_decay: decoupled, per unit of learning rate, as the optimizer does it.
        clip_grad: the largest norm of all gradients together; 0 for no limit.
        label_smoothing: share of the target spread over all classes.
        drop_rate, drop_path_rate: dropout before the classifier; stochastic depth of the last stage.
        ema: decay per step of the averaged weights, which are what is evaluated; 0 for none.
        dtype: "fp32", or half precision by autocast.
        augmentation: what is done to training images.
    """

    epochs: int = 300
    batch: int = 1024
    optimizer: str = "adamw"
    lr: float = 2e-3
    min_lr: float = 0.01
    warmup_lr: float = 0.01
    warmup: float = 0.02
    schedule: str = "cosine"
    weight_decay: float = 0.05
    clip_grad: float = 1.0
    label_smoothing: float = 0.1
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    ema: float = 0.0
    dtype: str = "fp32"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        one_of("schedule", self.schedule, SCHEDULES)
        self._check_augmentation()
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch", 1, 2**20),
            ("lr", 1e-12, 1e3),
            ("min_lr", 0, 1),
            ("warmup_lr", 0, 1),
            ("warmup", 0, 1),
            ("weight_decay", 0, 100),
            ("clip_grad", 0, 1e9),
            ("label_smoothing", 0, 0.99),
            ("drop_rate", 0, 0.99),
            ("drop_path_rate", 0, 0.99),
            ("ema", 0, 0.999999),
        ):
            check_limits(name, getattr(self, name), low, high)

    def _check_augmentation(self) -> None:
        changed = self.augmentation
        for name, high in AUGMENTATION_LIMITS.items():
            if not 0 <= getattr(changed, name) <= high:
                raise UserError(
                    f"{name} of the recipe must lie between 0 and {high:g}, not {getattr(changed, name):g}."
                )
        scale, policy = changed.scale, changed.auto_augment
        if scale is not None and not _is_range(scale):
            raise UserError(f"scale of the recipe is two shares of the area such as [0.2, 1.0], not {scale!r}.")
        if policy is not None and not (isinstance(policy, str) and policy.startswith(POLICIES)):
            known = ", ".join(POLICIES)
            raise UserError(f"auto_augment of the recipe is none, or begins with one of {known}; not {policy!r}.")

    def changed(self, settings: Sequence[str] = ()) -> "Recipe":
        """The recipe with some settings replaced, each written as "name=value"; an augmentation's by its own name.

        Raises:
            UserError: not of that form, an unknown name, or a value that cannot be.
        """
        own = {setting.name for setting in fields(self)} - {"augmentation"}
        augmenting = {setting.name for setting in fields(Augmentation)}
        changes: dict[str, Any] = {}
        augmentation: dict[str, Any] = {}
        for setting in settings:
            name, text = split_setting(setting)
            if name in own:
                changes[name] = _value(name, text, getattr(self, name))
            elif name in augmenting:
                augmentation[name] = _value(name, text, getattr(self.augmentation, name))
            else:
                raise unknown_name("setting of the recipe", name, [*own, *augmenting])
        return replace(self, **changes, augmentation=replace(self.augmentation, **augmentation))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a record holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """The inverse of ``as_dict``."""
        augmentation = dict(values["augmentation"])
        if augmentation.get("scale"):
            augmentation["scale"] = tuple(augmentation["scale"])
        return cls(**{**values, "augmentation": Augmentation(**augmentation)})


def _value(name: str, text: str, default: Any) -> Any:
    """The text as TOML would read it; a bare word is a string."""
    check_readable(f"{name} of the recipe", text)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = None if text == "none" else text
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < LARGEST else math.inf
    if default is not None and type(value) is not type(default):
        raise UserError(f"{name} of the recipe is a {type(default).__name__} such as {default!r}, not '{text}'.")
    return value


def _is_range(scale: Any) -> bool:
    """Whether these are two shares, the smaller first."""
    if not isinstance(scale, tuple) or len(scale) != 2 or any(type(end) not in (int, float) for end in scale):
        return False
    return 0 < scale[0] <= scale[1] <= 1


# MobileViT's published setting (arXiv 2110.02178): the paper of XFormer (arXiv 2207.07268) follows it and does not
# state one in full. 300 epochs, AdamW, 3,000 steps up to 2e-3, a cosine to 2e-4, smoothing 0.1, EMA, crops, flips.
IMAGENET = Recipe(
    warmup=0.008,
    min_lr=0.1,
    warmup_lr=0.1,
    weight_decay=0.01,
    ema=0.9995,
    drop_rate=0.1,
    augmentation=Augmentation(hflip=0.5, scale=(0.2, 1.0)),
)
# Small enough for two cores. Flips would turn a 2 into something else.
DIGITS = Recipe(epochs=20, batch=64, warmup=0.1, ema=0.99)
CANVAS = Recipe(epochs=12, batch=32, warmup=0.1, label_smoothing=0.0)

SCENES = Recipe(epochs=30, batch=16, warmup=0.05, label_smoothing=0.0, ema=0.99, clip_grad=10.0)
# From random weights, for want of a published setting that begins there: as long as mmdetection's light YOLOv3, and
# with the batch and the polynomial of SegFormer (arXiv 2105.15203); AdamW as for ImageNet.
DETECTION = Recipe(
    epochs=273,
    batch=64,
    lr=1e-3,
    label_smoothing=0.0,
    clip_grad=10.0,
    ema=0.9998,
    augmentation=Augmentation(scale=(0.3, 1.0), hflip=0.5, color_jitter=0.4),
)
SEGMENTATION = Recipe(
    epochs=500,
    batch=16,
    lr=1e-3,
    schedule="poly",
    label_smoothing=0.0,
    drop_rate=0.1,
    ema=0.999,
    augmentation=Augmentation(scale=(0.1, 1.0), hflip=0.5, color_jitter=0.4),
)

RECIPES = {"digits": DIGITS, "canvas": CANVAS, "scenes": SCENES, "coco": DETECTION}
RECIPES |= dict.fromkeys(("cityscapes", "masks"), SEGMENTATION)


def recipe_for(data: str) -> Recipe:
    """The recipe of a data set, by its spec; of one that is not named here, ImageNet's."""
    return RECIPES.get(data.partition(":")[0], IMAGENET)
