"""The layers of XFormer: those of MobileNetV3 and the XF block.

They are timm's in values and gradients, which the tests hold them to. They are written out because every process that
measures would otherwise spend more time on importing timm than torch.
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention.spec import AttentionSpec, build_attention

AttentionLike = str | AttentionSpec | type[nn.Module]


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm and, if ``act``, SiLU: [B, in_chs, H, W] → [B, out_chs, ⌈H/s⌉, ⌈W/s⌉]."""

    def __init__(
        self, in_chs: int, out_chs: int, kernel_size: int, *, stride: int = 1, groups: int = 1, act: bool = True
    ):
        conv = nn.Conv2d(in_chs, out_chs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_chs))
        if act:
            layers["act"] = nn.SiLU(inplace=True)
        super().__init__(layers)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (arXiv 1709.01507): channels weighted by what their averages say. Keeps [B, chs, H, W].

    The squeeze reduces the channels by 4, to a multiple of 8.
    """

    def __init__(self, chs: int):
        super().__init__()
        squeezed = max(8, int(chs / 4 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(chs, squeezed, kernel_size=1)
        self.fc2 = nn.Conv2d(squeezed, chs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, chs, H, W]
        squeezed = F.silu(self.fc1(x.mean(dim=(2, 3), keepdim=True)), inplace=True)
        return x * self.fc2(squeezed).sigmoid()


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, zero for a random share of the batch, the rest scaled up."""

    def __init__(self, drop_prob: float):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, …]
        if not self.training:
            return x
        keep_prob = 1 - self.drop_prob
        kept = x.new_empty((len(x), *[1] * (x.ndim - 1))).bernoulli_(keep_prob)
        return x * (kept / keep_prob if keep_prob else kept)


class Mlp(nn.Sequential):
    """Linear, GELU, linear: [..., embed_dim] → the same."""

    def __init__(self, embed_dim: int, hidden_dim: int):
        fc1, fc2 = nn.Linear(embed_dim, hidden_dim), nn.Linear(hidden_dim, embed_dim)
        super().__init__(OrderedDict(fc1=fc1, act=nn.GELU(), fc2=fc2))


class MV3Block(nn.Module):
    """MobileNetV3 block (arXiv 1905.02244): inverted residual, depth-wise 3 × 3 convolution, squeeze-and-excitation
    unless it is left out.

    [B, in_chs, H, W] → [B, out_chs, ⌈H / stride⌉, ⌈W / stride⌉]; residual where the stride is 1 and the channels match.
    """

    def __init__(
        self,
        in_chs: int,
        out_chs: int,
        *,
        stride: int,
        exp_ratio: float,
        drop_path: float = 0.0,
        squeeze_excite: bool = True,
    ):
        super().__init__()
        mid_chs = round(in_chs * exp_ratio)
        self.has_skip = in_chs == out_chs and stride == 1
        self.expand = ConvNormAct(in_chs, mid_chs, 1)
        self.depthwise = ConvNormAct(mid_chs, mid_chs, 3, stride=stride, groups=mid_chs)
        self.se = SqueezeExcite(mid_chs) if squeeze_excite else nn.Identity()
        self.project = ConvNormAct(mid_chs, out_chs, 1, act=False)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, in_chs, H, W]
        changed = self.project(self.se(self.depthwise(self.expand(x))))
        return self.drop_path(changed) + x if self.has_skip else changed


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
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))
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
        self.conv_kxk = ConvNormAct(chs, chs, 3)
        self.conv_1x1 = nn.Conv2d(chs, embed_dim, kernel_size=1, bias=False)
        layer = partial(XFLayer, embed_dim, attn=attn, qkv_dim=qkv_dim, num_heads=num_heads, mlp_ratio=mlp_ratio)
        self.layers = nn.ModuleList(layer(drop_path=drop_path) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_proj = ConvNormAct(embed_dim, chs, 1)
        self.conv_fusion = ConvNormAct(2 * chs, chs, 3)

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
