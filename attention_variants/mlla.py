"""MLLA: linear attention in the frame of a Mamba block, with a local convolution, a gate and rotated positions.

Paper: "Demystify Mamba in Vision: A Linear Attention Perspective" (MLLA), Han et al., arXiv 2405.16605.
Cost in N tokens: O(N · qkv_dim · head_dim).

    v = silu(DWC(x W_v)), q and k = elu(v W_q) + 1 and elu(v W_k) + 1
    a_i = R_i q_i · Σ_j (R_j k_j) v_jᵀ / (q_i · Σ_j k_j + N ε) + LePE(v)_i, per head
    out = (a ⊙ silu(x W_g)) W_o

DWC and LePE are depth-wise 3 × 3 convolutions on the grid. R rotates pairs of channels (RoPE), over all heads together:
the first half of the pairs by the token's row, the second half by its column. Computed for the grid at hand, so that
any N works. The block's two convolutional position encodings lie outside the residual and are left out.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention

EPSILON = 1e-6
ROTARY_BASE = 10_000


def rotations(grid: tuple[int, int], pairs: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the tokens' angles, each [N, pairs], with the type and device of ``like``."""
    # Rows times frequencies need more digits than half precision has.
    exact = torch.promote_types(like.dtype, torch.float32)
    count = partial(torch.arange, device=like.device, dtype=exact)
    frequencies = ROTARY_BASE ** -(count(pairs // 2) / (pairs // 2))
    rows, cols = (count(side)[:, None] * frequencies for side in grid)
    spread = (*grid, pairs // 2)
    angles = torch.cat((rows[:, None].expand(spread), cols[None].expand(spread)), dim=-1).flatten(0, 1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


@register_attention("mlla", paper="arXiv 2405.16605", cost="O(N)")
class MambaLikeLinearAttention(nn.Module):
    """MLLA's gated linear attention with LePE and RoPE."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if qkv_dim % 4:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into pairs for rows and pairs for columns")
        self.num_heads = num_heads
        self.gate = nn.Linear(embed_dim, qkv_dim)
        self.value = nn.Linear(embed_dim, qkv_dim)
        self.conv = nn.Conv2d(qkv_dim, qkv_dim, 3, padding=1, groups=qkv_dim)
        self.qk = nn.Linear(qkv_dim, 2 * qkv_dim)
        self.lepe = nn.Conv2d(qkv_dim, qkv_dim, 3, padding=1, groups=qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        image = F.silu(self.conv(self.value(x).transpose(1, 2).unflatten(2, grid)))  # [B, qkv_dim, rows, cols]
        local = self.lepe(image).flatten(2).transpose(1, 2)
        v = image.flatten(2).transpose(1, 2)
        q, k = (F.elu(self.qk(v)) + 1).chunk(2, dim=-1)

        even, odd = torch.stack((q, k)).unflatten(-1, (-1, 2)).unbind(-1)  # [2, B, N, qkv_dim / 2]
        cos, sin = rotations(grid, even.shape[-1], like=q)
        turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)

        q, k, v, turned_q, turned_k = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N, D]
            for t in (q, k, v, *turned.unbind(0))
        )
        context = turned_k.transpose(-2, -1) @ v / x.shape[1]  # [B, H, D, D]
        normaliser = q @ k.mean(dim=-2).unsqueeze(-1)  # [B, H, N, 1]
        mixed = (turned_q @ context) / (normaliser + EPSILON)
        return self.proj((mixed.transpose(1, 2).flatten(2) + local) * F.silu(self.gate(x)))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        # The rotation and the gate act on a token alone and are left out, like an activation.
        projections = tokens * qkv_dim * (3 * embed_dim + 2 * qkv_dim)
        return projections + tokens * qkv_dim * (2 * (qkv_dim // self.num_heads) + 1 + 2 * 9)
