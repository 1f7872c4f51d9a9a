"""The ways in which a model runs: as it is written, or as it is made faster where it is deployed. None changes values.

- ``eager``: operation by operation.
- ``folded``: every batch norm moved into the weights of the convolution before it. Inference only.
- ``channels_last``: images and convolutions with the channels of a pixel side by side in memory.
- ``compile``: ``torch.compile``, with code of its own for each shape.
- ``cuda_graph``: the kernels of a forward recorded once and started together (``torch.cuda.CUDAGraph``), so that no
  kernel waits for Python. Inference on a GPU only.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xbench.engines.exports import off_by
from xbench.errors import UserError

CLOSE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # of the largest output


def in_mode(mode: str, model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """The model and its inputs [B, …] as the mode has them, and what runs the model.

    Raises:
        UserError: the mode makes no sense for this model, direction or device.
    """
    if mode in ("folded", "cuda_graph") and model.training:
        raise UserError(f"mode '{mode}' is for inference, not for training.")
    if mode == "folded":
        fold_batch_norms(model, inputs[:1])
    elif mode == "channels_last":
        if inputs.ndim != 4:
            raise UserError("mode 'channels_last' is for levels block and model, which see images.")
        model = model.to(memory_format=torch.channels_last)
        inputs = inputs.to(memory_format=torch.channels_last)
    elif mode == "compile":
        # Shapes are fixed: each batch size gets code of its own, as a deployed model would.
        return model, inputs, torch.compile(model, dynamic=False)
    elif mode == "cuda_graph":
        if inputs.device.type != "cuda":
            raise UserError("mode 'cuda_graph' needs a GPU: --device cuda.")
        return model, inputs, CudaGraph(model)
    return model, inputs, model


def fold_batch_norms(model: nn.Module, inputs: Tensor) -> int:
    """Moves every batch norm that takes a convolution's output into its weights, in place; what a norm does besides,
    such as timm's that ends in an activation, stays. Returns their number.

    Raises:
        UserError: no batch norm takes a convolution's output.
        RuntimeError: the outputs for ``inputs`` [B, …] change, as where the convolution's output goes elsewhere too.
    """
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    last: list[tuple[nn.Conv2d, Tensor]] = []

    def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        last[:] = [(module, output)]

    def to_be_normed(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if last and last[0][1] is given[0]:
            assert isinstance(module, nn.BatchNorm2d)
            pairs.append((last[0][0], module))

    hooks: list[Any] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(to_be_normed))
    try:
        with torch.no_grad():
            before = model(inputs).clone()
    finally:
        for hook in hooks:
            hook.remove()
        last.clear()
    if not pairs:
        raise UserError("mode 'folded' finds nothing to fold: no batch norm follows a convolution here.")

    names = {module: name for name, module in model.named_modules()}
    for conv, norm in pairs:
        folded = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = folded.weight, folded.bias
        rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
        parent, _, name = names[norm].rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Sequential(*rest) if rest else nn.Identity())
    model.requires_grad_(False)
    with torch.no_grad():
        off = off_by(model(inputs), before)
    if not off <= CLOSE[inputs.dtype]:
        raise RuntimeError(f"folding batch norms changes the outputs by {off:.1e} of the largest")
    return len(pairs)


class CudaGraph:
    """A model whose forward is recorded for every shape of input at its first call, and replayed.

    What a call returns is overwritten by the next one of the same shape.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """[B, …] → what the model returns.

        Raises:
            RuntimeError: replayed, the model does not return what it returns when run.
        """
        if x.shape not in self._recorded:
            self._recorded[x.shape] = self._record(x)
        graph, given, output = self._recorded[x.shape]
        given.copy_(x)
        graph.replay()
        return output

    def _record(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        given = x.clone()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # as torch asks for: what is made at a first call is not recorded
            for _ in range(3):
                expected = self._model(given)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._model(given)
        graph.replay()
        off = off_by(output, expected)
        if not off <= CLOSE[x.dtype]:
            raise RuntimeError(f"a recorded forward is {off:.1e} of the largest output off one that runs")
        return graph, given, output
