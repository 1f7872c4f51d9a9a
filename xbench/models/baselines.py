"""Whole timm models as arms beside XFormer. Imports neither torch nor timm until one is built."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from xbench.errors import UserError

if TYPE_CHECKING:
    from timm.models import PretrainedCfg
    from torch import nn

# Named by the XFormer paper (arXiv 2207.07268), and MobileViTv2 for its separable self-attention (arXiv 2206.02680).
BASELINES = (
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "deit_tiny_patch16_224",
    "mobilevit_s",
    "mobilevitv2_100",
)

TRIED = 10  # sizes on either side of one that a model cannot take


def check_baseline(name: str) -> None:
    """Refuses a name that timm does not know, with the closest that it knows.

    Raises:
        UserError: unknown name.
    """
    import timm

    if timm.is_model(name):
        return
    known = timm.list_models()
    close = [other for other in known if other.startswith(name)] or get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f" Closest: {', '.join(close[:5])}." if close else ""
    raise UserError(f"unknown timm model '{name}'.{hint} Named by the source: {', '.join(BASELINES)}.")


def build_baseline(
    name: str, *, img_size: int | tuple[int, int], num_classes: int = 1000, in_chans: int = 3
) -> "nn.Module":
    """A timm classifier with random weights: [B, in_chans, H, W] → [B, num_classes]. Never asks the network.

    Args:
        name: any name in timm's registry.
        img_size: (height, width) or a side in pixels; used by models that fix their input when they are built.
        num_classes: outputs of the classifier.
        in_chans: channels of the image.

    Raises:
        UserError: unknown name, or a size that the model cannot be built for. Of one that it can be built for and not
            run at, ``check_takes`` tells.
    """
    check_baseline(name)
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    try:
        return _create(name, size, num_classes=num_classes, in_chans=in_chans)
    except (AssertionError, RuntimeError, TypeError, ValueError):
        check_takes(name, size)
        raise


def _create(name: str, size: tuple[int, int], **rest: Any) -> "nn.Module":
    """A model that fixes its input when it is built is built for this size; where it has no choice, for its own."""
    import timm

    config = config_of(name)
    fixed: dict[str, Any] = {"img_size": size} if config is not None and config.fixed_input_size else {}
    return timm.create_model(name, pretrained=False, **fixed, **rest)


def check_takes(name: str, img_size: tuple[int, int]) -> None:
    """Refuses a size, (height, width), that the model cannot run at, with what it takes. Found by trying, on paper.

    Nothing is known, and nothing refused, of a model that does not run on the meta device at the size it is made for.

    Raises:
        UserError: it runs at the size it is made for, and not at this one.
    """
    own = own_size(name)
    if own is None or own == img_size or _takes(name, img_size) or not _takes(name, own):
        return
    near = [_show(size) for size in (_nearest(name, img_size, end) for end in ("below", "above")) if size]
    takes = f"takes {' and '.join(near)}" if near else "takes none"
    raise UserError(
        f"timm model '{name}' cannot take images of {_show(img_size)}: it is made for {_show(own)}, and of the sizes "
        f"near it that were tried {takes}."
    )


def _show(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def own_size(name: str) -> tuple[int, int] | None:
    """(height, width) that the model is made for, as timm says; None where it does not."""
    config = config_of(name)
    if config is None:
        return None
    _, height, width = config.input_size
    return height, width


def config_of(name: str) -> "PretrainedCfg | None":
    """What timm says of the weights that it would load, of a name with or without their tag; None where it has none.

    Raises:
        UserError: there are no weights of that tag.
    """
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UserError(f"timm has no weights called '{name}'.") from error


def _nearest(name: str, img_size: tuple[int, int], end: Literal["below", "above"]) -> tuple[int, int] | None:
    """The nearest size on one side that the model takes, of those whose sides are multiples of 16, or else of 32."""
    for multiple in (16, 32):
        for i in range(TRIED):
            height, width = (-(-side // multiple) + i if end == "above" else side // multiple - i for side in img_size)
            size = multiple * height, multiple * width
            if min(size) > 0 and size != img_size and _takes(name, size):
                return size
    return None


def _takes(name: str, size: tuple[int, int]) -> bool:
    """Whether a forward pass works on the meta device."""
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            _create(name, size).eval()(torch.empty(1, 3, *size))
    except Exception:
        return False
    return True


def build_maps(name: str, reductions: Sequence[int], img_size: tuple[int, int]) -> "tuple[nn.Module, list[int]]":
    """A timm model that gives the last map of each of these reductions, finest first; and the channels of the maps.

    Raises:
        UserError: unknown name, or a model that has no such maps.
    """
    import torch

    check_baseline(name)
    try:
        with torch.device("meta"):
            asked: Any = _create(name, img_size, features_only=True)
        found = asked.feature_info.reduction()
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"timm model '{name}' gives no feature maps: {str(error).splitlines()[0]}.") from error
    last = {reduction: i for i, reduction in enumerate(found)}
    missing = [reduction for reduction in reductions if reduction not in last]
    if missing:
        raise UserError(
            f"timm model '{name}' has no feature maps at strides {', '.join(map(str, missing))}, which this task "
            f"needs; it has them at {', '.join(map(str, sorted(last)))}."
        )
    places = [last[reduction] for reduction in reductions]
    model: Any = _create(name, img_size, features_only=True, out_indices=places)
    return model, model.feature_info.channels()
