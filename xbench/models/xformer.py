"""XFormer: a light CNN–ViT hybrid whose attention is an argument.

Paper: "Lightweight Vision Transformer with Cross Feature Attention", Zhao et al., arXiv 2207.07268. The paper gives
channels, widths and the total of parameters; the depth of each stage, the block frame and the head are reconstructed from
MobileViT (arXiv 2110.02178) and checked against that total (5.5 M stated, 5.48 M here).
"""

from dataclasses import dataclass

import torch
from timm.layers import ClassifierHead, ConvNormAct, trunc_normal_
from torch import Tensor, nn

from xbench.errors import UserError, unknown_name
from xbench.models.layers import MV3Block, XFBlock

MIN_IMG_SIZE = 32


@dataclass(frozen=True)
class XFormerSize:
    """Widths of one size. Per stage 1 to 5: ``channels``; per XF stage 3 to 5: ``embed_dims``, ``mlp_ratios``, ``depths``."""

    channels: tuple[int, int, int, int, int]
    embed_dims: tuple[int, int, int]
    qkv_dim: int
    head: int
    exp_ratio: float = 4.0
    mlp_ratios: tuple[float, float, float] = (2.0, 2.0, 3.0)
    depths: tuple[int, int, int] = (2, 4, 3)


# `s` is the paper's. `xs` and `xxs` are our choice: MobileViT's widths for those sizes, qkv_dim scaled like embed_dim.
SIZES = {
    "s": XFormerSize((32, 64, 96, 128, 160), (144, 192, 240), qkv_dim=96, head=640),
    "xs": XFormerSize((32, 48, 64, 80, 96), (96, 120, 144), qkv_dim=64, head=384),
    "xxs": XFormerSize((16, 24, 48, 64, 80), (64, 80, 96), qkv_dim=40, head=320, exp_ratio=2.0),
}


class XFormer(nn.Module):
    """XFormer classifier: [B, in_chans, H, W] → [B, num_classes], for any H and W of at least 32.

    Args:
        attn: the attention of every XF layer: a spec string such as "xfa:rank=4", or a class that keeps the contract.
        size: "s" (the paper's), "xs" or "xxs".
        patch_size: side p of the patches whose equal positions attend to one another.
        num_heads: heads of every attention.
        num_classes: outputs of the classifier; 0 leaves the pooled features.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; earlier ones grow to it linearly.

    Raises:
        UserError: unknown size or attention, or widths that the attention refuses.
    """

    def __init__(
        self,
        attn: str | type[nn.Module] = "xfa",
        *,
        size: str = "s",
        patch_size: int = 2,
        num_heads: int = 4,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        if size not in SIZES:
            raise unknown_name("size", size, SIZES)
        if patch_size < 1:
            raise UserError(f"patch size must be a whole number of at least 1, not {patch_size}.")
        widths = SIZES[size]
        self.num_classes = num_classes
        drop_path = [drop_path_rate * i / 4 for i in range(5)]

        self.stem = ConvNormAct(in_chans, 16, kernel_size=3, stride=2, act_layer=nn.SiLU)
        stages: list[nn.Module] = []
        previous = 16
        for i, channels in enumerate(widths.channels):
            repeats, stride = (1, 3, 1, 1, 1)[i], (1, 2, 2, 2, 2)[i]
            blocks: list[nn.Module] = []
            for j in range(repeats):
                block_stride = stride if j == 0 else 1
                in_chs = previous if j == 0 else channels
                blocks.append(
                    MV3Block(
                        in_chs, channels, stride=block_stride, exp_ratio=widths.exp_ratio, drop_path=drop_path[i]
                    )
                )
            if i >= 2:
                blocks.append(
                    XFBlock(
                        channels,
                        embed_dim=widths.embed_dims[i - 2],
                        depth=widths.depths[i - 2],
                        attn=attn,
                        qkv_dim=widths.qkv_dim,
                        num_heads=num_heads,
                        mlp_ratio=widths.mlp_ratios[i - 2],
                        patch_size=patch_size,
                        drop_path=drop_path[i],
                    )
                )
            stages.append(nn.Sequential(*blocks))
            previous = channels
        self.stages = nn.Sequential(*stages)
        self.final_conv = ConvNormAct(previous, widths.head, kernel_size=1, act_layer=nn.SiLU)
        self.head = ClassifierHead(widths.head, num_classes, pool_type="avg", drop_rate=drop_rate)

        self.num_features = self.head_hidden_size = widths.head
        self.feature_info = [
            {"module": f"stages.{i}", "num_chs": channels, "reduction": (2, 4, 8, 16, 32)[i]}
            for i, channels in enumerate(widths.channels)
        ]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B, in_chans, H, W] → [B, head, ⌈H / 32⌉, ⌈W / 32⌉]."""
        return self.final_conv(self.stages(self.stem(x)))

    def forward_head(self, x: Tensor) -> Tensor:
        """[B, head, h, w] → [B, num_classes]."""
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, in_chans, H, W]
        return self.forward_head(self.forward_features(x))


def check_input(img_size: tuple[int, int], patch_size: int) -> None:
    """Refuses images that XFormer cannot take in a meaningful way.

    At 32 pixels the last feature map is 1 × 1; MobileViT's frame enlarges it to one 2 × 2 patch, so p ≤ 2 always works.

    Raises:
        UserError: a side under 32 pixels, or a patch larger than the smallest feature map.
    """
    if min(img_size) < MIN_IMG_SIZE:
        raise UserError(f"image size {img_size[0]}×{img_size[1]} is too small: the least is {MIN_IMG_SIZE} pixels a side.")
    smallest = -(-min(img_size) // 32)
    if patch_size > max(2, smallest):
        raise UserError(
            f"patch size {patch_size} is larger than the {smallest}-pixel feature map of stage 5 "
            f"at image size {img_size[0]}×{img_size[1]}; allowed there: 1 to {max(2, smallest)}."
        )
