"""Agent attention: a few pooled queries, the agents, collect from all tokens, and all tokens read from the agents.

Paper: "Agent Attention: On the Integration of Softmax and Linear Attention", Han et al., arXiv 2312.08874.
Cost in N tokens: O(N · agents · qkv_dim).

Per head, with the agents a = the queries pooled to ``pool`` × ``pool`` means over the grid:

    collected = softmax(a kᵀ / √D + b_k) v
    out = softmax(q aᵀ / √D + b_q) collected + DWC(v)

DWC is a depth-wise 3 × 3 convolution. Each agent bias b is a learnable 7 × 7 map, interpolated to the grid. The authors
add biases per row and per column of a fixed grid, which are left out so that any grid works.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("agent", paper="arXiv 2312.08874", cost="O(N)")
class AgentAttention(nn.Module):
    """Agent attention with pooled queries as agents.

    Args:
        pool: rows and columns of agents; their number is ``pool``².
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, pool: int = 7):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if pool < 1:
            raise ValueError(f"pool must be at least 1, not {pool}")
        self.num_heads = num_heads
        self.pool = pool
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.key_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_heads, pool**2, 7, 7), std=0.02))
        self.query_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_heads, pool**2, 7, 7), std=0.02))
        self.conv = nn.Conv2d(qkv_dim, qkv_dim, 3, padding=1, groups=qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        agents = F.adaptive_avg_pool2d(q.transpose(1, 2).unflatten(2, grid), self.pool)  # [B, H · D, pool, pool]
        local = self.conv(v.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
        q, k, v, agents = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N or agents, D]
            for t in (q, k, v, agents.flatten(2).transpose(1, 2))
        )
        key_bias, query_bias = (
            F.interpolate(bias, size=grid, mode="bilinear").flatten(2).unsqueeze(0)  # [1, H, agents, N]
            for bias in (self.key_bias, self.query_bias)
        )
        collected = F.scaled_dot_product_attention(agents, k, v, attn_mask=key_bias)
        mixed = F.scaled_dot_product_attention(q, agents, collected, attn_mask=query_bias.transpose(-2, -1))
        return self.proj(mixed.transpose(1, 2).flatten(2) + local)

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * embed_dim * qkv_dim + tokens * qkv_dim * (4 * self.pool**2 + 9)
