"""What an operation of torch multiplies: its multiply–accumulates (MACs) by its definition, or that nobody knows them.

Every operation is one of four kinds. A *product* of matrices, a convolution or an attention has a rule here, so that
its count is the same on every version of torch; what torch's own counter knows and this table does not, such as a
custom operator with ``torch.utils.flop_counter.register_flop_formula``, is counted by torch's rule. A *weighting* also
multiplies data by data, but is no matrix product, and is customarily left out: elementwise products, interpolation,
Fourier transforms; it has an estimate. What is known to multiply nothing else than scale, normalise, compare, add up or
move is *nothing*. Everything else, custom operators above all, is *unknown*: with it a count is "at least".

Complex products count as four real ones. Masks take nothing away: of attention all scores count.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from xbench.metrics.counting.unproductive import multiplies_nothing, own_name

Arguments = tuple[Any, ...]

# The position of the first factor, whose last axis is the one that is summed over.
FIRST_FACTOR = {
    "_addmm_activation": 1,
    "_int_mm": 0,
    "_scaled_mm": 0,
    "_scaled_mm_v2": 0,
    "_weight_int4pack_mm": 0,
    "_weight_int4pack_mm_for_cpu": 0,
    "_weight_int8pack_mm": 0,
    "addmm": 1,
    "addmv": 1,
    "baddbmm": 1,
    "bmm": 0,
    "dot": 0,
    "mkldnn_linear": 0,
    "mm": 0,
    "mv": 0,
    "vdot": 0,
}

CONVOLUTIONS = {
    "_conv_depthwise2d",
    "_convolution",
    "_slow_conv2d_forward",
    "conv_depthwise3d",
    "convolution",
    "convolution_overrideable",
    "cudnn_convolution",
    "cudnn_convolution_add_relu",
    "cudnn_convolution_relu",
    "cudnn_convolution_transpose",
    "miopen_convolution",
    "miopen_convolution_transpose",
    "miopen_depthwise_convolution",
    "mkldnn_convolution",
    "slow_conv3d_forward",
    "slow_conv_dilated2d",
    "slow_conv_dilated3d",
    "slow_conv_transpose2d",
    "slow_conv_transpose3d",
}
# Where those that can be either say so.
TRANSPOSED = {"_convolution": 6, "convolution": 6, "convolution_overrideable": 6}

FUSED_ATTENTION = {
    "_scaled_dot_product_attention_math_for_mps",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
    "flex_attention",
}
FUSED_ATTENTION_BACKWARD = {
    "_scaled_dot_product_cudnn_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_fused_attention_overrideable_backward",
}


def _contraction(first: int) -> Callable[[Arguments, Any], int]:
    return lambda args, out: out.numel() * args[first].shape[-1] * _parts(args[first])


def _outer(args: Arguments, out: Tensor) -> int:
    return out.numel() * _parts(args[1])  # addr: [n] ⊗ [m]


def _summed_over_batch(args: Arguments, out: Tensor) -> int:
    return args[1].numel() * args[2].shape[-1] * _parts(args[1])  # addbmm: [B, n, k] · [B, k, m] → [n, m]


def _grouped(args: Arguments, out: Tensor) -> int:
    """Every row of the one meets one group of the other; both flat [M, K] · [K, N]: each group has a part of K."""
    first, second = args[:2]
    rows = first.numel() if first.dim() == 2 or second.dim() == 3 else first.shape[-2] * first.shape[-1]
    return rows * second.shape[-1]


def _convolution(name: str) -> Callable[[Arguments, Any], int]:
    def macs(args: Arguments, out: Tensor) -> int:
        # weight: [C_out, C_in / groups, *kernel], transposed [C_in, C_out / groups, *kernel]; applied at each position
        data, weight = args[:2]
        transposed = args[TRANSPOSED[name]] if name in TRANSPOSED else "transpose" in name
        positions = data if transposed else out
        spatial = positions.shape[2 - weight.dim() :]
        batch = out.shape[0] if out.dim() == weight.dim() else 1
        return weight.numel() * batch * math.prod(spatial) * _parts(data)

    return macs


def _time_convolution(args: Arguments, out: Tensor) -> int:
    return out.numel() * args[1].shape[0] * args[1].shape[1]  # conv_tbc: weight [kernel, C_in, C_out]


def _attention(args: Arguments, out: Any) -> int:
    # query: [B, H, L, D], key: [B, H', S, D], value: [B, H', S, Dv]; heads of the query may share a key
    query, key, value = args[:3]
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


def _attention_backward(args: Arguments, out: Any) -> int:
    """Scores again, and the gradients of value, of the scores, of query and of key."""
    query, key, value = args[1:4]
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (3 * query.shape[-1] + 2 * value.shape[-1])


def _multihead_attention(args: Arguments, out: Any) -> int:
    # query: [B, L, E], key and value: [B, S, E]
    query, key = args[:2]
    batch, length, width = query.shape
    keys = key.shape[1]
    return batch * (2 * (length + keys) * width**2 + 2 * length * keys * width)


def _encoder_layer(args: Arguments, out: Any) -> int:
    source, first, second = args[0], args[14], args[16]
    tokens = source.numel() // source.shape[-1]
    return _multihead_attention((source, source), out) + tokens * (first.numel() + second.numel())


def _recurrent(weights: Callable[[Arguments], list[Tensor]]) -> Callable[[Arguments, Any], int]:
    def macs(args: Arguments, out: Any) -> int:
        # input: [time, batch, width] in whichever order, or packed [steps, width]; each matrix once a step
        steps = args[0].numel() // args[0].shape[-1]
        return steps * sum(weight.numel() for weight in weights(args) if weight.dim() > 1)

    return macs


def _trilinear(args: Arguments, out: Any) -> int:
    """The first with the second, as F.bilinear has it, and what that gives, summed over one axis, with the third."""
    *three, expand1, expand2, expand3, summed = args[:7]
    whole = []
    for tensor, axes in zip(three, (expand1, expand2, expand3), strict=True):
        for axis in sorted(axes):
            tensor = tensor.unsqueeze(axis)
        whole.append(tensor.shape)
    shape = torch.broadcast_shapes(*whole)
    return math.prod(shape) + math.prod(shape) // (shape[summed[0]] if summed else 1)


def _distances(args: Arguments, out: Tensor) -> int:
    """Squares of differences, or the product of matrices that stands in for them; other norms multiply nothing."""
    power = args[2] if len(args) > 2 else 2.0
    return out.numel() * args[0].shape[-1] if power not in (0, 1, math.inf) else 0


def _parts(factor: Tensor) -> int:
    return 4 if factor.is_complex() else 1


RULES: dict[str, Callable[[Arguments, Any], int]] = {
    **{name: _contraction(first) for name, first in FIRST_FACTOR.items()},
    **{name: _convolution(name) for name in CONVOLUTIONS},
    **dict.fromkeys(FUSED_ATTENTION, _attention),
    **dict.fromkeys(FUSED_ATTENTION_BACKWARD, _attention_backward),
    "_cdist_forward": _distances,
    "_cudnn_rnn": _recurrent(lambda args: args[1]),
    "_euclidean_dist": _distances,
    "_grouped_mm": _grouped,
    "_native_multi_head_attention": _multihead_attention,
    "_scaled_grouped_mm": _grouped,
    "_scaled_grouped_mm_v2": _grouped,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_trilinear": _trilinear,
    "_triton_multi_head_attention": _multihead_attention,
    "addbmm": _summed_over_batch,
    "addr": _outer,
    "conv_tbc": _time_convolution,
    "miopen_rnn": _recurrent(lambda args: args[1]),
    "mkldnn_rnn_layer": _recurrent(lambda args: list(args[1:3])),
}


# Products that are no matrix products, and how many MACs they take, about.

# Weights per output element: of each axis the neighbours that a value is mixed from.
MIXED = {
    "_upsample_bicubic2d_aa": 16,
    "_upsample_bilinear2d_aa": 4,
    "_upsample_lanczos2d_aa": 36,
    "cudnn_grid_sampler": 4,
    "grid_sampler_2d": 4,
    "grid_sampler_3d": 8,
    "linalg_cross": 2,
    "upsample_bicubic2d": 16,
    "upsample_bilinear2d": 4,
    "upsample_linear1d": 2,
    "upsample_trilinear3d": 8,
}


def _elementwise(factors: slice) -> Callable[[Arguments, Any], int]:
    def estimate(args: Arguments, out: Tensor) -> int:
        """Data with data: a number, or a mask of integers or truths, is none."""
        pair = args[factors]
        data = [
            isinstance(one, Tensor) and one.numel() > 1 and (one.is_floating_point() or one.is_complex())
            for one in pair
        ]
        return out.numel() * math.prod(2 if one.is_complex() else 1 for one in pair) if all(data) else 0

    return estimate


def _fourier(args: Arguments, out: Tensor) -> int:
    """Radix 2: N / 2 · log₂ N complex products, of real data half of them."""
    data = args[0]
    signal = out if data.is_complex() else data
    length = math.prod(max(data.shape[axis], out.shape[axis]) for axis in args[1])
    real = not (data.is_complex() and out.is_complex())
    return int(max(signal.numel(), data.numel()) * math.log2(max(length, 1)) * (1 if real else 2))


def _weighted_bags(args: Arguments, out: Any) -> int:
    weights = args[6] if len(args) > 6 else None
    return 0 if weights is None else weights.numel() * args[0].shape[-1]


def _pairs_within(args: Arguments, out: Tensor) -> int:
    return out.numel() * args[0].shape[-1]


def _mixed(weights: int) -> Callable[[Arguments, Any], int]:
    return lambda args, out: weights * out.numel()


ESTIMATES: dict[str, Callable[[Arguments, Any], int]] = {
    **{name: _mixed(weights) for name, weights in MIXED.items()},
    "_embedding_bag": _weighted_bags,
    "_embedding_bag_forward_only": _weighted_bags,
    "_fft_c2c": _fourier,
    "_fft_c2r": _fourier,
    "_fft_r2c": _fourier,
    "_pdist_forward": _pairs_within,
    "addcmul": _elementwise(slice(1, 3)),
    "mul": _elementwise(slice(0, 2)),
}


@dataclass(frozen=True)
class Work:
    """The MACs of an operation; ``left_out`` estimates those of a weighting; not ``known``: it may be any number."""

    macs: int = 0
    left_out: int = 0
    known: bool = True


def work(operation: Any, args: Arguments, kwargs: dict[str, Any], out: Any) -> Work:
    """What that call multiplied. ``operation`` is as a dispatch mode gets it: an overload, or of higher order."""
    packet = getattr(operation, "overloadpacket", operation)
    name, dense = own_name(operation), all_dense(args)
    rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if rule is not None:
        return Work(rule(args, out)) if dense else Work(known=False)
    estimate = ESTIMATES.get(name) or ESTIMATES.get(name.removesuffix("_"))
    if estimate is not None:
        return Work(left_out=estimate(args, out)) if dense else Work()
    if packet in flop_registry:
        return Work(flop_registry[packet](*args, **kwargs, out_val=out) // 2)
    return Work(known=multiplies_nothing(operation))


def has_rule(operation: Any) -> bool:
    """Whether the operation, an overload or a packet, is counted."""
    name = own_name(operation)
    packet = getattr(operation, "overloadpacket", operation)
    return name in RULES or name.removesuffix("_") in RULES or packet in flop_registry


def all_dense(args: Arguments) -> bool:
    """Whether no argument is sparse, or nested: their sizes do not tell what is multiplied."""
    return all(is_dense(one) for one in args if isinstance(one, Tensor))


def is_dense(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested
