"""Three counters of multiply–accumulates (MACs), made to count the same thing on the meta device.

The first, called "torch", sees the operations that torch dispatches, and applies the rules of ``products`` to them:
those of torch's own ``FlopCounterMode`` differ from version to version.
fvcore counts one "flop" per multiply–accumulate; its rules for norms, pooling and interpolation estimate elementwise
work and are left out here. ptflops' ``aten`` back end counts MACs, and one more per element that a bias is added to.
Neither has a rule for fused attention; ``counting.functions.taken_apart`` shows them its parts.

Each returns a ``Count`` and lists the operations that it met and has no rule for.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xbench.metrics.counting.products import has_rule
from xbench.metrics.counting.tally import Tally, tallying

FVCORE_MAC_RULES = {
    "aten::_convolution",
    "aten::addmm",
    "aten::bmm",
    "aten::einsum",
    "aten::linear",
    "aten::matmul",
    "aten::mm",
}

# Operations that move or make data and compute nothing, besides the views that torch marks as such.
DATA_MOVEMENT = {
    "_reshape_alias",
    "_to_copy",
    "_unsafe_view",
    "arange",
    "cat",
    "clone",
    "constant_pad_nd",
    "copy_",
    "empty",
    "empty_like",
    "empty_strided",
    "fill_",
    "full",
    "lift_fresh",
    "new_empty",
    "new_zeros",
    "ones",
    "stack",
    "zeros",
    "zeros_like",
}


@dataclass(frozen=True)
class UncountedOp:
    """An operation that a counter met and has no rule for.

    ``elements`` is the number of output elements over all calls; None where the counter does not say.
    """

    op: str
    calls: int
    elements: int | None = None


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention with ``sequences`` sequences of tokens on ``grid``, and what was counted inside it: its
    MACs, and ``unknown`` and ``left_out`` as ``Count`` has them."""

    name: str
    sequences: int
    grid: tuple[int, int]
    macs: int
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Count:
    """MACs of the whole model and, of these, inside its attentions; ``calls`` where the counter runs the model.

    Of torch's count alone: ``unknown``, by name, the calls of operations that may multiply and that no rule knows;
    ``left_out`` the estimated MACs of products that are no matrix products, which ``total`` leaves out.
    """

    total: int
    attention: int
    uncounted: tuple[UncountedOp, ...]
    calls: tuple[AttentionCall, ...] = ()
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class _Sums(NamedTuple):
    macs: int
    unknown: Counter[str]
    left_out: Counter[str]


def count_torch(model: nn.Module, inputs: Tensor, attentions: dict[str, nn.Module]) -> Count:
    """Counts the operations that torch dispatches, by the rules of ``products``."""
    return tally_torch(model, inputs, attentions)[0]


def tally_torch(model: nn.Module, inputs: Tensor, attentions: dict[str, nn.Module]) -> tuple[Count, Tally]:
    """The same, and all else that one forward tells on the meta device."""
    with tallying() as tally:

        def sums() -> _Sums:
            return _Sums(tally.macs, tally.unknown.copy(), tally.left_out.copy())

        with _watch(attentions, sums) as calls:
            model(inputs)
    uncounted = _without(tally.ops, has_rule)
    attention = sum(call.macs for call in calls)
    return Count(tally.macs, attention, uncounted, tuple(calls), tally.unknown, tally.left_out), tally


def count_ptflops(model: nn.Module, inputs: Tensor, attentions: dict[str, nn.Module]) -> Count:
    """Counts by the counting mode of ptflops' ``aten`` back end.

    ptflops' own entry point around that mode leaves hooks on the model, and prints an error instead of raising it.
    """
    from ptflops.aten_engine import FlopCounterMode as PtflopsCounterMode

    counter = PtflopsCounterMode(output_params={"print_params": {}, "serialize_params": {}})

    def macs() -> int:
        return int(sum(counter.flop_counts["Global"].values()))

    with _OpsSeen() as ops, counter, _watch(attentions, lambda: _Sums(macs(), Counter(), Counter())) as calls:
        model(inputs)
    uncounted = _without(ops.seen, counter.all_ops.__contains__)
    return Count(macs(), sum(call.macs for call in calls), uncounted, tuple(calls))


def count_fvcore(model: nn.Module, inputs: Tensor, attentions: dict[str, nn.Module]) -> Count:
    """Counts by fvcore's ``FlopCountAnalysis``, which reads a ``torch.jit`` trace of the model."""
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS

    # A rule that is set to None stays in force, contrary to fvcore's documentation; so start from none.
    analysis = FlopCountAnalysis(model, (inputs,)).clear_op_handles()
    analysis.set_op_handle(**{op: rule for op, rule in _DEFAULT_SUPPORTED_OPS.items() if op in FVCORE_MAC_RULES})
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with _TraceableConvolutions():
        total = int(analysis.total())
    names = {analysis.canonical_module_name(name) for name in attentions}
    uncounted = tuple(UncountedOp(op, calls) for op, calls in analysis.unsupported_ops().most_common())
    return Count(total, sum(int(analysis.total(name)) for name in names), uncounted)


@contextmanager
def _watch(attentions: dict[str, nn.Module], sums: Callable[[], _Sums]) -> Iterator[list[AttentionCall]]:
    """Collects, for each call of an attention, the rise of ``sums()`` from its entry to its exit."""
    calls: list[AttentionCall] = []
    entered: list[_Sums] = []

    def enter(module: nn.Module, args: Any) -> None:
        entered.append(sums())

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            x, grid = args
            after, before = sums(), entered.pop()
            unknown, left_out = after.unknown - before.unknown, after.left_out - before.left_out
            calls.append(AttentionCall(name, x.shape[0], grid, after.macs - before.macs, unknown, left_out))

        return hook

    handles = [module.register_forward_pre_hook(enter) for module in attentions.values()]
    handles += [module.register_forward_hook(leave(name)) for name, module in attentions.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class _OpsSeen(TorchDispatchMode):
    """Keeps the operations that run, but for views: operation → [calls, output elements]."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Any, list[int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(func, torch._ops.OpOverload) and not func.is_view:
            entry = self.seen.setdefault(func.overloadpacket, [0, 0])
            entry[0] += 1
            entry[1] += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


def _without(seen: dict[Any, list[int]], ruled: Callable[[Any], bool]) -> tuple[UncountedOp, ...]:
    """The operations that compute something and have no rule, the most output elements first."""
    unknown = [(op, *entry) for op, entry in seen.items() if not ruled(op) and op.__name__ not in DATA_MOVEMENT]
    return tuple(UncountedOp(str(op), calls, elements) for op, calls, elements in sorted(unknown, key=_elements))


def _elements(entry: tuple[Any, int, int]) -> int:
    return -entry[2]


class _TraceableConvolutions(TorchFunctionMode):
    """Lets ``torch.jit`` trace convolutions on the meta device.

    ``torch.conv2d`` reaches a meta kernel written in Python while the tracer is on; the sizes it sees are then traced
    tensors, which it refuses. ``torch._convolution`` is recorded one level higher, where the tracer switches itself off
    for the kernel, and is the operation that a trace on a real device shows.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rank = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}.get(func)
        return func(*args, **(kwargs or {})) if rank is None else _convolution(rank, *args, **(kwargs or {}))


def _convolution(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    def per_axis(value: Any) -> tuple[int, ...]:
        return (value,) * rank if isinstance(value, int) else tuple(value)

    geometry = per_axis(stride), per_axis(padding), per_axis(dilation), False, (0,) * rank, groups
    return torch._convolution(input, weight, bias, *geometry, False, False, True, True)
