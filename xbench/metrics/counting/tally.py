"""What one step costs, found by running it on the meta device: operations have shapes there and no data.

One dispatch mode, ``Tally``, sees every operation of the step and keeps three sums: multiply–accumulates (MACs) by the
rules of ``products``, the bytes that live at once, and the bytes that the operations read and write.

The peak of inference is a lower bound of what eager execution needs: the scratch of kernels (fused attention,
convolutions that copy to a layout of their own, packed operands) cannot be seen on the meta device, and where kernels
need none the prediction is exact. Two things may put a step below it: compiled code, which fuses operations, and in
training that torch adds gradients up in place, but not while a mode watches, which is one activation at most.

torch has ``torch.distributed._tools.mem_tracker.MemTracker``, which finds such a peak but takes some twenty times as
long, because it hooks every module and runs every kernel. On the meta device kernels are Python too (0.1 to 0.9 ms for
a norm, a linear layer or an activation), so ``Tally`` remembers the geometry of what an operation returns.
"""

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xbench.metrics.counting.functions import as_on_a_cpu
from xbench.metrics.counting.products import Work, all_dense, has_rule, is_dense, work
from xbench.metrics.counting.unproductive import own_name, short_name
from xbench.metrics.memory import resident_bytes

# Made and not written, so that they move no bytes.
UNWRITTEN = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}

# About 2 KB each; a model of a few hundred operations has some two hundred.
REMEMBERED = 20_000


@dataclass(frozen=True)
class Footprint:
    """Predicted bytes of one step. JSON-friendly through ``dataclasses.asdict``.

    ``resident``: parameters, buffers, state of the optimizer and input, each storage once. ``activations``: the most
    that the step holds on top of these; for training that includes the gradients. ``total``: both, the predicted peak.
    ``traffic``: what all operations but views read and write, each from memory and back, as eager execution does
    where caches do not help.
    """

    resident: int
    activations: int
    total: int
    traffic: int


def predict(
    step: Callable[[], object], model: nn.Module, inputs: Tensor, optimizer: Optimizer | None = None
) -> Footprint:
    """Runs ``step()`` on the meta device and says what it holds and moves.

    Gradients are as the caller sets them: for inference call it under ``torch.no_grad()``, with weights that require
    none, as those that are measured (torch folds batches into products otherwise). A step that trains runs forward,
    loss, backward and the optimizer; the first, in which the optimizer makes its state, is not the one that counts.

    Args:
        step: runs ``model`` on ``inputs``, all of them on the meta device; what it returns may live.
        optimizer: what a step that trains uses; None for inference.

    Raises:
        NotImplementedError, RuntimeError: torch cannot run the step on the meta device.
    """
    with tallying() as tally:
        if optimizer is not None and not optimizer.state:
            step()
            tally.restart()
        resident = resident_bytes(model, inputs, optimizer)
        step()
    return tally.footprint(resident)


@contextmanager
def tallying() -> Iterator["Tally"]:
    """A ``Tally`` of what runs inside, with operations as a CPU has them: fused attention stays fused."""
    with as_on_a_cpu(), Tally() as tally:
        yield tally


Geometry = tuple[torch.Size, tuple[int, ...], torch.dtype]


class _Known(NamedTuple):
    """What is known of an operation on arguments of one description.

    ``outputs``: (shape, strides, dtype) of each tensor that it returns, None for one that it leaves out; None as a
    whole where the operation has to run, because it returns or changes its arguments. ``single``: it returns a tensor,
    not a tuple. ``work``: what it multiplies. ``elements``: of the tensors that it writes.
    """

    outputs: tuple[Geometry | None, ...] | None
    single: bool
    allocates: bool
    work: Work
    traffic: int
    elements: int


_known: dict[Any, _Known] = {}


