"""Two passes over x in place of XFA's some thirty operations, in Triton: ``summed`` and ``read``, with gradients.

Both project x, divide each head's part by its length and multiply what results, n̂ [B, N, H · D], with a few columns M:
the scores n̂ M are a handful of numbers for each token. ``summed`` sums x weighted with them, ``read`` multiplies them
with values. Neither the projection nor n̂ is ever written to memory. What has no N in it is left to torch.

Sums are taken in fp32 and in the same order every time. Products of fp32 are TF32's: x in fp32 is taken only where
torch may use those too (``torch.set_float32_matmul_precision``).
"""

# mypy: disable-error-code="no-untyped-def"

from functools import reduce
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from triton import next_power_of_2

TOKENS, WARPS, STAGES = 64, 4, 3  # of a block of tokens, and of a program: the fastest of twelve on an H100
PROGRAMS = 528  # that share the tokens, where there are enough: four for each multiprocessor of a large GPU
WIDEST = 256  # what H · D and C, rounded up, may be: a block of tokens is held in full
MOST_COLUMNS = 64
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(dtype: torch.dtype, channels: int, heads: int, dim: int, columns: int) -> bool:
    """Whether the kernels hold x of this type with C ``channels``, H ``heads`` of D = ``dim``, and M's ``columns``."""
    width = next_power_of_2(heads) * next_power_of_2(dim)
    exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return dtype in DTYPES and not exact and max(width, channels) <= WIDEST and columns <= MOST_COLUMNS


