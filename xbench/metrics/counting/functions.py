"""Functions of torch as they are to be counted: fused attention in one piece or taken apart, whoever calls it.

A function mode sees the calls of models, also by names that they imported; ``nn.MultiheadAttention`` calls from where
no such mode reaches, so the names in ``torch.nn.functional`` are replaced as well.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.backends import cuda, mha  # ``cuda`` holds which kernels are allowed, on every device
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

attention, linear = F.scaled_dot_product_attention, F.linear
CONVOLUTIONS: tuple[Any, ...] = (
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.conv_transpose1d,
    torch.conv_transpose2d,
    torch.conv_transpose3d,
)


@contextmanager
def replacing(replacements: dict[Any, Callable[..., Any]]) -> Iterator[None]:
    """Has the functions of torch call what replaces them, without the fused kernel of ``nn.MultiheadAttention``, which
    leaves no trace of its parts."""
    names = {attention: "scaled_dot_product_attention", linear: "linear"}
    fast = mha.get_fastpath_enabled()
    before = {name: getattr(F, name) for name in names.values()}
    mha.set_fastpath_enabled(False)
    for function, name in names.items():
        setattr(F, name, replacements.get(function, before[name]))
    try:
        with _Replacing(replacements):
            yield
    finally:
        for name, function in before.items():
            setattr(F, name, function)
        mha.set_fastpath_enabled(fast)


class _Replacing(TorchFunctionMode):
    def __init__(self, replacements: dict[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.replacements = replacements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.replacements.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def as_on_a_cpu() -> Iterator[None]:
    """Lets functions do on the meta device, under a dispatch mode, what they do on a CPU without one.

    torch takes ``F.scaled_dot_product_attention`` apart on the meta device, into two products and a softmax with all N²
    scores. The kernel that a CPU takes has a meta version and a gradient; so it is called by name, under the conditions
    that torch has. ``F.linear`` adds its bias in place where the input is not contiguous, but not while a mode watches.
    A complex convolution is four real ones; torch makes do with three, and might with another number.
    ``flex_attention`` would compile itself, which it cannot while a mode watches, and refuses the meta device.
    """
    # A module of torch that imports its compiler: whoever calls the function has imported it, and nobody else should.
    flex = sys.modules.get("torch.nn.attention.flex_attention")
    uncompiled = {"_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG": True, "_validate_device": lambda query, key, value: None}
    before = {name: getattr(flex, name) for name in uncompiled if hasattr(flex, name)}
    for name in before:
        setattr(flex, name, uncompiled[name])
    try:
        with replacing({attention: _fused_attention, linear: _linear_in_place, **_complex_convolutions()}):
            yield
    finally:
        for name, value in before.items():
            setattr(flex, name, value)


@contextmanager
def taken_apart() -> Iterator[None]:
    """Lets fused attention be two products of matrices and a softmax, which every counter knows."""
    with replacing({attention: _explicit_attention}):
        yield


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    three = (query, key, value)
    alike = len({tensor.shape[-1] for tensor in three}) == 1 and (
        enable_gqa or len({tensor.shape[:-2] for tensor in three}) == 1
    )
    allowed = cuda.flash_sdp_enabled() or cuda.mem_efficient_sdp_enabled() or cuda.cudnn_sdp_enabled()
    kernel = allowed and alike and not dropout_p
    if not kernel or not all(t.is_meta and t.dim() == 4 and t.stride(-1) == 1 for t in three):
        return attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.to(query.dtype)
    operation = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return operation(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]


def _linear_in_place(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is None or not input.is_meta or input.dim() == 2 or input.is_contiguous():
        return linear(input, weight, bias)
    return linear(input, weight).add_(bias)


def _explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, *_: Any, enable_gqa: bool = False, **__: Any
) -> Tensor:
    """By its definition. A mask, dropout and the scale add no products and take none away."""
    if enable_gqa:
        key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], dim=-3) for one in (key, value))
    scores = query @ key.transpose(-2, -1)
    return scores.softmax(dim=-1) @ value


def _complex_convolutions() -> dict[Any, Callable[..., Any]]:
    return {convolution: _in_four(convolution) for convolution in CONVOLUTIONS}


def _in_four(convolution: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def four_or_one(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        if not input.is_complex():
            return convolution(input, weight, bias, *args, **kwargs)
        a, b, c, d = input.real, input.imag, weight.real, weight.imag
        real = convolution(a, c, None, *args, **kwargs) - convolution(b, d, None, *args, **kwargs)
        imaginary = convolution(a, d, None, *args, **kwargs) + convolution(b, c, None, *args, **kwargs)
        out = torch.complex(real, imaginary)
        return out if bias is None else out + bias.reshape(-1, *[1] * (weight.dim() - 2))

    return four_or_one
