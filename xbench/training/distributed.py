"""One process or several, one machine or many: the same program, started by ``torchrun`` where there are several.

Lightning Fabric sets up devices, precision and DDP. It was chosen over accelerate because it keeps no state in its
classes, so that a process can train twice and a test needs no resets.
"""

import logging
import os
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def start(device: str, dtype: str) -> Fabric:
    """This process's share of the machine, as ``torchrun`` gave it; the whole of one device without it."""
    # A 1 × 1 convolution's gradient has other strides; that costs a copy and changes nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match")
    for package in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // here
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=nodes,
        strategy="ddp" if here * nodes > 1 else "auto",
        precision=PRECISIONS[dtype],
    )
    fabric.launch()
    return fabric


def layout_of(model: nn.Module, device: str) -> torch.memory_format:
    """Channels last, which makes convolutions faster on CPUs as on GPUs, where gradients are right so.

    On CUDA torch's average pooling with padding returns wrong ones (seen in 2.11; issue 188344 of pytorch).
    """
    pads = any(isinstance(module, nn.AvgPool2d) and module.padding not in (0, (0, 0)) for module in model.modules())
    return torch.contiguous_format if device == "cuda" and pads else torch.channels_last


def join_batch_norms(model: nn.Module, device: str) -> nn.Module:
    """Makes batch normalisation see the joint batch of all processes; the names of weights stay."""
    if device == "cuda":
        return convert_sync_batchnorm(model)
    # torch's SyncBatchNorm refuses the CPU.
    for module in model.modules():
        if type(module) in JOINT:
            module.__class__ = JOINT[type(module)]
    return model


class JointBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose training statistics are those of all processes, each with as many images."""

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, C, H, W]
        return _normalise(self, x) if self.training else super().forward(x)


class JointBatchNormAct2d(BatchNormAct2d):
    """The same of timm's, which brings its activation along."""

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, C, H, W]
        return self.act(self.drop(_normalise(self, x))) if self.training else super().forward(x)


JOINT: dict[type, type] = {nn.BatchNorm2d: JointBatchNorm2d, BatchNormAct2d: JointBatchNormAct2d}


class _Sum(torch.autograd.Function):
    """Over the processes. Each one's share has a part in what all make of the sum, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        return _all_reduce(share)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _all_reduce(grad)


def _all_reduce(share: Tensor) -> Tensor:
    total = share.clone()
    distributed.all_reduce(total)
    return total


def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    world = distributed.get_world_size()
    mean = _Sum.apply(x.mean(dim=(0, 2, 3))) / world
    variance = _Sum.apply((x - mean.view(-1, 1, 1)).square().mean(dim=(0, 2, 3))) / world
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        count = world * x.numel() / x.shape[1]
        norm.num_batches_tracked.add_(1)
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean.detach(), share)
            norm.running_var.lerp_(variance.detach() * count / (count - 1), share)
    # Not by F.batch_norm, which takes given statistics for constants.
    x = (x - mean.view(-1, 1, 1)) * (variance + norm.eps).rsqrt().view(-1, 1, 1)
    return x if norm.weight is None else x * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
