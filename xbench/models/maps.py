"""Backbones: feature maps of XFormer, or of any timm model that has them, for the heads of other tasks."""

from collections.abc import Sequence

from torch import Tensor, nn

from xbench.errors import UserError
from xbench.models.baselines import build_maps
from xbench.models.layers import AttentionLike
from xbench.models.xformer import XFormer


class XFormerMaps(nn.Module):
    """XFormer's stages without its classifier: [B, 3, H, W] → maps [B, channels, ⌈H / r⌉, ⌈W / r⌉], finest first.

    Args:
        model: whose stem and stages these are.
        reductions: r of the maps; what lies behind the last of them is left out.

    Attributes:
        channels: of each map.
    """

    def __init__(self, model: XFormer, reductions: Sequence[int]):
        super().__init__()
        places = {int(info["reduction"]): i for i, info in enumerate(model.feature_info)}
        self._wanted = [places[reduction] for reduction in reductions]
        self.stem, self.stages = model.stem, model.stages[: max(self._wanted) + 1]
        self.channels = [int(model.feature_info[place]["num_chs"]) for place in self._wanted]

    def forward(self, x: Tensor) -> list[Tensor]:
        # x: [B, 3, H, W]
        x, maps = self.stem(x), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self._wanted:
                maps.append(x)
        return maps


class TimmMaps(nn.Module):
    """The same of a timm model.

    Args:
        name: any that has maps of these reductions.
        img_size: (height, width); used by models that fix their input when they are built.
    """

    def __init__(self, name: str, reductions: Sequence[int], img_size: tuple[int, int]):
        super().__init__()
        self.model, self.channels = build_maps(name, reductions, img_size)

    def forward(self, x: Tensor) -> list[Tensor]:
        # x: [B, 3, H, W]
        return self.model(x)


Backbone = XFormerMaps | TimmMaps


def build_backbone(
    attn: AttentionLike | None,
    baseline: str | None,
    reductions: Sequence[int],
    *,
    img_size: tuple[int, int],
    size: str = "s",
    patch_size: int = 2,
    drop_path_rate: float = 0.0,
) -> Backbone:
    """XFormer with the attention ``attn``, or the timm model ``baseline``, with random weights.

    Raises:
        UserError: see ``build_model``; a timm model without such maps.
    """
    if baseline is not None:
        return TimmMaps(baseline, reductions, img_size)
    if attn is None:
        raise UserError("name an attention or a timm model.")
    model = XFormer(attn, size=size, patch_size=patch_size, num_classes=0, drop_path_rate=drop_path_rate)
    return XFormerMaps(model, reductions)
