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

How it is computed (``order``) changes no value. "plain" is the formula as it stands, the reference for the rest.
"folded" takes as few operations and passes over the N tokens as it can:

- K_c · v is only r × D, so the projections around it move into it, exactly: K_c · (x W_v) = (K_c · x) W_v and
  (q̂ K_fᵀ) · context · W_o = (q̂ K_fᵀ) · (context · W_o). The N × qkv_dim values are never made.
- Nor are q̂ and k̂: the length of a head's query or key is one number, which its scores are divided by.
- The convolution along N is a product of its taps with k, shifted and added.
- What is summed over N, K_c · x and the mean of k̂, is one product with x.

"fused" is the same in two kernels for a GPU, each one pass over x (``kernels/xfa.py``).

Where a sentence of the paper allows another reading, an option takes it, so that a claim can be held against it:

- "F_c is applied along the token dimension N": the tokens as one sequence, or as the grid they lie in (``context``).
- "The result is scaled by a temperature λ": by λ alone, which the 1/N is not part of (``scale``).
- "One temperature per layer": a single number, not one per head (``temperature``).

With r > 1, which is our extension, every feature score has a learned direction added to it (``feature``). Without one
the r scores of a head are mixtures of ``kernel`` shifted copies of a single mean key, and a query is read through at
most ``kernel`` directions however large r is: more scores are then easier to train, and can do no more.