class Tally(TorchDispatchMode):
    """Sums over the operations that run inside: MACs, live bytes and their peak, bytes read and written.

    ``ops`` has the operations that do more than return a view: packet → [calls, output elements]. ``unknown`` has the
    calls of those that may multiply and that no rule knows, by name, and ``left_out`` the estimated MACs of products
    that are no matrix products, which ``macs`` leaves out. A composite operation without a rule counts by its parts.
    Enter it by ``tallying``.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.macs = self.live = self.peak = self.traffic = 0
        self.ops: dict[Any, list[int]] = {}
        self.unknown: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def restart(self) -> None:
        """Forgets the sums, and takes what lives now for resident."""
        self.macs = self.live = self.peak = self.traffic = 0
        self.ops.clear()
        self.unknown.clear()
        self.left_out.clear()
        self._storages.clear()

    def footprint(self, resident: int) -> Footprint:
        return Footprint(resident, self.peak, resident + self.peak, self.traffic)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(hasattr(kind, "__tensor_flatten__") for kind in types):
            return NotImplemented  # a tensor made of tensors, as a nested one: it comes back with its parts
        if _decomposes(func) and all_dense(args):  # others have kernels of their own
            with self:
                return func.decompose(*args, **kwargs)
        plain = isinstance(func, torch._ops.OpOverload)  # those of higher order have functions among their arguments
        key = (func, _describe(args), _describe(tuple(kwargs.items()))) if plain else object()
        known = _known.get(key)
        if known is not None and known.outputs is not None:
            outputs = tuple([None if made is None else _empty(*made) for made in known.outputs])
            out = outputs[0] if known.single else outputs
        else:
            out = func(*args, **kwargs)
            if known is None:
                if len(_known) >= REMEMBERED:
                    _known.clear()
                known = _known[key] = _look(func, args, kwargs, out)
        self.macs += known.work.macs
        if not known.work.known:
            self.unknown[short_name(func)] += 1
        if known.work.left_out:
            self.left_out[short_name(func)] += known.work.left_out
        self.traffic += known.traffic
        if known.allocates:
            # A known output is a tensor of its own; another may be an argument, which lives already.
            self._hold(out, set() if known.outputs is not None else _addresses((args, kwargs)))
        if known.elements:
            entry = self.ops.setdefault(getattr(func, "overloadpacket", func), [0, 0])
            entry[0] += 1
            entry[1] += known.elements
        return out

    def _hold(self, out: Any, lived: set[int]) -> None:
        """Counts the storages of the outputs as live until the last tensor, view or saved variable lets go of them."""
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            address, size = storage._cdata, storage.nbytes()
            if address in lived or address in self._storages:
                continue

            def release(_: object, address: int = address, size: int = size) -> None:
                del self._storages[address]
                self.live -= size

            self._storages[address] = weakref.ref(storage, release)
            self.live += size
        self.peak = max(self.peak, self.live)


@cache
def _decomposes(func: Any) -> bool:
    """Whether the operation is a composite without a rule; under inference mode such arrive."""
    if not isinstance(func, torch._ops.OpOverload) or has_rule(func):
        return False
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), composite)


def _describe(value: Any) -> Any:
    """All that the geometry of an output can depend on, hashable. A number counts with its type: 2 is not 2.0."""
    if isinstance(value, Tensor):
        return (value.shape, value.stride(), value.dtype, value.is_meta) if is_dense(value) else object()
    if isinstance(value, list | tuple):
        return tuple([_describe(element) for element in value])
    return type(value), value


def _look(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> _Known:
    """What is to be known of an operation that just ran."""
    given, made = _tensors((args, kwargs)), _tensors(out)
    lived = _addresses((args, kwargs))
    fresh = [tensor for tensor in made if tensor.untyped_storage()._cdata not in lived]
    schema = getattr(func, "_schema", None)  # operations of higher order have none
    changed = [
        tensor
        for argument, value in zip(schema.arguments if schema else (), args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
        for tensor in _tensors(value)
    ]
    outputs = list(out) if isinstance(out, list | tuple) else [out]
    plain = all(output is None or (isinstance(output, Tensor) and output.is_meta) for output in outputs)
    again = plain and schema is not None and not changed and len(fresh) == len(made)
    written = fresh or changed
    return _Known(
        outputs=tuple(map(_geometry, outputs)) if again else None,
        single=isinstance(out, Tensor),
        allocates=bool(fresh),
        work=work(func, args, kwargs, out),
        traffic=sum(map(_bytes, (*given, *written))) if written and own_name(func) not in UNWRITTEN else 0,
        elements=sum(tensor.numel() for tensor in written),
    )


def _geometry(tensor: Tensor | None) -> Geometry | None:
    return None if tensor is None else (tensor.shape, tensor.stride(), tensor.dtype)


def _empty(shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="meta")


def _bytes(tensor: Tensor) -> int:
    """Bytes of the elements that differ in place: an expanded axis is read once."""
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.itemsize * math.prod(length for length, stride in axes if stride or not length)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and is_dense(leaf)]


def _addresses(value: Any) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in _tensors(value)}
