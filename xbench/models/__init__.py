"""Models as plain ``nn.Module``s. Importing this package loads no torch; building a model does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xbench.errors import UserError
from xbench.models.sizes import SIZES, check_input

if TYPE_CHECKING:
    from torch import nn

    from xbench.models.layers import AttentionLike

__all__ = ["SIZES", "build_model", "check_input"]

NUM_STAGES = 5


def build_model(
    attn: "AttentionLike" = "xfa",
    *,
    size: str = "s",
    patch_size: int = 2,
    num_heads: int = 4,
    num_classes: int = 1000,
    in_chans: int = 3,
    img_size: int | tuple[int, int] | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    features_only: bool = False,
    out_indices: int | Sequence[int] = (0, 1, 2, 3, 4),
) -> "nn.Module":
    """XFormer (arXiv 2207.07268) with the attention that ``attn`` names and random weights.

    Shapes: [B, in_chans, H, W] → [B, num_classes], for any H and W of at least 32. With ``features_only``, timm's
    conventions: a list of maps [B, channels, ⌈H / reduction⌉, ⌈W / reduction⌉], finest first, described by
    ``model.feature_info.channels()`` and ``model.feature_info.reduction()``.

    Args:
        attn: spec string ("mhsa", "xfa:rank=4", "package.module:Class"), parsed spec, or a class on the contract.
        size: "s" (the paper's, 5.5 M parameters with "xfa"), "xs" or "xxs"; "s:se=0" is without
            squeeze-and-excitation.
        patch_size: side p of the patches of every XF block; the paper's is 2.
        num_heads: heads of every attention.
        num_classes: outputs of the classifier; 0 leaves the pooled features.
        in_chans: channels of the image.
        img_size: (height, width) or a side, only to refuse at once what would make no sense; the model takes any size.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last stage; earlier ones grow to it linearly.
        features_only: give feature maps instead of class scores.
        out_indices: which of the stages 0 to 4 to give; negative ones count from the end, n means the last n.

    Raises:
        UserError: unknown attention, option or size; widths that the attention refuses; an image under 32 pixels a side
            or a patch larger than the smallest feature map; a stage that does not exist.
    """
    from xbench.models.xformer import XFormer

    if img_size is not None:
        check_input((img_size, img_size) if isinstance(img_size, int) else img_size, patch_size)
    model = XFormer(
        attn,
        size=size,
        patch_size=patch_size,
        num_heads=num_heads,
        num_classes=num_classes,
        in_chans=in_chans,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
    if features_only:
        from timm.models import FeatureListNet

        return FeatureListNet(model, out_indices=_stage_indices(out_indices), flatten_sequential=True)
    return model


def _stage_indices(out_indices: int | Sequence[int]) -> tuple[int, ...]:
    """Indices from 0 in the order of the stages, which is the order in which FeatureListNet gives the maps."""
    indices = range(-out_indices, 0) if isinstance(out_indices, int) else out_indices
    if not indices or not all(-NUM_STAGES <= i < NUM_STAGES for i in indices):
        raise UserError(f"out_indices {out_indices} must name stages from {-NUM_STAGES} to {NUM_STAGES - 1}.")
    return tuple(sorted({i % NUM_STAGES for i in indices}))
