"""Separable self-attention: one softmax over the tokens pools the keys into a context vector, which gates the values.

Paper: "Separable Self-attention for Mobile Vision Transformers" (MobileViTv2), Mehta & Rastegari, arXiv 2206.02680.
Cost in N tokens: O(N · qkv_dim); no product between tokens.

    s = softmax over N of x W_s        [B, N]
    context = Σ_n s_n · (x_n W_k)      [B, qkv_dim]
    out_n = (relu(x_n W_v) ⊙ context) W_o
"""

import torch
from torch import Tensor, nn

from xbench.attention import register_attention


@register_attention("separable", paper="arXiv 2206.02680", cost="O(N)")
class SeparableSelfAttention(nn.Module):
    """MobileViTv2's separable self-attention.

    The paper has one score per token and no heads: ``num_heads`` is accepted for the contract and changes nothing.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.qkv = nn.Linear(embed_dim, 1 + 2 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        qkv_dim = self.proj.in_features
        scores, keys, values = self.qkv(x).split([1, qkv_dim, qkv_dim], dim=-1)
        context = torch.matmul(scores.softmax(dim=1).transpose(1, 2), keys)  # [B, 1, qkv_dim]
        return self.proj(values.relu() * context)

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        projections = tokens * embed_dim * (1 + 3 * qkv_dim)
        return projections + 2 * tokens * qkv_dim
