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

Where a sentence of the paper allows another reading, an option takes it, so that a claim can be held against it:

- "F_c is applied along the token dimension N": the tokens as one sequence, or as the grid they lie in (``context``).
- "The result is scaled by a temperature λ": by λ alone, which the 1/N is not part of (``scale``).
- "One temperature per layer": a single number, not one per head (``temperature``).
- The order of evaluation is not stated: as the formula stands, values and projections made (``order``).

With r > 1, which is our extension, every feature score has a learned direction added to it (``feature``). Without one
the r scores of a head are mixtures of ``kernel`` shifted copies of a single mean key, and a query is read through at
most ``kernel`` directions however large r is: more scores are then easier to train, and can do no more.

A feature score per token is not among them: its mean over the tokens is K_f already, as mean and convolution commute,
and kept per token it is a matrix, where the paper says "vector".
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention

READINGS = {
    "context": ("tokens", "grid"),
    "scale": ("mean", "sum"),
    "temperature": ("head", "layer"),
    "order": ("folded", "plain"),
    "feature": ("auto", "mean", "learned"),
}


@register_attention("xfa", paper="arXiv 2207.07268", cost="O(N)")
class CrossFeatureAttention(nn.Module):
    """XFormer's cross feature attention.

    Args:
        rank: r, the number of context and feature scores per head; the paper's "vectors" are r = 1.
        kernel: length of both convolutions, odd.
        context: "tokens" or "grid": K_c by a convolution along the sequence of tokens, or by a ``kernel`` × ``kernel``
            one over the grid of tokens.
        scale: "mean" or "sum": whether the sum over the tokens is divided by N, which keeps it equal at any size.
        temperature: "head" or "layer": one λ for each head, or one for all.
        order: "folded" or "plain": projections moved into the context, or done for every token. The results are equal.
        feature: "mean": K_f as above; "learned": a learned direction is added to each feature score; "auto": "mean"
            with r = 1, which is the paper's, else "learned".
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        qkv_dim: int,
        num_heads: int,
        rank: int = 1,
        kernel: int = 3,
        context: str = "tokens",
        scale: str = "mean",
        temperature: str = "head",
        order: str = "folded",
        feature: str = "auto",
    ):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, not {kernel}")
        chosen = {"context": context, "scale": scale, "temperature": temperature, "order": order, "feature": feature}
        for option, reading in chosen.items():
            if reading not in READINGS[option]:
                raise ValueError(f"{option} must be {' or '.join(READINGS[option])}, not '{reading}'")
        self.num_heads = num_heads
        self.head_dim = qkv_dim // num_heads
        self.rank = rank
        self.context = context
        self.scale = scale
        self.order = order
        self.qk = nn.Linear(embed_dim, 2 * qkv_dim)
        self.value = nn.Linear(embed_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        per_head = partial(nn.Conv1d, padding=kernel // 2, groups=num_heads, bias=False)
        over_grid = partial(nn.Conv2d, padding=kernel // 2, groups=num_heads, bias=False)
        self.context_conv = (over_grid if context == "grid" else per_head)(qkv_dim, num_heads * rank, kernel)
        self.feature_conv = per_head(num_heads, num_heads * rank, kernel)
        learned = feature == "learned" or (feature == "auto" and rank > 1)
        directions = torch.randn(num_heads, rank, self.head_dim) * self.head_dim**-0.5 if learned else None
        self.directions = nn.Parameter(directions) if directions is not None else None
        self.temperature = nn.Parameter(torch.ones(num_heads if temperature == "head" else 1))

    def scores(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, C] → q̂ [B, N, H, D], λ · K_c [B, H · r, N], divided by N if so asked, and K_f [B, H, r, D]."""
        batch, tokens, _ = x.shape
        qk = self.qk(x).view(batch, tokens, 2, self.num_heads, self.head_dim)
        q, k = F.normalize(qk, dim=-1).unbind(2)
        rows = k.flatten(2).transpose(1, 2)  # [B, H·D, N]
        if self.context == "grid":
            rows = rows.unflatten(2, grid)
        context = self.context_conv(rows).flatten(2)  # [B, H·r, N]
        feature = self.feature_conv(k.mean(dim=1)).unflatten(1, (self.num_heads, self.rank))  # [B, H, r, D]
        if self.directions is not None:
            feature = feature + self.directions
        # On the scores, so that no half-precision sum grows with N.
        temperature = self.temperature / tokens if self.scale == "mean" else self.temperature
        temperature = temperature.view(-1, 1).expand(self.num_heads, self.rank)
        return q, context * temperature.reshape(-1, 1), feature

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, context, feature = self.scores(x, grid)
        weights = torch.einsum("bnhd,bhrd->bnhr", q, feature)  # q̂ K_fᵀ
        return self.folded(x, context, weights) if self.order == "folded" else self.plain(x, context, weights)

    def plain(self, x: Tensor, context: Tensor, weights: Tensor) -> Tensor:
        """[B, N, C], K_c [B, H · r, N], q̂ K_fᵀ [B, N, H, r] → [B, N, C] as the formula stands."""
        context = context.unflatten(1, (self.num_heads, self.rank))
        v = self.value(x).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)  # [B, H, N, D]
        mixed = weights.transpose(1, 2) @ (context @ v)  # [B, H, N, D]
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def folded(self, x: Tensor, context: Tensor, weights: Tensor) -> Tensor:
        """The same with both projections moved into the context, which has r rows where x has N."""
        channels = x.shape[2]
        value = self.value.weight.view(self.num_heads, self.head_dim, channels)
        value_bias = self.value.bias.view(self.num_heads, 1, self.head_dim)
        proj = self.proj.weight.view(channels, self.num_heads, self.head_dim)

        pooled = (context @ x).unflatten(1, (self.num_heads, self.rank))  # K_c · x: [B, H, r, C]
        total = context.sum(-1).view(-1, self.num_heads, self.rank, 1)
        mixed = pooled @ value.transpose(1, 2) + total * value_bias  # K_c · v: [B, H, r, D]
        mixed = mixed @ proj.permute(1, 2, 0)  # (K_c · v) W_o: [B, H, r, C]
        return torch.baddbmm(self.proj.bias, weights.flatten(2), mixed.flatten(1, 2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        context_taps, feature_taps = math.prod(self.context_conv.kernel_size), self.feature_conv.kernel_size[0]
        scores = 2 * tokens * embed_dim * qkv_dim + self.rank * qkv_dim * (tokens * context_taps + feature_taps)
        weights = self.rank * tokens * qkv_dim
        if self.order == "plain":
            return scores + weights + 2 * tokens * embed_dim * qkv_dim + 2 * self.rank * tokens * qkv_dim
        context = self.num_heads * self.rank * tokens * embed_dim + 2 * self.rank * qkv_dim * embed_dim
        return scores + weights + context + self.num_heads * self.rank * tokens * embed_dim