A feature score per token is not among them: its mean over the tokens is K_f already, as mean and convolution commute,
and kept per token it is a matrix, where the paper says "vector".
"""

import math
import os
from functools import cache, partial, reduce
from importlib.util import find_spec
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention
from xbench.errors import UserError

READINGS = {
    "context": ("tokens", "grid"),
    "scale": ("mean", "sum"),
    "temperature": ("head", "layer"),
    "order": ("auto", "plain", "folded", "fused"),
    "feature": ("auto", "mean", "learned"),
}
FOLDED_FROM, FUSED_FROM = 2**16, 2**18  # tokens, on a GPU: by timings on an H100
SHORTEST = 1e-12  # below which no length is divided by, as in ``torch.nn.functional.normalize``


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
        order: "plain", "folded" or "fused": how the same is computed; "auto" is what is fastest for the number of
            tokens on this device.
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
        order: str = "auto",
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
                *others, last = READINGS[option]
                raise ValueError(f"{option} must be {', '.join(others)} or {last}, not '{reading}'")
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

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        order = self._fastest(x) if self.order == "auto" else self.order
        if order == "fused":
            if self.order == "fused":
                self._require_kernels(x)
            return self.fused(x)
        return self.plain(x, grid) if order == "plain" else self.folded(x, grid)

    def _fastest(self, x: Tensor) -> str:
        """What computes x [B, N, C] in the least time, as measured: on a CPU always "folded".

        A GPU waits for Python to start its kernels unless they are recorded and replayed, and so do B · N tokens below
        some number: plain starts the fewest operations, fused takes the longest to start and the least time to run.
        """
        if not x.is_cuda or torch.compiler.is_compiling():
            return "folded"
        tokens, recorded = x.shape[0] * x.shape[1], torch.cuda.is_current_stream_capturing()
        if (recorded or tokens >= FUSED_FROM) and self._fits_kernels(x):
            return "fused"
        return "folded" if recorded or tokens >= FOLDED_FROM else "plain"

    def plain(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, N, C] → the same, as the formula stands."""
        q, k = F.normalize(self.qk(x).unflatten(2, (2, self.num_heads, self.head_dim)), dim=-1).unbind(2)
        v = self.value(x).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)  # [B, H, N, D]
        rows = k.flatten(2).transpose(1, 2).unflatten(2, self._convolved(grid))  # [B, H · D, N or grid]
        context = self.context_conv(rows).flatten(2).unflatten(1, (self.num_heads, self.rank))
        if self.scale == "mean":
            context = context / x.shape[1]  # here, so that no half-precision sum grows with N
        feature = self.feature_conv(k.mean(dim=1)).unflatten(1, (self.num_heads, self.rank))
        if self.directions is not None:
            feature = feature + self.directions
        mixed = q.transpose(1, 2) @ feature.mT @ (context @ v)  # [B, H, N, D]
        mixed = mixed * self.temperature.view(-1, 1, 1)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def folded(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, N, C] → the same, in few operations and few passes over the tokens."""
        (batch, tokens, _), heads, rank, dim = x.shape, self.num_heads, self.rank, self.head_dim
        qk = self.qk(x)
        apart = qk.view(batch * tokens, 2 * heads, dim)
        shorten = torch.linalg.vector_norm(apart, dim=-1).clamp_min(SHORTEST).reciprocal()
        shorten_q, shorten_k = shorten.view(batch, tokens, 2 * heads).permute(2, 0, 1).split(heads)  # [H, B, N]
        shorten_k = shorten_k / tokens  # here, so that no half-precision sum grows with N

        taps = self._taps(tokens).transpose(2, 3).flatten(1, 2)  # [H, r · taps, D]
        products = torch.bmm(taps, apart[:, heads:].permute(1, 2, 0)).view(heads, -1, batch, tokens)
        products = (products * shorten_k.unsqueeze(1)).view(heads * rank, -1, batch, tokens)
        rows = torch.cat((shorten_k, self._add_shifted(products, grid)))  # [H + H · r, B, N]
        sums, totals = torch.bmm(rows.transpose(0, 1), x).transpose(0, 1), rows.sum(dim=2, keepdim=True)

        k_weight, k_bias = (part[heads * dim :].view(heads, dim, -1) for part in (self.qk.weight, self.qk.bias))
        k_mean = torch.bmm(sums[:heads], k_weight.mT) + totals[:heads] * k_bias.mT  # [H, B, D]
        feature = self._block_diagonal(self._feature(k_mean))
        weights = torch.bmm(feature, qk[..., : heads * dim].mT).view(batch, heads, rank, tokens)
        weights = (weights * shorten_q.transpose(0, 1).unsqueeze(2)).view(batch, heads * rank, tokens)  # q̂ · K_f
        return torch.baddbmm(self.proj.bias, weights.mT, self._values(sums[heads:], totals[heads:]))

    def fused(self, x: Tensor) -> Tensor:
        """[B, N, C] that the kernels take → the same, by kernels that pass over the tokens twice."""
        from attention_variants.kernels.xfa import read, summed

        (batch, tokens, _), heads = x.shape, self.num_heads
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        (q_weight, k_weight), (q_bias, k_bias) = self.qk.weight.chunk(2), self.qk.bias.chunk(2)
        taps = self._taps(tokens).permute(0, 2, 3, 1).flatten(0, 1)  # [H · D, taps, r]
        sums, totals, k_mean = summed(x, k_weight, k_bias, taps / tokens, heads)
        columns = self._feature(k_mean.view(batch, heads, -1).transpose(0, 1)).mT.flatten(1, 2)  # [B, H · D, r]
        values = self._values(sums.transpose(0, 1), totals.t().unsqueeze(2))
        return read(x, q_weight, q_bias, columns, values, self.proj.bias, heads)

    def _require_kernels(self, x: Tensor) -> None:
        """
        Raises:
            UserError: the kernels do not take x, or there is no GPU.
        """
        if not self._fits_kernels(x) or not (x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"):
            raise UserError(
                "xfa:order=fused needs a GPU, Triton, context=tokens, and bf16, fp16 or fp32 where torch may use TF32; "
                f"here are {x.device.type}, {str(x.dtype).removeprefix('torch.')} and {x.shape[2]} channels."
            )

    def _fits_kernels(self, x: Tensor) -> bool:
        """Whether the kernels take x."""
        if self.context == "grid" or not _has_triton():
            return False
        from attention_variants.kernels.xfa import takes

        device, columns = x.device.type, self.rank * self.context_conv.kernel_size[0]
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        return takes(dtype, x.shape[2], self.num_heads, self.head_dim, columns)

    def _taps(self, tokens: int) -> Tensor:
        """λ · the weights of the convolution along the tokens, [H, r, D, taps].

        They are for k̂ / N: λ is times N where the sum over the tokens is asked for.
        """
        weight = self.context_conv.weight.view(self.num_heads, self.rank, self.head_dim, -1)
        strength = self.temperature if self.scale == "mean" else self.temperature * tokens
        return weight * strength.view(-1, 1, 1, 1)

    def _feature(self, k_mean: Tensor) -> Tensor:
        """The mean of k̂, [H, B, D] → K_f, [B, H, r, D]."""
        kernel = self.feature_conv.weight.view(self.num_heads, self.rank, -1)
        beside = F.pad(k_mean, (kernel.shape[2] // 2,) * 2).unfold(2, kernel.shape[2], 1)  # [H, B, D, kernel]
        feature = (beside @ kernel.mT.unsqueeze(1)).permute(1, 0, 3, 2)  # [B, H, r, D]
        return feature if self.directions is None else feature + self.directions

    def _values(self, sums: Tensor, totals: Tensor) -> Tensor:
        """λ · K_c · x, [H · r, B, C], and λ · K_c summed, [H · r, B, 1] → λ · K_c · v · W_o, [B, H · r, C]."""
        (rows, batch, channels), heads, dim = sums.shape, self.num_heads, self.head_dim
        weight, bias = self.value.weight.view(heads, dim, channels), self.value.bias.view(heads, 1, dim)
        values = torch.bmm(sums.reshape(heads, -1, channels), weight.mT) + totals.reshape(heads, -1, 1) * bias
        values = torch.bmm(values, self.proj.weight.view(channels, heads, dim).permute(1, 2, 0))
        return values.view(rows, batch, channels).transpose(0, 1)

    def _block_diagonal(self, blocks: Tensor) -> Tensor:
        """[..., H, r, D] → [..., H · r, H · D], zero but for the blocks along the diagonal."""
        diagonal = torch.eye(self.num_heads, dtype=blocks.dtype, device=blocks.device).view(self.num_heads, 1, -1, 1)
        return (blocks.unsqueeze(-2) * diagonal).flatten(-2).flatten(-3, -2)

    def _add_shifted(self, products: Tensor, grid: tuple[int, int]) -> Tensor:
        """The convolution along the tokens from the products with its taps, [H · r, taps, B, N] → [H · r, B, N]."""
        size, over = self.context_conv.kernel_size, self._convolved(grid)
        padding = [side // 2 for side in reversed(size) for _ in range(2)]
        parts = F.pad(products.unflatten(3, over), padding).unbind(1)
        shifted = []
        for part, offsets in zip(parts, product(*map(range, size)), strict=True):
            for axis, (offset, length) in enumerate(zip(offsets, over, strict=True), start=2):
                part = part.narrow(axis, offset, length)
            shifted.append(part)
        return reduce(torch.add, shifted).flatten(2)

    def _convolved(self, grid: tuple[int, int]) -> tuple[int, ...]:
        """What the tokens lie in for the convolution along them: a sequence, or their grid."""
        return grid if self.context == "grid" else (grid[0] * grid[1],)

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim, heads, rank = self.proj.out_features, self.proj.in_features, self.num_heads, self.rank
        taps = rank * qkv_dim * (tokens * math.prod(self.context_conv.kernel_size) + self.feature_conv.kernel_size[0])
        if self.order == "plain":
            return 4 * tokens * embed_dim * qkv_dim + taps + 3 * rank * tokens * qkv_dim
        summed = heads * (1 + rank) * tokens * embed_dim
        between = (1 + 2 * rank) * qkv_dim * embed_dim
        read = heads * rank * tokens * (qkv_dim + embed_dim)
        return 2 * tokens * embed_dim * qkv_dim + taps + summed + between + read


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
