"""Two passes over x in place of XFA's some thirty operations, in Triton: ``summed`` and ``read``, with gradients.

Both give every token J scores by head: n̂, its projection with each head's part divided by its length, times J columns
M_h of that head. ``summed`` sums x weighted with them, ``read`` multiplies them with values. Neither the projection nor
n̂ is ever written to memory: only its lengths are needed, for a score is x · (W_hᵀ M_h) over the length of head h. What
has no N in it is left to torch.

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
PROGRAMS = 396  # that share the tokens, where there are enough: three for each multiprocessor of an H100
WIDEST = 256  # what H · D and C, rounded up, may be: a block of tokens is held in full
MOST_COLUMNS = 64
LARGEST = tl.constexpr(60_000.0)  # of 1 / length where it is a factor by itself: fp16 ends at 65,504
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(dtype: torch.dtype, channels: int, heads: int, dim: int, columns: int) -> bool:
    """Whether the kernels hold x of this type with C ``channels``, H ``heads`` of D = ``dim``, and J ``columns``."""
    width, scores = (next_power_of_2(heads) * next_power_of_2(size) for size in (dim, columns + 1))
    exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return dtype in DTYPES and not exact and max(width, channels) <= WIDEST and scores <= MOST_COLUMNS


def summed(x: Tensor, weight: Tensor, bias: Tensor, taps: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """K = Σ_t n̂_h taps_t, tap t of the token t - T // 2 places on, as in a convolution; and sums over tokens with it.

    Args:
        x: [B, N, C].
        weight: [H · D, C] of the projection.
        bias: [H · D].
        taps: [H · D, T, r], T odd: r scores by each head, of its own part.
        heads: H.

    Returns:
        Σ K x [B, H · r, C], Σ K [B, H · r] and the mean of n̂ [B, H · D].
    """
    sums, totals, mean = _Summed.apply(x.contiguous(), *_alike(x, weight, bias, taps), heads)
    return sums, totals, mean


def read(
    x: Tensor, weight: Tensor, bias: Tensor, columns: Tensor, values: Tensor, value_bias: Tensor, heads: int
) -> Tensor:
    """Σ_h n̂_h columns_h values_h + value_bias.

    Args:
        x: [B, N, C].
        weight: [H · D, C] of the projection.
        bias: [H · D].
        columns: [B, H · D, r]: r scores by each head, of its own part.
        values: [B, H · r, C].
        value_bias: [C].
        heads: H.

    Returns:
        [B, N, C].
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
        shares = x.new_empty(batch, splits, heads, count * rows + 1, channels + 1, dtype=torch.float32)
        settings = _settings(x, heads, width, count * rows, spare=1)
        _sum_kernel[batch, splits](x, weight, bias, taps, shares, tokens, splits, T=count, **settings)
        sums = x.new_empty(batch, heads * rows, channels)
        totals, mean = x.new_empty(batch, heads * rows), x.new_empty(batch, width)
        _gather_kernel[batch, heads](
            shares, weight, bias, sums, totals, mean, tokens, splits,
            T=count, R=rows, C=channels, D=width // heads, RP=next_power_of_2(rows), CP=next_power_of_2(channels),
            DP=next_power_of_2(width // heads),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, taps)
        ctx.heads = heads
        return sums, totals, mean

    @staticmethod
    @once_differentiable
    def backward(ctx, d_sums, d_totals, d_mean):
        x, weight, bias, taps = ctx.saved_tensors
        (_, tokens, _), (_, count, rows), heads = x.shape, taps.shape, ctx.heads
        d_k = torch.baddbmm(d_totals.unsqueeze(1), x, d_sums.mT)  # [B, N, H · r]
        d_projected, scores, d_taps = _backward(x, weight, bias, taps, d_k, d_mean.float() / tokens, heads)
        by_tap = F.pad(scores.view(*scores.shape[:2], heads, count, rows), (0, 0) * 3 + (count // 2,) * 2).unbind(3)
        k = reduce(torch.add, (part.narrow(1, tap, tokens) for tap, part in enumerate(by_tap)))
        d_x, d_weight, d_bias = _through_projection(x, weight, d_projected)
        return torch.baddbmm(d_x, k.flatten(2), d_sums), d_weight, d_bias, d_taps.sum(0).view_as(taps).to(x.dtype), None


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


def _backward(x, weight, bias, m, d_k, d_sum, heads):
    """Gradients of K, and of Σ n̂ where it was asked for → of the projection [B, N, H · D], the scores, and of M.

    M is [H · D, T, r], or one [H · D, 1, r] for every sequence; its gradient, [B, H · D, T · r], for every one.
    """
    (batch, tokens, _), (width, count, rows) = x.shape, m.shape[-3:]
    splits = _splits(batch, tokens, TOKENS)
    d_projected = x.new_empty(batch, tokens, width)
    scores = x.new_empty(batch, tokens, heads * count * rows)
    d_m = x.new_empty(batch, splits, width, count * rows, dtype=torch.float32)
    settings = _settings(x, heads, width, count * rows)
    _backward_kernel[batch, splits](
        x, weight, bias, m, d_k, d_sum, d_projected, scores, d_m, tokens, splits,
        T=count, SHARED=m.ndim == 3, **settings
    )  # fmt: skip
    return d_projected, scores, d_m.sum(1)


def _through_projection(x, weight, d_projected):
    flat = d_projected.flatten(0, 1)
    return d_projected @ weight, flat.T @ x.flatten(0, 1), flat.sum(0)


def _splits(batch: int, tokens: int, step: int) -> int:
    return min(triton.cdiv(tokens, step), triton.cdiv(PROGRAMS, batch))


def _settings(x: Tensor, heads: int, width: int, columns: int, spare: int = 0) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, and sizes rounded up to powers of two (…P).

    The channels of x are held in two parts, ``C1`` and ``C2`` wide, which leaves little of either empty. Each head has
    room for ``spare`` columns more than its J.
    """
    dim, channels = width // heads, x.shape[2]
    first = max(16, next_power_of_2(channels) // 2)
    most = next_power_of_2(heads)
    return {
        "C": channels,
        "C1": first,
        "C2": max(16, next_power_of_2(channels - first)),
        "H": heads,
        "D": dim,
        "J": columns,
        "TOKENS": TOKENS,
        "HP": most,
        "DP": max(next_power_of_2(dim), 16 // most),
        "JP": max(next_power_of_2(columns + spare), 16 // most),
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
def _put(ptr, row, there, value, C: tl.constexpr, START: tl.constexpr, WIDTH: tl.constexpr, STRIDE: tl.constexpr):
    """The inverse of ``_tile`` for the rows that are ``there``, of a matrix whose rows lie ``STRIDE`` apart."""
    channel = START + tl.arange(0, WIDTH)
    mask = there[:, None] & (channel < C)[None, :]
    tl.store(ptr + row[:, None] * STRIDE + channel[None, :], value.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def _weight(ptr, part, inside, C: tl.constexpr, START: tl.constexpr, WIDTH: tl.constexpr):
    """[WIDTH, HP · DP] of the projection, 0 outside C, H and D."""
    channel = START + tl.arange(0, WIDTH)
    return tl.load(ptr + part[None, :] * C + channel[:, None], mask=inside[None, :] & (channel < C)[:, None], other=0.0)


@triton.jit
def _columns(ptr, part, inside, H: tl.constexpr, D: tl.constexpr, J: tl.constexpr, HP: tl.constexpr, JP: tl.constexpr):
    """M, [HP · DP, HP · JP], 0 outside H, D and J and where a column is not of the row's head."""
    k = tl.arange(0, HP * JP)
    mask = inside[:, None] & (part[:, None] // D == (k // JP)[None, :]) & (k % JP < J)[None, :]
    return tl.load(ptr + part[:, None] * J + (k % JP)[None, :], mask=mask, other=0.0)


@triton.jit
def _projected(x1, x2, w1, w2, bias):
    """[TOKENS, width] in fp32."""
    return tl.dot(x2, w2, tl.dot(x1, w1)) + bias[None, :]


@triton.jit
def _shorten(projected, TOKENS: tl.constexpr, HP: tl.constexpr, DP: tl.constexpr):
    """1 / length of each head's part, [TOKENS, HP]."""
    by_head = tl.reshape(projected, (TOKENS, HP, DP))
    return 1.0 / tl.maximum(tl.sqrt(tl.sum(by_head * by_head, axis=2)), 1e-12)


@triton.jit
def _scores(x1, x2, w1, w2, bias, a1, a2, a_bias, TOKENS: tl.constexpr, HP: tl.constexpr, DP: tl.constexpr,
            JP: tl.constexpr):  # fmt: skip
    """n̂ M of a block of tokens, [TOKENS, HP · JP] in fp32, from the projection and from its product with M."""
    shorten = _shorten(_projected(x1, x2, w1, w2, bias), TOKENS, HP, DP)
    by_head = tl.reshape(_projected(x1, x2, a1, a2, a_bias), (TOKENS, HP, JP))
    return tl.reshape(by_head * shorten[:, :, None], (TOKENS, HP * JP))


@triton.jit
def _sum_kernel(x_ptr, w_ptr, b_ptr, m_ptr, out_ptr, N, SPLITS, T: tl.constexpr, C: tl.constexpr, C1: tl.constexpr,
                C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, J: tl.constexpr, TOKENS: tl.constexpr,
                HP: tl.constexpr, DP: tl.constexpr, JP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens → Σ score · x and Σ score, a row for each head's scores and one for 1 / length.

    A token's scores by the taps come from its neighbours: blocks overlap by T - 1 tokens.
    """
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr, part, inside, H, D, J, HP, JP)
    k, row = tl.arange(0, HP * JP), tl.arange(0, TOKENS)
    head, j = k // JP, k % JP
    a1, a2 = tl.dot(w1, columns).to(w1.dtype), tl.dot(w2, columns).to(w2.dtype)
    a_bias = tl.sum(bias[:, None] * columns.to(tl.float32), axis=0) + tl.where((head < H) & (j == J), 1.0, 0.0)
    x_ptr += batch.to(tl.int64) * N * C
    own = (row >= T // 2) & (row < TOKENS - T // 2)
    places = tl.where(j < J, j // (J // T) - T // 2, 0)
    beside = tl.minimum(tl.maximum(row[:, None] + places[None, :], 0), TOKENS - 1)
    sums1, sums2 = tl.zeros((HP * JP, C1), dtype=tl.float32), tl.zeros((HP * JP, C2), dtype=tl.float32)
    totals = tl.zeros((TOKENS, HP * JP), dtype=tl.float32)
    step: tl.constexpr = TOKENS - (T // 2) * 2
    for start in range(split * step, N, SPLITS * step):
        token = start - T // 2 + row
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        scores = _scores(x1, x2, w1, w2, bias, a1, a2, a_bias, TOKENS, HP, DP, JP)
        scores = tl.where((j == J)[None, :], tl.minimum(scores, LARGEST), scores)
        if T > 1:
            scores = tl.where(((token >= 0) & (token < N))[:, None], scores, 0.0)
            scores = tl.gather(scores, beside, 0)
        scores = tl.where((own & (token < N))[:, None], scores, 0.0)
        totals += scores
        weights = tl.trans(scores).to(x1.dtype)
        sums1 = tl.dot(weights, x1, sums1)
        sums2 = tl.dot(weights, x2, sums2)
    place = ((batch * SPLITS + split) * H + head).to(tl.int64) * (J + 1) + j
    there = (head < H) & (j <= J)
    _put(out_ptr, place, there, sums1, C, 0, C1, C + 1)
    _put(out_ptr, place, there, sums2, C, C1, C2, C + 1)
    tl.store(out_ptr + place * (C + 1) + C, tl.sum(totals, axis=0), mask=there)


@triton.jit
def _gather_kernel(shares_ptr, w_ptr, b_ptr, sums_ptr, totals_ptr, mean_ptr, N, SPLITS, T: tl.constexpr,
                   R: tl.constexpr, C: tl.constexpr, D: tl.constexpr, RP: tl.constexpr, CP: tl.constexpr,
                   DP: tl.constexpr):  # fmt: skip
    """The shares of one sequence's head → its r sums over splits and taps, and the mean of n̂ from Σ x / length."""
    batch, head = tl.program_id(0), tl.program_id(1)
    heads = tl.num_programs(1)
    r, c, d = tl.arange(0, RP), tl.arange(0, CP), tl.arange(0, DP)
    sums, totals = tl.zeros((RP, CP), dtype=tl.float32), tl.zeros((RP,), dtype=tl.float32)
    by_length, lengths = tl.zeros((CP,), dtype=tl.float32), 0.0
    for split in range(SPLITS):
        share_ptr = shares_ptr + ((batch * SPLITS + split) * heads + head).to(tl.int64) * ((T * R + 1) * (C + 1))
        for tap in tl.static_range(T):
            row = (tap * R + r) * (C + 1)
            sums += tl.load(share_ptr + row[:, None] + c[None, :], mask=(r < R)[:, None] & (c < C)[None, :], other=0.0)
            totals += tl.load(share_ptr + row + C, mask=r < R, other=0.0)
        by_length += tl.load(share_ptr + T * R * (C + 1) + c, mask=c < C, other=0.0)
        lengths += tl.load(share_ptr + T * R * (C + 1) + C)
    row = (batch * heads + head) * R + r
    tl.store(sums_ptr + row[:, None] * C + c[None, :], sums.to(sums_ptr.dtype.element_ty),
             mask=(r < R)[:, None] & (c < C)[None, :])  # fmt: skip
    tl.store(totals_ptr + row, totals.to(totals_ptr.dtype.element_ty), mask=r < R)
    part = head * D + d
    weight = tl.load(w_ptr + part[:, None] * C + c[None, :], mask=(d < D)[:, None] & (c < C)[None, :], other=0.0)
    bias = tl.load(b_ptr + part, mask=d < D, other=0.0).to(tl.float32)
    mean = (tl.sum(weight.to(tl.float32) * by_length[None, :], axis=1) + bias * lengths) / N
    tl.store(mean_ptr + batch * heads * D + part, mean.to(mean_ptr.dtype.element_ty), mask=d < D)


@triton.jit
def _read_kernel(x_ptr, w_ptr, b_ptr, m_ptr, values_ptr, value_bias_ptr, out_ptr, N, SPLITS, C: tl.constexpr,
                 C1: tl.constexpr, C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, J: tl.constexpr,
                 TOKENS: tl.constexpr, HP: tl.constexpr, DP: tl.constexpr, JP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens → scores · values + bias."""
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr + batch * H * D * J, part, inside, H, D, J, HP, JP)
    a1, a2 = tl.dot(w1, columns).to(w1.dtype), tl.dot(w2, columns).to(w2.dtype)
    a_bias = tl.sum(bias[:, None] * columns.to(tl.float32), axis=0)
    k, first, second = tl.arange(0, HP * JP), tl.arange(0, C1), C1 + tl.arange(0, C2)
    head, j = k // JP, k % JP
    value_row, there = (batch * H + head) * J + j, (head < H) & (j < J)
    values1 = tl.load(values_ptr + value_row[:, None] * C + first[None, :],
                      mask=there[:, None] & (first < C)[None, :], other=0.0)  # fmt: skip
    values2 = tl.load(values_ptr + value_row[:, None] * C + second[None, :],
                      mask=there[:, None] & (second < C)[None, :], other=0.0)  # fmt: skip
    bias1 = tl.load(value_bias_ptr + first, mask=first < C, other=0.0).to(tl.float32)
    bias2 = tl.load(value_bias_ptr + second, mask=second < C, other=0.0).to(tl.float32)
    x_ptr += batch.to(tl.int64) * N * C
    out_ptr += batch.to(tl.int64) * N * C
    for start in range(split * TOKENS, N, SPLITS * TOKENS):
        token = start + tl.arange(0, TOKENS)
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        scores = _scores(x1, x2, w1, w2, bias, a1, a2, a_bias, TOKENS, HP, DP, JP).to(x1.dtype)
        _put(out_ptr, token, token < N, tl.dot(scores, values1) + bias1[None, :], C, 0, C1, C)
        _put(out_ptr, token, token < N, tl.dot(scores, values2) + bias2[None, :], C, C1, C2, C)


@triton.jit
def _backward_kernel(x_ptr, w_ptr, b_ptr, m_ptr, d_k_ptr, d_sum_ptr, d_projected_ptr, scores_ptr, d_m_ptr, N,
                     SPLITS, T: tl.constexpr, SHARED: tl.constexpr, C: tl.constexpr, C1: tl.constexpr,
                     C2: tl.constexpr, H: tl.constexpr, D: tl.constexpr, J: tl.constexpr, TOKENS: tl.constexpr,
                     HP: tl.constexpr, DP: tl.constexpr, JP: tl.constexpr):  # fmt: skip
    """A share of one sequence's tokens: gradients of K, and of Σ n̂ if given → the projection's, scores, M's."""
    batch, split = tl.program_id(0), tl.program_id(1)
    part, inside = _part_of(HP, DP, H, D)
    w1, w2 = _weight(w_ptr, part, inside, C, 0, C1), _weight(w_ptr, part, inside, C, C1, C2)
    bias = tl.load(b_ptr + part, mask=inside, other=0.0).to(tl.float32)
    columns = _columns(m_ptr if SHARED else m_ptr + batch * H * D * J, part, inside, H, D, J, HP, JP)
    across = tl.trans(columns)
    first = batch.to(tl.int64) * N
    rows: tl.constexpr = J // T
    x_ptr += first * C
    d_k_ptr += first * (H * rows)
    scores_ptr += first * (H * J)
    d_projected_ptr += first * (H * D)
    k = tl.arange(0, HP * JP)
    head, j = k // JP, k % JP
    d_m = tl.zeros((HP * DP, HP * JP), dtype=tl.float32)
    for start in range(split * TOKENS, N, SPLITS * TOKENS):
        token = start + tl.arange(0, TOKENS)
        x1, x2 = _tile(x_ptr, token, N, C, 0, C1), _tile(x_ptr, token, N, C, C1, C2)
        projected = tl.where((token < N)[:, None], _projected(x1, x2, w1, w2, bias), 0.0)
        shorten = _shorten(projected, TOKENS, HP, DP)
        by_head = tl.reshape(projected, (TOKENS, HP, DP)) * shorten[:, :, None]
        n_hat = tl.reshape(by_head, (TOKENS, HP * DP))
        # A score by a tap belongs to the token T // 2 - tap places on.
        to = token[:, None] + (T // 2 - j // rows)[None, :]
        there = (token < N)[:, None] & (to >= 0) & (to < N) & ((head < H) & (j < J))[None, :]
        d_scores = tl.load(d_k_ptr + to * (H * rows) + (head * rows + j % rows)[None, :], mask=there, other=0.0)
        d_m = tl.dot(tl.trans(n_hat).to(d_scores.dtype), d_scores, d_m)
        scores = tl.where(there, tl.dot(n_hat.to(columns.dtype), columns), 0.0)
        tl.store(scores_ptr + token[:, None] * (H * J) + (head * J + j)[None, :],
                 scores.to(scores_ptr.dtype.element_ty),
                 mask=(token < N)[:, None] & ((head < H) & (j < J))[None, :])  # fmt: skip

        d_n_hat = tl.dot(d_scores, across)
        if d_sum_ptr is not None:
            d_n_hat += tl.load(d_sum_ptr + batch * H * D + part, mask=inside, other=0.0)[None, :]
        d_n_hat = tl.reshape(d_n_hat, (TOKENS, HP, DP))
        d_n_hat -= by_head * tl.sum(by_head * d_n_hat, axis=2)[:, :, None]
        d_projected = tl.reshape(d_n_hat * shorten[:, :, None], (TOKENS, HP * DP))
        place = d_projected_ptr + token[:, None] * (H * D) + part[None, :]
        mask = (token < N)[:, None] & inside[None, :]
        tl.store(place, d_projected.to(d_projected_ptr.dtype.element_ty), mask=mask)
    d_m_ptr += (batch * SPLITS + split).to(tl.int64) * (H * D * J)
    own = inside[:, None] & (part[:, None] // D == head[None, :]) & (j < J)[None, :]
    tl.store(d_m_ptr + part[:, None] * J + j[None, :], d_m, mask=own)
