"""Multi-query attention: all heads share one head of keys and values.

Papers: "Fast Transformer Decoding: One Write-Head is All You Need", Shazeer, arXiv 1911.02150; brought to light vision
models by "MobileNetV4", Qin et al., arXiv 2404.10518.
Cost in N tokens: O(N² · qkv_dim) multiply–accumulates, with a num_heads-th of the keys and values to project and read.

    out = softmax(q kᵀ / √D) v, per head of q; k and v ∈ R^{N×D}

MobileNetV4's projections have no biases; here they have them, as in mhsa. Its stride of keys and values, an option of
its layer, is not included: see spatial-reduction.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("multi-query", paper="arXiv 2404.10518", cost="O(N²)")
class MultiQueryAttention(nn.Module):
    """MobileNetV4's multi-query attention, torch's fused kernel."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        self.num_heads = num_heads
        self.q = nn.Linear(embed_dim, qkv_dim)
        self.kv = nn.Linear(embed_dim, 2 * (qkv_dim // num_heads))
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        # With shared keys the heads are no more than further queries of one head.
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).flatten(1, 2).unsqueeze(1)  # [B, 1, N · H, D]
        k, v = self.kv(x).unsqueeze(1).chunk(2, dim=-1)  # [B, 1, N, D]
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.squeeze(1).unflatten(1, (-1, self.num_heads)).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 2 * tokens * embed_dim * (qkv_dim + qkv_dim // self.num_heads) + 2 * tokens**2 * qkv_dim
