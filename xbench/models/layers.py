"""The two building blocks of XFormer: MobileNetV3's inverted residual and the XF block."""

from functools import partial

import torch
from timm.layers import ConvNormAct, DropPath, Mlp, SqueezeExcite
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import AttentionSpec, build_attention

AttentionLike = str | AttentionSpec | type[nn.Module]


class MV3Block(InvertedResidual):
    """MobileNetV3 block (arXiv 1905.02244): inverted residual, depth-wise 3 × 3 convolution, squeeze-and-excitation.

    [B, in_chs, H, W] → [B, out_chs, ⌈H / stride⌉, ⌈W / stride⌉]; residual where the stride is 1 and the channels match.
    The squeeze reduces the expanded channels by 4.
    """

    def __init__(self, in_chs: int, out_chs: int, *, stride: int, exp_ratio: float, drop_path: float = 0.0):
        super().__init__(
            in_chs,
            out_chs,
            stride=stride,
            exp_ratio=exp_ratio,
            act_layer=nn.SiLU,
            se_layer=partial(SqueezeExcite, rd_ratio=0.25),  # type: ignore[arg-type]
            drop_path_rate=drop_path,
        )


class XFLayer(nn.Module):
    """One pre-norm transformer layer: x' = attention(LN(x)) + x, then y = MLP(LN(x')) + x'.

    [B, N, embed_dim] → the same. The attention is whatever ``attn`` names; nothing here asks which.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        attn: AttentionLike,
        qkv_dim: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attn = build_attention(attn, embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), act_layer=nn.GELU)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, embed_dim]
        x = x + self.drop_path(self.attn(self.norm1(x), grid))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def unfold(x: Tensor, patch_size: int) -> Tensor:
    """[B, C, H, W] → [B · p², N, C], one sequence of N = (H/p)(W/p) tokens per position inside the p × p patch."""
    batch, channels, height, width = x.shape
    p, rows, cols = patch_size, height // patch_size, width // patch_size
    x = x.view(batch, channels, rows, p, cols, p).permute(0, 3, 5, 2, 4, 1)  # [B, p, p, rows, cols, C]
    return x.reshape(batch * p * p, rows * cols, channels)


def fold(x: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """[B · p², N, C] → [B, C, H, W], the inverse of ``unfold`` for a grid of (rows, columns) patches."""
    p, (rows, cols), channels = patch_size, grid, x.shape[-1]
    x = x.view(-1, p, p, rows, cols, channels).permute(0, 5, 3, 1, 4, 2)  # [B, C, rows, p, cols, p]
    return x.reshape(-1, channels, rows * p, cols * p)


class XFBlock(nn.Module):
    """XF block of XFormer (arXiv 2207.07268) in the frame of MobileViT's block (arXiv 2110.02178).

    3 × 3 conv → 1 × 1 conv to ``embed_dim`` → unfold → ``depth`` transformer layers → LayerNorm → fold →
    1 × 1 conv back → concatenate with the input → 3 × 3 conv. [B, chs, H, W] → the same.
    A map that does not divide by the patch size is interpolated to the next multiple and back, as MobileViT does.
    """

    def __init__(
        self,
        chs: int,
        *,
        embed_dim: int,
        depth: int,
        attn: AttentionLike,
        qkv_dim: int,
        num_heads: int,
        mlp_ratio: float,
        patch_size: int,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.patch_size = patch_size
        conv = partial(ConvNormAct, act_layer=nn.SiLU)
        self.conv_kxk = conv(chs, chs, kernel_size=3)
        self.conv_1x1 = nn.Conv2d(chs, embed_dim, kernel_size=1, bias=False)
        layer = partial(XFLayer, embed_dim, attn=attn, qkv_dim=qkv_dim, num_heads=num_heads, mlp_ratio=mlp_ratio)
        self.layers = nn.ModuleList(layer(drop_path=drop_path) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_proj = conv(embed_dim, chs, kernel_size=1)
        self.conv_fusion = conv(2 * chs, chs, kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, chs, H, W]
        shortcut, (height, width), p = x, x.shape[-2:], self.patch_size
        x = self.conv_1x1(self.conv_kxk(x))
        grid = (-(-height // p), -(-width // p))
        divides = (grid[0] * p, grid[1] * p) == (height, width)
        if not divides:
            x = F.interpolate(x, size=(grid[0] * p, grid[1] * p), mode="bilinear", align_corners=False)
        x = unfold(x, p)  # [B · p², N, embed_dim]
        for layer in self.layers:
            x = layer(x, grid)
        x = fold(self.norm(x), p, grid)  # [B, embed_dim, H, W]
        if not divides:
            x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
        return self.conv_fusion(torch.cat((shortcut, self.conv_proj(x)), dim=1))
