"""Boxes of objects, as YOLOv3 (arXiv 1804.02767) assigns, learns and finds them, and COCO's average precision.

The loss is the paper's. Coordinates: "our gradient is the ground truth value minus our prediction", which for σ(t_x) is
that of cross-entropy (here without its own least value, so that a perfect answer costs nothing) and for t_w that of
half the square; as in the authors' code both are weighted with 2 − w · h, in shares of the picture, so that small boxes
count. Objectness and classes: cross-entropy by independent logistics. An object belongs to the one anchor, of all
strides, whose shape is most like its own, in the cell of its centre; other anchors are to say that there is nothing,
but for those whose box overlaps an object by more than a half.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_iou

from xbench.models.detection import ANCHORS, ANCHORS_AT, BOX, PER_CELL, STRIDES, Detector, anchors, boxes
from xbench.models.maps import Backbone
from xbench.tasks import over_processes

IGNORED_ABOVE = 0.5  # of an overlap, above which an anchor need not say that nothing is there; the paper's
LEAST_SCORE, OVERLAP, CANDIDATES, MOST = 0.001, 0.45, 1000, 100  # of boxes found; COCO looks at 100 a picture
CROWD = 1  # the mark of a box around many objects


class Detection:
    """Outputs as a ``Detector``'s; targets [B, objects, 6] float32: x₁ y₁ x₂ y₂ in pixels, class, and whether it is a
    crowd, filled up with rows of class −1.
    """

    reductions: tuple[int, ...] = STRIDES

    def head(self, backbone: Backbone, num_classes: int, drop_rate: float) -> Detector:
        return Detector(backbone, num_classes)

    def loss(self, outputs: Tensor, targets: Tensor, img_size: tuple[int, int], smoothing: float) -> Tensor:
        return yolo_loss(outputs.float(), targets, img_size)

    def scorer(self, num_classes: int, img_size: tuple[int, int], device: Any) -> "AveragePrecision":
        return AveragePrecision(img_size, device)

    def output_shape(self, batch: int, img_size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, len(anchors(img_size)), BOX + num_classes

    def example_targets(self, batch: int, img_size: tuple[int, int], num_classes: int) -> Tensor:
        """Seven objects a picture, which is what COCO's have on average."""
        luck = torch.Generator().manual_seed(0)
        size = torch.tensor([img_size[1], img_size[0]])
        low, high = (torch.rand(2, batch, 7, 2, generator=luck).sort(dim=0).values * size).unbind()
        classes = torch.randint(num_classes, (batch, 7, 1), generator=luck)
        return torch.cat((low, high + 1, classes, torch.zeros(batch, 7, 1)), dim=-1)


