"""Hydra attention: linear attention with as many heads as features, so that the context is one vector.

Paper: "Hydra Attention: Efficient Attention with Many Heads", Bolya et al., arXiv 2209.07484.
Cost in N tokens: O(N · qkv_dim); no product between tokens.

With q̂ and k̂ normalised along the features (the paper's cosine kernel):

    out_n = q̂_n ⊙ Σ_m k̂_m ⊙ v_m

This is the listing in the paper, but that a vector of length 0 stays 0, where the listing divides by its length.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("hydra", paper="arXiv 2209.07484", cost="O(N)")
class HydraAttention(nn.Module):
    """Hydra attention with the cosine kernel.

    Every feature is a head: ``num_heads`` is accepted for the contract and changes nothing.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        context = (F.normalize(k, dim=-1) * v).sum(dim=1, keepdim=True)  # [B, 1, qkv_dim]
        return self.proj(F.normalize(q, dim=-1) * context)

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        # The mixing is element by element: counters of matrix products do not see its 2 · N · qkv_dim.
        return 4 * tokens * embed_dim * qkv_dim + 2 * tokens * qkv_dim
