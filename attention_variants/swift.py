"""Efficient additive attention: one learnt score per query pools them into a global query, which gates the keys.

Paper: "SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision Applications",
Shaker et al., arXiv 2303.15446.
Cost in N tokens: O(N · qkv_dim); no product between tokens and no values.

With q̂ and k̂ normalised along the features:

    α = the vector of q̂_n · w_g / √qkv_dim, normalised along the tokens    ∈ R^N
    g = Σ_n α_n q̂_n                                                       ∈ R^{qkv_dim}
    out_n = ((g ⊙ k̂_n) W + b + q̂_n) W_o
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("swift", paper="arXiv 2303.15446", cost="O(N)")
class EfficientAdditiveAttention(nn.Module):
    """SwiftFormer's efficient additive attention.

    The paper's models have one head: ``num_heads`` is accepted for the contract and changes nothing.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.qk = nn.Linear(embed_dim, 2 * qkv_dim)
        self.score = nn.Parameter(torch.randn(qkv_dim, 1))
        self.transform = nn.Linear(qkv_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k = F.normalize(self.qk(x).unflatten(-1, (2, -1)), dim=-1).unbind(2)  # [B, N, qkv_dim]
        weights = F.normalize(q @ self.score * q.shape[-1] ** -0.5, dim=1)  # [B, N, 1]
        pooled = weights.transpose(1, 2) @ q  # [B, 1, qkv_dim]
        return self.proj(self.transform(pooled * k) + q)

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        projections = tokens * qkv_dim * (3 * embed_dim + qkv_dim)
        # Scores, pooling, and the gate g ⊙ k̂, which counters of matrix products do not see.
        return projections + 3 * tokens * qkv_dim
