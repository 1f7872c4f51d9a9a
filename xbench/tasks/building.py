"""Whole models for a task: XFormer or a timm model, with the task's head."""

from torch import nn

from xbench.errors import UserError
from xbench.models import build_model
from xbench.models.baselines import build_baseline
from xbench.models.layers import AttentionLike
from xbench.models.maps import build_backbone
from xbench.models.xformer import init_weights
from xbench.tasks import find_task


def build_for(
    task: str,
    attn: AttentionLike | None,
    baseline: str | None,
    *,
    img_size: tuple[int, int],
    num_classes: int,
    size: str = "s",
    patch_size: int = 2,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """The attention ``attn`` in XFormer, or the timm model ``baseline``, with random weights: [B, 3, H, W] → outputs.

    Shapes of outputs: [B, classes] of "classify", [B, anchors, 5 + classes] of "detect", [B, classes, H, W] of
    "segment". For other arguments see ``build_model``.

    Raises:
        UserError: see ``build_model`` and ``build_baseline``; a timm model without the feature maps that a head needs.
    """
    kind = find_task(task)
    if kind.reductions:
        backbone = build_backbone(
            attn,
            baseline,
            kind.reductions,
            img_size=img_size,
            size=size,
            patch_size=patch_size,
            drop_path_rate=drop_path_rate,
        )
        model = kind.head(backbone, num_classes, drop_rate)
        for name, part in model.named_children():
            if name != "backbone":
                part.apply(init_weights)
        init_weights(model)
        return model
    if baseline is not None:
        return build_baseline(baseline, img_size=img_size, num_classes=num_classes)
    if attn is None:
        raise UserError("name an attention or a timm model.")
    return build_model(
        attn,
        size=size,
        patch_size=patch_size,
        num_classes=num_classes,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
