"""Spatial-reduction attention: softmax attention whose keys and values come from a coarser grid.

Paper: "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions" (PVT), Wang et al.,
arXiv 2102.12122.
Cost in N tokens: O(N² / ratio² · qkv_dim): still quadratic, ratio² times less.

    z = LayerNorm(convolution of x, ratio × ratio with stride ratio)    ∈ R^{M×C}, M ≈ N / ratio²
    out = softmax(q kᵀ / √D) v, per head, with q from x and k, v from z

A grid that does not divide by the ratio is padded with zeros at its end, so that every token is heard, where the
authors' code leaves out the rows and columns that remain. PVT lowers the ratio from 8 to 1 along its stages; its ratio
for tokens 16 pixels apart is the default.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("spatial-reduction", paper="arXiv 2102.12122", cost="O(N²)")
class SpatialReductionAttention(nn.Module):
    """PVT's spatial-reduction attention.

    Args:
        ratio: how many times fewer rows and columns the keys and values have; 1 is plain self-attention.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, ratio: int = 2):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if ratio < 1:
            raise ValueError(f"ratio must be at least 1, not {ratio}")
        self.num_heads = num_heads
        self.ratio = ratio
        self.q = nn.Linear(embed_dim, qkv_dim)
        self.kv = nn.Linear(embed_dim, 2 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        # A convolution whose stride is its kernel is a linear map of patches.
        self.reduce = nn.Linear(ratio**2 * embed_dim, embed_dim) if ratio > 1 else None
        self.norm = nn.LayerNorm(embed_dim) if ratio > 1 else nn.Identity()

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N, D]
        if self.reduce is not None:
            image = F.pad(x.unflatten(1, grid), (0, 0, 0, -grid[1] % self.ratio, 0, -grid[0] % self.ratio))
            patches = image.unflatten(2, (-1, self.ratio)).unflatten(1, (-1, self.ratio)).transpose(2, 3)
            x = self.reduce(patches.flatten(3)).flatten(1, 2)  # [B, M, C]
        k, v = self.kv(self.norm(x)).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        reduced = -(-grid[0] // self.ratio) * -(-grid[1] // self.ratio)
        reduction = reduced * (self.ratio * embed_dim) ** 2 if self.ratio > 1 else 0
        return 2 * (tokens + reduced) * embed_dim * qkv_dim + reduction + 2 * tokens * reduced * qkv_dim
