"""Whole timm models as arms beside XFormer. Imports neither torch nor timm until one is built."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from xbench.errors import UserError

if TYPE_CHECKING:
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
        UserError: unknown name, or a size that the model cannot be built for.
    """
    check_baseline(name)
    import timm
    from timm.models import get_pretrained_cfg

    size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    config = get_pretrained_cfg(name)
    fixed: dict[str, Any] = {"img_size": size} if config is not None and config.fixed_input_size else {}
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_chans, **fixed)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"timm model '{name}' cannot be built for images of {size[0]}×{size[1]}: {error}") from error
