"""Efficient attention: two softmaxes, over the features of q and over the tokens of k, replace the one over scores.

Paper: "Efficient Attention: Attention with Linear Complexities", Shen et al., arXiv 1812.01243.
Cost in N tokens: O(N · qkv_dim · head_dim).

    E(q, k, v) = softmax_D(q) · (softmax_N(k)ᵀ v), per head

Both factors have rows or columns that sum to 1, so the implied N × N weights of a token also sum to 1.
The authors' module adds its input to this; here the residual is the skeleton's.
"""

from torch import Tensor, nn

from xbench.attention import register_attention


@register_attention("efficient", paper="arXiv 1812.01243", cost="O(N)")
class EfficientAttention(nn.Module):
    """Shen et al.'s efficient attention, softmax-normalised."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # [B, H, N, D]
        context = k.softmax(dim=-2).transpose(-2, -1) @ v  # [B, H, D, D]
        mixed = q.softmax(dim=-1) @ context
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * embed_dim * qkv_dim + 2 * tokens * qkv_dim * (qkv_dim // self.num_heads)
