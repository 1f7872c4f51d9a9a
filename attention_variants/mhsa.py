"""Multi-head softmax self-attention, evaluated step by step: softmax(q kᵀ / √D) v.

Paper: "Attention Is All You Need", Vaswani et al., arXiv 1706.03762.
Cost in N tokens: O(N² · qkv_dim) multiply–accumulates and H · N² stored scores per sequence.

This is the baseline of the XFormer paper (arXiv 2207.07268): MobileViT's attention with the scores written out.
"""

from torch import Tensor, nn

from xbench.attention import register_attention


@register_attention("mhsa", paper="arXiv 1706.03762", cost="O(N²)")
class MultiHeadSelfAttention(nn.Module):
    """Softmax self-attention, scores written out."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        self.num_heads = num_heads
        self.scale = (qkv_dim // num_heads) ** -0.5
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def split_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, C] → q, k, v, each [B, H, N, D]."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q kᵀ / √D) v, all [B, H, N, D]."""
        scores = (q * self.scale) @ k.transpose(-2, -1)  # [B, H, N, N]
        return scores.softmax(dim=-1) @ v

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        mixed = self.mix(*self.split_heads(x))  # [B, H, N, D]
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * embed_dim * qkv_dim + 2 * tokens**2 * qkv_dim
