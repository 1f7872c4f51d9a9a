"""Linformer: keys and values are shortened along the tokens to a fixed number of rows by learnt projections.

Paper: "Linformer: Self-Attention with Linear Complexity", Wang et al., arXiv 2006.04768.
Cost in N tokens: O(N · rank · embed_dim).

    out = softmax(q kᵀ / √D) v, per head, with k = (E x) W_k + b_k and v = (F x) W_v + b_v, E and F ∈ R^{rank×N}

The heads share E and F. As in the authors' code they shorten x, not the keys and values, whose biases they do not touch
and whose projections have ``rank`` rows to work on. E and F have a column per token, so the longest sequence is fixed
when the layer is built: more tokens are refused. Fewer use the first columns, as in the authors' code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention
from xbench.errors import UserError


@register_attention("linformer", paper="arXiv 2006.04768", cost="O(N)")
class LinformerAttention(nn.Module):
    """Linformer's attention, for a fixed largest number of tokens.

    Args:
        tokens: the largest N, 256 for a grid of 16 × 16.
        rank: rows that the keys and values are shortened to.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, tokens: int = 256, rank: int = 64):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if tokens < 1 or rank < 1:
            raise ValueError(f"tokens and rank must be at least 1, not {tokens} and {rank}")
        self.num_heads = num_heads
        self.tokens = tokens
        self.q = nn.Linear(embed_dim, qkv_dim)
        self.k = nn.Linear(embed_dim, qkv_dim)
        self.v = nn.Linear(embed_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        shorten = torch.empty(2, rank, tokens)
        self.shorten = nn.Parameter(nn.init.uniform_(shorten, -(tokens**-0.5), tokens**-0.5))

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        tokens = x.shape[1]
        if tokens > self.tokens:
            raise UserError(
                f"linformer is built for at most {self.tokens} tokens and got {tokens} (grid {grid[0]} x {grid[1]}). "
                f"Its projections have a column per token: ask for linformer:tokens={tokens}."
            )
        for_keys, for_values = self.shorten[:, :, :tokens].unsqueeze(1) @ x  # [B, rank, C] each
        q, k, v = (
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N or rank, D]
            for t in (self.q(x), self.k(for_keys), self.v(for_values))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        rank = self.shorten.shape[1]
        return 2 * (tokens + rank) * embed_dim * qkv_dim + 2 * tokens * rank * (embed_dim + qkv_dim)
