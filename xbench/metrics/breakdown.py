"""Where the time of a forward pass goes, by component, from hooks on the modules.

A module's own time is what its forward takes without the modules that it calls; it goes to the component of the module.
Attentions, MLPs and norms are whole: what they call is part of them. So the parts sum to the time of the pass. Hooks
cost some microseconds per module, which the modules around them bear: these times are for shares and not for speed.

What the names mean:

- "attention": ``XFLayer.attn``; elsewhere classes with "Attention" in their names, as timm has them.
- "MLP": classes with "Mlp" in their names, as timm has them.
- "norms": with the activation behind a convolution's, which timm's norm layers contain.
- "unfold/fold": what the frame of a block does itself (``XFBlock``, timm's ``MobileVitBlock`` and
  ``MobileVitV2Block``): unfold and fold, interpolation to whole patches, concatenation with the input.
- "other": all the rest: residual additions, squeeze-and-excitation without its convolutions, activations on their own,
  pooling, the classifier.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from xbench.metrics.definitions import COMPONENTS
from xbench.models.alone import Alone
from xbench.models.layers import ConvNormAct, XFLayer

WHOLE = {"attention", "MLP", "norms"}

FRAMES = ("XFBlock", "MobileVitBlock", "MobileVitV2Block")
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm)


def breakdown(step: Callable[[], object], model: nn.Module, seconds: float = 0.3) -> list[dict[str, float]]:
    """Runs ``step``, an eager forward of ``model`` for inference, and takes the time of each component.

    Returns:
        For each iteration the seconds by component, all of ``COMPONENTS``; they sum to those of the iteration. At least
        one iteration, more until ``seconds`` are spent. On CUDA they are taken by events on the device, and contain the
        time that it waits for work.
    """
    watch = _Watch(any(parameter.is_cuda for parameter in model.parameters()))
    handles = []
    try:
        for module, component in _components(model, "attention" if isinstance(model, Alone) else "").items():
            handles.append(module.register_forward_pre_hook(partial(watch.enter, component)))
            handles.append(module.register_forward_hook(watch.leave))
        taken: list[dict[str, float]] = []
        end = time.perf_counter() + seconds
        while not taken or time.perf_counter() < end:
            taken.append(watch.time(step))
        return taken
    finally:
        for handle in handles:
            handle.remove()


def _components(module: nn.Module, given: str = "") -> dict[nn.Module, str]:
    """The component of each module of the tree, but for those that are inside a whole one."""
    component = given or _component(module)
    found = {module: component}
    if component not in WHOLE:
        for name, child in module.named_children():
            found |= _components(child, _place(module, name))
    return found


def _place(module: nn.Module, name: str) -> str:
    """The component of a child where its place decides, and not what it is."""
    if isinstance(module, XFLayer) and name == "attn":
        return "attention"
    return "norms" if isinstance(module, ConvNormAct) and name == "act" else ""


def _component(module: nn.Module) -> str:
    name = type(module).__name__
    if "Attention" in name:
        return "attention"
    if "Mlp" in name:
        return "MLP"
    if isinstance(module, _ConvNd):
        return "convolutions"
    if isinstance(module, NORMS):
        return "norms"
    return "unfold/fold" if name in FRAMES else "other"


class _Watch:
    """Marks every change from one module to another, and whose time ended there."""

    def __init__(self, cuda: bool):
        self._cuda = cuda
        self._running: list[str] = []
        self._marks: list[tuple[str, Any]] = []

    def enter(self, component: str, module: nn.Module, args: Any) -> None:
        self._mark()
        self._running.append(component)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._mark()
        self._running.pop()

    def time(self, step: Callable[[], object]) -> dict[str, float]:
        """Seconds of each component in one step."""
        self._running, self._marks = ["other"], []
        self._mark()
        step()
        self._mark()
        if self._cuda:
            torch.cuda.synchronize()
        spent = dict.fromkeys(COMPONENTS, 0.0)
        for (_, start), (component, end) in pairwise(self._marks):
            spent[component] += start.elapsed_time(end) / 1e3 if self._cuda else end - start
        return spent

    def _mark(self) -> None:
        now: Any = time.perf_counter()
        if self._cuda:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._marks.append((self._running[-1], now))
