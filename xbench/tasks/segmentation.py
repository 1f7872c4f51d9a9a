"""A class for each pixel: cross-entropy, and the mean over the classes of intersection over union."""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.maps import Backbone
from xbench.models.segmentation import STRIDES, Segmenter
from xbench.tasks import over_processes

IGNORED = 255  # the class of pixels that nobody is to be asked about


class Segmentation:
    """Outputs [B, classes, H, W]; targets [B, H, W] int64, 255 where a pixel does not count."""

    reductions: tuple[int, ...] = STRIDES

    def head(self, backbone: Backbone, num_classes: int, drop_rate: float) -> Segmenter:
        return Segmenter(backbone, num_classes, drop_rate)

    def loss(self, outputs: Tensor, targets: Tensor, img_size: tuple[int, int], smoothing: float) -> Tensor:
        total = F.cross_entropy(
            outputs.float(), targets, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        return total / (targets != IGNORED).sum().clamp(min=1)

    def scorer(self, num_classes: int, img_size: tuple[int, int], device: Any) -> "MeanIoU":
        return MeanIoU(num_classes, device)

    def output_shape(self, batch: int, img_size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes, *img_size

    def example_targets(self, batch: int, img_size: tuple[int, int], num_classes: int) -> Tensor:
        luck = torch.Generator().manual_seed(0)
        coarse = torch.randint(num_classes, (batch, 1, 4, 4), generator=luck).float()
        return F.interpolate(coarse, size=img_size, mode="nearest")[:, 0].long()


class MeanIoU:
    """By torchmetrics: over the classes that occur in truth or answers, in %."""

    def __init__(self, num_classes: int, device: Any):
        from torchmetrics.classification import MulticlassJaccardIndex

        self._metric = MulticlassJaccardIndex(num_classes, ignore_index=IGNORED).to(device)
        self._images = torch.zeros((), dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self._metric.update(outputs.argmax(dim=1), targets)
        self._images += len(targets)

    def compute(self) -> dict[str, float]:
        return {"miou": 100 * float(self._metric.compute()), "images": int(over_processes(self._images))}


class ByWindows(nn.Module):
    """A segmenter that sees large pictures by overlapping windows, whose scores are averaged.

    [B, 3, H, W] → [B, classes, H, W]. Windows begin half a window apart; the last ones end with the picture.

    Args:
        window: (height, width) of what ``model`` sees at a time; no larger than the pictures.
    """

    def __init__(self, model: nn.Module, window: tuple[int, int]):
        super().__init__()
        self.model = model
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, 3, H, W]
        places = [_starts(whole, own) for whole, own in zip(x.shape[-2:], self.window, strict=True)]
        total: Tensor | None = None
        seen = x.new_zeros(x.shape[-2:])
        for top, left in product(*places):
            here = (..., slice(top, top + self.window[0]), slice(left, left + self.window[1]))
            scores = self.model(x[here])
            if total is None:
                total = scores.new_zeros(*scores.shape[:2], *x.shape[-2:])
            total[here] += scores
            seen[here] += 1
        assert total is not None
        return total / seen


def _starts(whole: int, own: int) -> list[int]:
    return sorted({*range(0, whole - own + 1, max(1, own // 2)), whole - own})
