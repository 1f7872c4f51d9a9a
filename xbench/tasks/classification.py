"""A class for a picture: cross-entropy, and top-1 with Wilson's interval."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.maps import Backbone
from xbench.statistics.proportions import wilson
from xbench.tasks import over_processes


class Classification:
    """Outputs [B, classes]; targets [B] int64, or [B, classes] where pictures are mixed."""

    reductions: tuple[int, ...] = ()

    def head(self, backbone: Backbone, num_classes: int, drop_rate: float) -> nn.Module:
        raise TypeError("a classifier is built with its backbone")

    def loss(self, outputs: Tensor, targets: Tensor, img_size: tuple[int, int], smoothing: float) -> Tensor:
        # Soft targets are smooth already.
        return F.cross_entropy(outputs, targets, label_smoothing=0.0 if targets.is_floating_point() else smoothing)

    def scorer(self, num_classes: int, img_size: tuple[int, int], device: Any) -> "Top1":
        return Top1(device)

    def output_shape(self, batch: int, img_size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes

    def example_targets(self, batch: int, img_size: tuple[int, int], num_classes: int) -> Tensor:
        return torch.arange(batch) % num_classes


class Top1:
    """How many pictures were classified as they should."""

    def __init__(self, device: Any):
        self._counts = torch.zeros(2, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self._counts[0] += (outputs.argmax(dim=1) == targets).sum()
        self._counts[1] += len(targets)

    def compute(self) -> dict[str, float]:
        """Wilson's 95 % interval, "low" to "high", is what other pictures of the kind would give for these weights."""
        correct, images = over_processes(self._counts).tolist()
        if not images:
            return {"images": 0}
        low, high = wilson(correct, images)
        return {
            "top1": 100 * correct / images,
            "low": 100 * low,
            "high": 100 * high,
            "correct": correct,
            "images": images,
        }
