"""Linear attention: the softmax kernel exp(q·k) gives way to φ(q)·φ(k), so that the sum over keys is formed once.

Paper: "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention", Katharopoulos et al.,
arXiv 2006.16236.
Cost in N tokens: O(N · qkv_dim · head_dim).

Per head, with φ(x) = elu(x) + 1:

    out_i = φ(q_i) · Σ_j φ(k_j) v_jᵀ / (φ(q_i) · Σ_j φ(k_j) + ε)
"""

from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention

EPSILON = 1e-6


@register_attention("linear", paper="arXiv 2006.16236", cost="O(N)")
class LinearAttention(nn.Module):
    """Linear attention with the feature map ELU + 1."""

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
        q, k = F.elu(q) + 1, F.elu(k) + 1
        context = k.transpose(-2, -1) @ v  # [B, H, D, D]
        normaliser = q @ k.sum(dim=-2).unsqueeze(-1)  # [B, H, N, 1]
        mixed = (q @ context) / (normaliser + EPSILON)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * embed_dim * qkv_dim + tokens * qkv_dim * (2 * (qkv_dim // self.num_heads) + 1)