def summed(x: Tensor, weight: Tensor, bias: Tensor, taps: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """K = Σ_t n̂ taps_t, tap t of the token t - T // 2 places on as in a convolution, and sums over the tokens with it.

    Args:
        x: [B, N, C].
        weight: [H · D, C] of the projection.
        bias: [H · D].
        taps: [H · D, T, R], T odd.
        heads: H.

    Returns:
        Σ K x [B, R, C], Σ K [B, R] and Σ n̂ [B, H · D], in fp32.
    """
    sums, totals, lengths = _Summed.apply(x.contiguous(), *_alike(x, weight, bias, taps), heads)
    return sums, totals, lengths


def read(
    x: Tensor, weight: Tensor, bias: Tensor, columns: Tensor, values: Tensor, value_bias: Tensor, heads: int
) -> Tensor:
    """n̂ columns values + value_bias.

    Args:
        x: [B, N, C].
        weight: [H · D, C] of the projection.
        bias: [H · D].
        columns: [B, H · D, R].
        values: [B, R, C].
        value_bias: [C].
        heads: H.

    Returns:
        [B, N, C], in the type of x.
    """
    result: Tensor = _Read.apply(x.contiguous(), *_alike(x, weight, bias, columns, values, value_bias), heads)
    return result


def _alike(x: Tensor, *others: Tensor) -> list[Tensor]:
    return [other.to(x.dtype).contiguous() for other in others]


class _Summed(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, taps, heads):
        (batch, tokens, channels), (width, count, rows) = x.shape, taps.shape
        splits = _splits(batch, tokens, TOKENS - count + 1)
        sizes = (count * rows * channels, count * rows, width)
        shares = x.new_empty(batch, splits, sum(sizes), dtype=torch.float32)
        settings = _settings(x, heads, width, count * rows)
        _sum_kernel[batch, splits](x, weight, bias, taps, shares, tokens, splits, T=count, **settings)
        sums, totals, lengths = shares.sum(1).split(sizes, dim=1)
        ctx.save_for_backward(x, weight, bias, taps)
        ctx.heads = heads
        by_tap = sums.view(batch, count, rows, channels), totals.view(batch, count, rows)
        return by_tap[0].sum(1), by_tap[1].sum(1), lengths.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_sums, d_totals, d_lengths):
        x, weight, bias, taps = ctx.saved_tensors
        d_sums = d_sums.to(x.dtype)
        d_k = torch.baddbmm(d_totals.to(x.dtype).unsqueeze(1), x, d_sums.mT)  # [B, N, R]
        d_projected, scores, d_taps = _backward(x, weight, bias, taps, d_k, d_lengths.contiguous(), ctx.heads)
        count = taps.shape[1]
        by_tap = F.pad(scores.unflatten(2, taps.shape[1:]), (0, 0, 0, 0, count // 2, count // 2)).unbind(2)
        k = reduce(torch.add, (part.narrow(1, tap, x.shape[1]) for tap, part in enumerate(by_tap)))
        d_x, d_weight, d_bias = _through_projection(x, weight, d_projected)
        return torch.baddbmm(d_x, k, d_sums), d_weight, d_bias, d_taps.sum(0).view_as(taps).to(x.dtype), None


class _Read(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, columns, values, value_bias, heads):
        (batch, tokens, _), (_, width, rows) = x.shape, columns.shape
        out = torch.empty_like(x)
        settings = _settings(x, heads, width, rows)
        splits = _splits(batch, tokens, TOKENS)
        _read_kernel[batch, splits](x, weight, bias, columns, values, value_bias, out, tokens, splits, **settings)
        ctx.save_for_backward(x, weight, bias, columns, values)
        ctx.heads = heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        x, weight, bias, columns, values = ctx.saved_tensors
        d_scores = torch.bmm(d_out, values.mT)
        d_projected, scores, d_columns = _backward(x, weight, bias, columns.unsqueeze(2), d_scores, None, ctx.heads)
        d_values = torch.bmm(scores.mT, d_out)
        d_x, d_weight, d_bias = _through_projection(x, weight, d_projected)
        return d_x, d_weight, d_bias, d_columns.to(x.dtype), d_values, d_out.sum((0, 1)), None


def _backward(x, weight, bias, m, d_k, d_lengths, heads):
    """Gradients of K, and of Σ n̂ where it was asked for → of the projection [B, N, H · D], the scores, and of M.

    M is [H · D, T, R], or one [H · D, 1, R] for every sequence; its gradient is given for every sequence.
    """
    (batch, tokens, _), (width, count, rows) = x.shape, m.shape[-3:]
    splits = _splits(batch, tokens, TOKENS)
    d_projected = x.new_empty(batch, tokens, width)
    scores = x.new_empty(batch, tokens, count * rows)
    d_m = x.new_empty(batch, splits, width, count * rows, dtype=torch.float32)
    settings = _settings(x, heads, width, count * rows)
    _backward_kernel[batch, splits](
        x, weight, bias, m, d_k, d_lengths, d_projected, scores, d_m, tokens, splits,
        T=count, SHARED=m.ndim == 3, **settings
    )  # fmt: skip
    return d_projected, scores, d_m.sum(1)


def _through_projection(x, weight, d_projected):
    flat = d_projected.flatten(0, 1)
    return d_projected @ weight, flat.T @ x.flatten(0, 1), flat.sum(0)


def _splits(batch: int, tokens: int, step: int) -> int:
    return min(triton.cdiv(tokens, step), triton.cdiv(PROGRAMS, batch))


def _settings(x: Tensor, heads: int, width: int, columns: int) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, and sizes rounded up to powers of two (…P).

    The channels of x are held in two parts, ``C1`` and ``C2`` wide, which leaves little of either empty.
    """
    dim, channels = width // heads, x.shape[2]
    first = max(16, next_power_of_2(channels) // 2)
    return {
        "C": channels,
        "C1": first,
        "C2": max(16, next_power_of_2(channels - first)),
        "H": heads,
        "D": dim,
        "K": columns,
        "TOKENS": TOKENS,
        "HP": next_power_of_2(heads),
        "DP": max(next_power_of_2(dim), 16 // next_power_of_2(heads)),
        "KP": max(16, next_power_of_2(columns)),
        "num_warps": WARPS,
        "num_stages": STAGES,
    }


@triton.jit
def _part_of(HP: tl.constexpr, DP: tl.constexpr, H: tl.constexpr, D: tl.constexpr):
    """Where each of the HP · DP columns of n̂ lies among H · D, and whether it does."""
    column = tl.arange(0, HP * DP)
    head, part = column // DP, column % DP
    return head * D + part, (head < H) & (part < D)


@triton.jit
def _tile(ptr, token, N, C: tl.constexpr, START: tl.constexpr, WIDTH: tl.constexpr):
    """[TOKENS, WIDTH] of rows of C from column ``START`` on, 0 outside N and C."""
    channel = START + tl.arange(0, WIDTH)
    mask = ((token >= 0) & (token < N))[:, None] & (channel < C)[None, :]
    return tl.load(ptr + token[:, None] * C + channel[None, :], mask=mask, other=0.0)


@triton.jit
def _put(ptr, token, there, value, C: tl.constexpr, START: tl.constexpr, WIDTH: tl.constexpr):
    """The inverse of ``_tile`` for the tokens that are ``there``."""
    channel = START + tl.arange(0, WIDTH)
    mask = there[:, None] & (channel < C)[None, :]
    tl.store(ptr + token[:, None] * C + channel[None, :], value.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def _weight(ptr, part, inside, C: tl.constexpr, START: tl.constexpr, WIDTH: tl.constexpr):
    """[WIDTH, HP · DP] of the projection, 0 outside C, H and D."""
    channel = START + tl.arange(0, WIDTH)
    return tl.load(ptr + part[None, :] * C + channel[:, None], mask=inside[None, :] & (channel < C)[:, None], other=0.0)


@triton.jit
def _columns(ptr, part, inside, K: tl.constexpr, KP: tl.constexpr):
    """M, [HP · DP, KP], 0 outside H, D and K."""
    k = tl.arange(0, KP)
    return tl.load(ptr + part[:, None] * K + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0)


@triton.jit
def _normalised(x1, x2, w1, w2, bias, there, TOKENS: tl.constexpr, HP: tl.constexpr, DP: tl.constexpr):  # fmt: skip
    """n̂ of a block of tokens, [TOKENS, HP, DP], and 1 / length, [TOKENS, HP], in fp32; n̂ is 0 where none is there."""
    projected = tl.dot(x1, w1)
    projected = tl.dot(x2, w2, projected) + bias[None, :]
    by_head = tl.reshape(tl.where(there[:, None], projected, 0.0), (TOKENS, HP, DP))
    shorten = 1.0 / tl.maximum(tl.sqrt(tl.sum(by_head * by_head, axis=2)), 1e-12)
    return by_head * shorten[:, :, None], shorten


@triton.jit
def _sum_kernel(x_ptr, w_ptr, b_ptr, m_ptr, out_ptr, N, SPLITS, T: tl.constexpr, C: tl.constexpr, C1: tl.constexpr,
                C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, K: tl.constexpr, TOKENS: tl.constexpr,
                HP: tl.constexpr, DP: tl.constexpr, KP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens → for each column of M Σ score · x, then Σ score, then Σ n̂: a row of ``out``.

    A token's scores by the taps come from its neighbours: blocks overlap by T - 1 tokens.
    """
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr, part, inside, K, KP)
    x_ptr += batch.to(tl.int64) * N * C
    k, row = tl.arange(0, KP), tl.arange(0, TOKENS)
    own = (row >= T // 2) & (row < TOKENS - T // 2)
    beside = tl.minimum(tl.maximum(row[:, None] + (k // (K // T))[None, :] - T // 2, 0), TOKENS - 1)
    sums1, sums2 = tl.zeros((KP, C1), dtype=tl.float32), tl.zeros((KP, C2), dtype=tl.float32)
    totals = tl.zeros((KP,), dtype=tl.float32)
    lengths = tl.zeros((HP * DP,), dtype=tl.float32)
    step: tl.constexpr = TOKENS - (T // 2) * 2
    for start in range(split * step, N, SPLITS * step):
        token = start - T // 2 + row
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        n_hat, _ = _normalised(x1, x2, w1, w2, bias, (token >= 0) & (token < N), TOKENS, HP, DP)
        n_hat = tl.reshape(n_hat, (TOKENS, HP * DP))
        lengths += tl.sum(tl.where(own[:, None], n_hat, 0.0), axis=0)
        scores = tl.dot(n_hat.to(columns.dtype), columns)  # [TOKENS, KP]
        if T > 1:
            scores = tl.where((own & (token < N))[:, None], tl.gather(scores, beside, 0), 0.0)
        totals += tl.sum(scores, axis=0)
        weights = tl.trans(scores).to(x1.dtype)
        sums1 = tl.dot(weights, x1, sums1)
        sums2 = tl.dot(weights, x2, sums2)
    out_ptr += (batch * SPLITS + split).to(tl.int64) * (K * C + K + H * D)
    _put(out_ptr, k, k < K, sums1, C, 0, C1)
    _put(out_ptr, k, k < K, sums2, C, C1, C2)
    tl.store(out_ptr + K * C + k, totals, mask=k < K)
    tl.store(out_ptr + K * C + K + part, lengths, mask=inside)


@triton.jit
def _read_kernel(x_ptr, w_ptr, b_ptr, m_ptr, values_ptr, value_bias_ptr, out_ptr, N, SPLITS, C: tl.constexpr,
                 C1: tl.constexpr, C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
                 TOKENS: tl.constexpr, HP: tl.constexpr, DP: tl.constexpr, KP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens → scores · values + bias."""
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr + batch * H * D * K, part, inside, K, KP)
    k, first, second = tl.arange(0, KP), tl.arange(0, C1), C1 + tl.arange(0, C2)
    values_ptr += batch * K * C
    values1, values2 = _tile(values_ptr, k, K, C, 0, C1), _tile(values_ptr, k, K, C, C1, C2)
    bias1 = tl.load(value_bias_ptr + first, mask=first < C, other=0.0).to(tl.float32)
    bias2 = tl.load(value_bias_ptr + second, mask=second < C, other=0.0).to(tl.float32)
    x_ptr += batch.to(tl.int64) * N * C
    out_ptr += batch.to(tl.int64) * N * C
    for start in range(split * TOKENS, N, SPLITS * TOKENS):
        token = start + tl.arange(0, TOKENS)
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        n_hat, _ = _normalised(x1, x2, w1, w2, bias, token < N, TOKENS, HP, DP)
        n_hat = tl.reshape(n_hat, (TOKENS, HP * DP)).to(columns.dtype)
        scores = tl.dot(n_hat, columns).to(x1.dtype)  # [TOKENS, KP]
        _put(out_ptr, token, token < N, tl.dot(scores, values1) + bias1[None, :], C, 0, C1)
        _put(out_ptr, token, token < N, tl.dot(scores, values2) + bias2[None, :], C, C1, C2)


@triton.jit
def _backward_kernel(x_ptr, w_ptr, b_ptr, m_ptr, d_k_ptr, d_lengths_ptr, d_projected_ptr, scores_ptr, d_m_ptr, N,
                     SPLITS, T: tl.constexpr, SHARED: tl.constexpr, C: tl.constexpr, C1: tl.constexpr,
                     C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, K: tl.constexpr, TOKENS: tl.constexpr,
                     HP: tl.constexpr, DP: tl.constexpr, KP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens: gradients of K, and of Σ n̂ if given → the projection's, scores, M's."""
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr if SHARED else m_ptr + batch * H * D * K, part, inside, K, KP)
    across = tl.trans(columns)
    first = batch.to(tl.int64) * N
    x_ptr += first * C
    d_k_ptr += first * (K // T)
    scores_ptr += first * K
    d_projected_ptr += first * (H * D)
    k = tl.arange(0, KP)
    d_m = tl.zeros((HP * DP, KP), dtype=tl.float32)
    for start in range(split * TOKENS, N, SPLITS * TOKENS):
        token = start + tl.arange(0, TOKENS)
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        by_head, shorten = _normalised(x1, x2, w1, w2, bias, token < N, TOKENS, HP, DP)
        n_hat = tl.reshape(by_head, (TOKENS, HP * DP))
        # A score by a tap belongs to the token T // 2 - tap places on.
        to = token[:, None] + (T // 2 - k // (K // T))[None, :]
        there = (token < N)[:, None] & (to >= 0) & (to < N) & (k < K)[None, :]
        d_scores = tl.load(d_k_ptr + to * (K // T) + (k % (K // T))[None, :], mask=there, other=0.0)
        d_m = tl.dot(tl.trans(n_hat).to(d_scores.dtype), d_scores, d_m)
        scores = tl.dot(n_hat.to(columns.dtype), columns)
        _put(scores_ptr, token, token < N, tl.where(there, scores, 0.0), K, 0, KP)

        d_n_hat = tl.dot(d_scores, across)
        if d_lengths_ptr is not None:
            d_n_hat += tl.load(d_lengths_ptr + batch * H * D + part, mask=inside, other=0.0)[None, :]
        d_n_hat = tl.reshape(d_n_hat, (TOKENS, HP, DP))
        d_n_hat -= by_head * tl.sum(by_head * d_n_hat, axis=2)[:, :, None]
        d_projected = tl.reshape(d_n_hat * shorten[:, :, None], (TOKENS, HP * DP))
        place = d_projected_ptr + token[:, None] * (H * D) + part[None, :]
        mask = (token < N)[:, None] & inside[None, :]
        tl.store(place, d_projected.to(d_projected_ptr.dtype.element_ty), mask=mask)
    d_m_ptr += (batch * SPLITS + split).to(tl.int64) * (H * D * K)
    tl.store(d_m_ptr + part[:, None] * K + k[None, :], d_m, mask=inside[:, None] & (k < K)[None, :])
