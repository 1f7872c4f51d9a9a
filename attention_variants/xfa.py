"""Cross feature attention (XFA): softmax-free attention along the feature dimension, linear in the number of tokens.

Paper: "Lightweight Vision Transformer with Cross Feature Attention" (XFormer), Zhao et al., arXiv 2207.07268.
Cost in N tokens: O(N · qkv_dim).

Stated by the paper: q, k, v are linear projections; q and k are L2-normalised along the features; a context score from
a convolution along the tokens and a feature score from a convolution along the features stand in for k; no softmax; a
learnable temperature. The exact formulas are our reading, chosen to satisfy all of that at any N. Per head, with q̂ and
k̂ ∈ R^{N×D} and r = ``rank``:

    K_c = conv1d along N of k̂, D → r channels                        ∈ R^{r×N}
    K_f = conv1d along D of the mean of k̂ over N, 1 → r channels     ∈ R^{r×D}
    XFA(q, k, v) = λ · q̂ · K_fᵀ · (K_c · v) / N                      ∈ R^{N×D}

K_c · v is only r × D, so the two projections around it are moved into it, exactly:
K_c · (x W_v) = (K_c · x) W_v and (q̂ K_fᵀ) · context · W_o = (q̂ K_fᵀ) · (context · W_o).
The N × qkv_dim values are never made, and about half of the projection's multiply–accumulates go.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("xfa", paper="arXiv 2207.07268", cost="O(N)")
class CrossFeatureAttention(nn.Module):
    """XFormer's cross feature attention.

    Args:
        rank: r, the number of context and feature scores per head; the paper's "vectors" are r = 1.
        kernel: length of both convolutions, odd.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, rank: int = 1, kernel: int = 3):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, not {kernel}")
        self.num_heads = num_heads
        self.head_dim = qkv_dim // num_heads
        self.rank = rank
        self.qk = nn.Linear(embed_dim, 2 * qkv_dim)
        self.value = nn.Linear(embed_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        per_head = partial(nn.Conv1d, padding=kernel // 2, groups=num_heads, bias=False)
        self.context_conv = per_head(qkv_dim, num_heads * rank, kernel)
        self.feature_conv = per_head(num_heads, num_heads * rank, kernel)
        self.temperature = nn.Parameter(torch.ones(num_heads))

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, C] → q̂ [B, N, H, D], K_c [B, H, r, N], K_f [B, H, r, D]."""
        batch, tokens, _ = x.shape
        qk = self.qk(x).view(batch, tokens, 2, self.num_heads, self.head_dim)
        q, k = F.normalize(qk, dim=-1).unbind(2)
        context = self.context_conv(k.flatten(2).transpose(1, 2))  # [B, H·r, N]
        feature = self.feature_conv(k.mean(dim=1))  # [B, H·r, D]
        per_head = (batch, self.num_heads, self.rank)
        return q, context.view(*per_head, tokens), feature.view(*per_head, self.head_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        _, tokens, channels = x.shape
        q, context, feature = self.scores(x)
        context = context * (self.temperature / tokens).view(
            -1, 1, 1
        )  # here, so that no half-precision sum grows with N
        value = self.value.weight.view(self.num_heads, self.head_dim, channels)
        value_bias = self.value.bias.view(self.num_heads, 1, self.head_dim)
        proj = self.proj.weight.view(channels, self.num_heads, self.head_dim)

        pooled = (context.flatten(1, 2) @ x).unflatten(1, (self.num_heads, self.rank))  # K_c · x: [B, H, r, C]
        mixed = pooled @ value.transpose(1, 2) + context.sum(-1, keepdim=True) * value_bias  # K_c · v: [B, H, r, D]
        mixed = mixed @ proj.permute(1, 2, 0)  # (K_c · v) W_o: [B, H, r, C]
        weights = torch.einsum("bnhd,bhrd->bnhr", q, feature)  # q̂ K_fᵀ
        return torch.baddbmm(self.proj.bias, weights.flatten(2), mixed.flatten(1, 2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        kernel = self.context_conv.kernel_size[0]
        qk = 2 * tokens * embed_dim * qkv_dim
        convolutions = self.rank * kernel * qkv_dim * (tokens + 1)
        context = self.num_heads * self.rank * tokens * embed_dim + 2 * self.rank * qkv_dim * embed_dim
        output = self.rank * tokens * qkv_dim + self.num_heads * self.rank * tokens * embed_dim
        return qk + convolutions + context + output
