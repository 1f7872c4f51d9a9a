"""Focused linear attention: a feature map that sharpens the directions of q and k, and a depth-wise convolution of v.

Paper: "FLatten Transformer: Vision Transformer using Focused Linear Attention", Han et al., arXiv 2308.00442.
Cost in N tokens: O(N · qkv_dim · head_dim).

    f_p(x) = ‖x‖ · x^p / ‖x^p‖, element by element, over all heads together
    φ(x) = f_p((relu(x) + ε) / softplus(s))
    out_i = φ(q_i) · Σ_j φ(k_j) v_jᵀ / (φ(q_i) · Σ_j φ(k_j) + N ε) + DWC(v)_i, per head

s is learnable, one per channel. The convolution restores the rank that the D × D context loses; the heads share it.
ε is added to means over the tokens, as in the authors' code: on few active features it decides the result. Their
positional encoding of k is a table of fixed N, and is left out so that any N works.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention

EPSILON = 1e-6


@register_attention("focused", paper="arXiv 2308.00442", cost="O(N)")
class FocusedLinearAttention(nn.Module):
    """FLatten's focused linear attention.

    Args:
        focus: p, the power that sharpens the directions.
        kernel: side of the depth-wise convolution, odd.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, focus: int = 3, kernel: int = 5):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if focus < 1:
            raise ValueError(f"focus must be at least 1, not {focus}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, not {kernel}")
        self.num_heads = num_heads
        self.focus = focus
        head_dim = qkv_dim // num_heads
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.scale = nn.Parameter(torch.zeros(qkv_dim))
        self.conv = nn.Conv2d(head_dim, head_dim, kernel, padding=kernel // 2, groups=head_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def focused(self, x: Tensor) -> Tensor:
        """φ(x): [..., qkv_dim] → the same."""
        x = (F.relu(x) + EPSILON) / F.softplus(self.scale)
        length = x.norm(dim=-1, keepdim=True)
        # f_p depends on the direction only. A unit vector has an entry that survives the power; a tiny x has none.
        sharp = (x / length) ** self.focus
        return sharp * (length / sharp.norm(dim=-1, keepdim=True))

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N, D]
            for t in (self.focused(q), self.focused(k), v)
        )
        context = k.transpose(-2, -1) @ v / k.shape[-2]  # [B, H, D, D]
        normaliser = q @ k.mean(dim=-2).unsqueeze(-1)  # [B, H, N, 1]
        mixed = (q @ context) / (normaliser + EPSILON)
        images = v.transpose(-2, -1).flatten(0, 1).unflatten(2, grid)  # [B · H, D, rows, cols]
        local = self.conv(images).flatten(2).transpose(1, 2).unflatten(0, (-1, self.num_heads))
        return self.proj((mixed + local).transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        head_dim, kernel = qkv_dim // self.num_heads, self.conv.kernel_size[0]
        return 4 * tokens * embed_dim * qkv_dim + tokens * qkv_dim * (2 * head_dim + 1 + kernel**2)
