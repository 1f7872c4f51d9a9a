"""Cross-covariance attention: softmax attention between the channels of a head instead of between tokens.

Paper: "XCiT: Cross-Covariance Image Transformers", El-Nouby et al., arXiv 2106.09681.
Cost in N tokens: O(N · qkv_dim · head_dim).

Per head, with q, k and v ∈ R^{N×D}, and q̂ and k̂ normalised along the tokens, so that every column has length 1:

    A = softmax(τ · q̂ᵀ k̂), over the last axis     ∈ R^{D×D}
    XCA(q, k, v) = (A vᵀ)ᵀ                         ∈ R^{N×D}

The paper divides by its temperature; τ multiplies, as in the authors' code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("xca", paper="arXiv 2106.09681", cost="O(N)")
class CrossCovarianceAttention(nn.Module):
    """XCiT's cross-covariance attention."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 4, 1).unbind(0)  # [B, H, D, N]
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        weights = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)  # [B, H, D, D]
        return self.proj((weights @ v).flatten(1, 2).transpose(1, 2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * embed_dim * qkv_dim + 2 * tokens * qkv_dim * (qkv_dim // self.num_heads)
