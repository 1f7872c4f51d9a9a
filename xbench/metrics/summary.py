"""A model part by part: what each gives, holds, multiplies, and its share of the time of a forward pass."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from xbench.metrics.counting.tally import tallying

PASSES = 5


@dataclass(frozen=True)
class Part:
    """One module of a model, with all that it calls.

    Attributes:
        name: as in ``named_modules``; empty for the model.
        kind: its class.
        shape: of what it gives for one image, as text.
        params: its parameters.
        macs: multiply–accumulates that torch dispatches in it.
        output_bytes: of what it gives.
        share: of the time of the pass.
    """

    name: str
    kind: str
    shape: str
    params: int
    macs: int
    output_bytes: int
    share: float


def summarize(model: nn.Module, paper: nn.Module, inputs: Tensor, depth: int) -> list[Part]:
    """The parts of a model down to so many levels, in the order in which they run, and the model as the last.

    Args:
        model: in evaluation mode, on the CPU.
        paper: the same on the meta device, where products are counted.
        inputs: of one image.
        depth: how deep names are followed: 1 is "stages", 2 "stages.0".
    """
    counted: dict[str, tuple[int, Any]] = {}
    with tallying() as tally, _watching(paper, depth, lambda: tally.macs) as seen, torch.no_grad():
        paper(inputs.to("meta"))
        counted.update(seen)
    times: dict[str, list[float]] = {}
    with torch.inference_mode():
        model(inputs)
        for _ in range(PASSES):
            with _watching(model, depth, time.perf_counter) as seen:
                model(inputs)
            for name, (seconds, _) in seen.items():
                times.setdefault(name, []).append(seconds)
    whole = median(times[""])
    modules = dict(model.named_modules())
    return [
        Part(
            name,
            type(modules[name]).__name__,
            _shape(given),
            sum(weight.numel() for weight in modules[name].parameters()),
            macs,
            sum(tensor.nbytes for tensor in _tensors(given)),
            median(times[name]) / whole,
        )
        for name, (macs, given) in counted.items()
        if name in times
    ]


@contextmanager
def _watching(model: nn.Module, depth: int, read: Any) -> Iterator[dict[str, tuple[Any, Any]]]:
    """By name, what a counter went on by within a module, in all of its calls, and what the last of them gave.

    What consists of layers alone, such as a convolution with its norm, is not looked into.
    """
    found: dict[str, tuple[Any, Any]] = {}
    began: dict[str, Any] = {}
    handles = []

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            began[name] = read()

        return hook

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: Any, given: Any) -> None:
            before = found[name][0] if name in found else 0
            found[name] = (before + read() - began[name], given)

        return hook

    modules = dict(model.named_modules())
    for name, module in modules.items():
        around = modules[name.rpartition(".")[0]]
        if not name or (name.count(".") < depth and any([*child.children()] for child in around.children())):
            handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        return [given]
    return [one for part in given for one in _tensors(part)] if isinstance(given, list | tuple) else []


def _shape(given: Any) -> str:
    return ", ".join("×".join(map(str, tensor.shape[1:])) for tensor in _tensors(given))