def assign(targets: Tensor, img_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which anchor each object belongs to, [B, objects] int64, and whether the object is to be learnt, bool.

    Crowds and rows of no object are not; of two objects of one anchor the later is.
    """
    corners, wanted = targets[..., :4], (targets[..., 4] >= 0) & (targets[..., 5] != CROWD)
    scale = (img_size[0] * img_size[1]) ** 0.5 / ANCHORS_AT
    shapes = scale * torch.tensor(ANCHORS, device=targets.device, dtype=torch.float32).flatten(0, 1)  # [9, 2]
    sides = (corners[..., 2:] - corners[..., :2]).clamp(min=0)
    common = torch.minimum(sides[..., None, :], shapes).prod(dim=-1)  # [B, objects, 9]
    union = sides.prod(dim=-1)[..., None] + shapes.prod(dim=-1) - common
    best = (common / union).argmax(dim=-1)
    level, own = best // PER_CELL, best % PER_CELL
    strides = torch.tensor(STRIDES, device=targets.device)
    rows, cols = (-(-side // strides) for side in img_size)
    first = (PER_CELL * rows * cols).cumsum(0) - PER_CELL * rows * cols
    centres = (corners[..., :2] + corners[..., 2:]) / 2
    cells = (centres / strides[level][..., None]).long()
    x, y = cells.unbind(dim=-1)
    x, y = x.clamp(min=0).minimum(cols[level] - 1), y.clamp(min=0).minimum(rows[level] - 1)
    places = first[level] + (y * cols[level] + x) * PER_CELL + own
    later = torch.ones(targets.shape[1], targets.shape[1], device=targets.device).triu(1).bool()
    taken = (places[:, :, None] == places[:, None, :]) & wanted[:, None, :] & later
    return places, wanted & ~taken.any(dim=-1)


def yolo_loss(raw: Tensor, targets: Tensor, img_size: tuple[int, int]) -> Tensor:
    """YOLOv3's loss, summed over a picture's anchors and averaged over the pictures.

    Args:
        raw: [B, anchors, 5 + classes] of a ``Detector``.
        targets: [B, objects, 6], see ``Detection``.
    """
    at = anchors(img_size, raw.device)
    places, learnt = assign(targets, img_size)
    weight = learnt.to(raw.dtype)
    corners = targets[..., :4]
    own = raw.gather(1, places[..., None].expand(-1, -1, raw.shape[-1]))  # [B, objects, 5 + classes]
    cell = at[places]
    centres, sides = (corners[..., :2] + corners[..., 2:]) / 2, (corners[..., 2:] - corners[..., :2]).clamp(min=1e-6)
    inside = ((centres - cell[..., :2]) / cell[..., 4:]).clamp(0, 1)
    xy = F.binary_cross_entropy_with_logits(own[..., :2], inside, reduction="none")
    xy = (xy - F.binary_cross_entropy(inside, inside, reduction="none")).sum(dim=-1)
    wh = 0.5 * (own[..., 2:4] - (sides / cell[..., 2:4]).log()).square().sum(dim=-1)
    small = 2 - sides.prod(dim=-1) / (img_size[0] * img_size[1])
    one_hot = F.one_hot(targets[..., 4].long().clamp(min=0), raw.shape[-1] - BOX).to(raw.dtype)
    classes = F.binary_cross_entropy_with_logits(own[..., BOX:], one_hot, reduction="none").sum(dim=-1)
    objects = (weight * (small * (xy + wh) + classes)).sum()

    holds = torch.zeros_like(raw[..., 4]).scatter_reduce(1, places, weight, "amax")
    counts = torch.maximum(holds, (~_overlaps(boxes(raw.detach(), at), targets)).to(raw.dtype))
    presence = F.binary_cross_entropy_with_logits(raw[..., 4], holds, reduction="none")
    return (objects + (counts * presence).sum()) / len(raw)


def _overlaps(found: Tensor, targets: Tensor) -> Tensor:
    """Whether each box [B, anchors, 4] overlaps an object by more than ``IGNORED_ABOVE``, or is so far in a crowd."""
    any_object = []
    for own, truth in zip(found, targets, strict=True):
        shared = box_iou(own, truth[:, :4])
        corner = torch.minimum(own[:, None, 2:], truth[:, 2:4]) - torch.maximum(own[:, None, :2], truth[:, :2])
        area = (own[:, 2:] - own[:, :2]).prod(dim=-1)
        within = corner.clamp(min=0).prod(dim=-1) / area[:, None].clamp(min=1e-6)
        shared = torch.where(truth[:, 5] == CROWD, within, shared)
        any_object.append(((shared > IGNORED_ABOVE) & (truth[:, 4] >= 0)).any(dim=1))
    return torch.stack(any_object)


def find_boxes(raw: Tensor, img_size: tuple[int, int], least_score: float = LEAST_SCORE) -> list[dict[str, Tensor]]:
    """Of each picture the boxes found, best first: "boxes" [n, 4] in pixels within it, "scores" and "labels".

    A score is objectness times the class. Of boxes of a class that overlap by more than ``OVERLAP`` the best is kept
    (torchvision's non-maximum suppression), of all together ``MOST``.
    """
    raw = raw.float()
    corners = boxes(raw, anchors(img_size, raw.device))
    limit = torch.tensor([img_size[1], img_size[0]] * 2, device=raw.device)
    found = []
    for own, scores in zip(corners, raw[..., 4:5].sigmoid() * raw[..., BOX:].sigmoid(), strict=True):
        best, place = scores.flatten().topk(min(CANDIDATES, scores.numel()))
        best, place = best[best >= least_score], place[best >= least_score]
        labels = place % scores.shape[1]
        within = own[place // scores.shape[1]].clamp(min=0).minimum(limit)
        kept = batched_nms(within, best, labels, OVERLAP)[:MOST]
        found.append({"boxes": within[kept], "scores": best[kept], "labels": labels[kept]})
    return found


class AveragePrecision:
    """COCO's, by torchmetrics and faster-coco-eval: "ap" over overlaps of 0.50 to 0.95, "ap50" and "ap75", in %."""

    def __init__(self, img_size: tuple[int, int], device: Any):
        from torchmetrics.detection import MeanAveragePrecision

        self._img_size = img_size
        self._metric = MeanAveragePrecision(backend="faster_coco_eval")
        self._metric.warn_on_many_detections = False
        self._counted = torch.zeros(2, dtype=torch.int64, device=device)
        if torch.device(device).type == "cuda":
            self._metric.to(device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        truth = []
        for own in targets:
            own = own[own[:, 4] >= 0]
            truth.append({"boxes": own[:, :4], "labels": own[:, 4].long(), "iscrowd": own[:, 5].long()})
            self._counted[1] += int((own[:, 5] != CROWD).sum())
        self._counted[0] += len(targets)
        self._metric.update(find_boxes(outputs, self._img_size), truth)

    def compute(self) -> dict[str, float]:
        found = self._metric.compute()
        images, objects = over_processes(self._counted).tolist()
        scores = {
            name: 100 * float(found[own]) for name, own in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75"))
        }
        return {**scores, "objects": objects, "images": images}
