"""A light YOLOv3 (arXiv 1804.02767) on any backbone: neck, head, anchors, and boxes from what the head says.

Widths and anchors are those of mmdetection's YOLOv3 for MobileNetV2, the light detector that the XFormer paper
(arXiv 2207.07268) compares with; it states 6.3 M parameters and 3.8 GFLOPs at 320 × 320 with 80 classes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.maps import Backbone

STRIDES = (8, 16, 32)
WIDTH = 96  # of neck and head
# (width, height) in pixels of an image of 320 a side, for each of the strides; they grow and shrink with the image.
ANCHORS = (
    ((10, 15), (24, 36), (72, 42)),
    ((35, 87), (102, 96), (60, 170)),
    ((220, 125), (128, 222), (264, 266)),
)
ANCHORS_AT = 320
PER_CELL = 3
BOX = 5  # x, y, width, height and objectness
PRIOR = 0.01  # share of the anchors that hold an object, as a new head sees it; Focal Loss, arXiv 1708.02002
LARGEST = math.log(1000.0)  # of the logarithm of a box's side over its anchor's, so that none is infinite


class ConvNormLeaky(nn.Sequential):
    """Convolution without bias, batch norm and LeakyReLU(0.1), as all of YOLOv3's: keeps H and W."""

    def __init__(self, in_chs: int, out_chs: int, kernel_size: int):
        conv = nn.Conv2d(in_chs, out_chs, kernel_size, padding=kernel_size // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_chs), nn.LeakyReLU(0.1, inplace=True))


def neck_block(in_chs: int) -> nn.Sequential:
    """[B, in_chs, H, W] → [B, WIDTH, H, W]: 1 × 1, then twice 3 × 3 convolutions to twice the width and 1 × 1 back."""
    layers = [ConvNormLeaky(in_chs, WIDTH, 1)]
    for _ in range(2):
        layers += [ConvNormLeaky(WIDTH, 2 * WIDTH, 3), ConvNormLeaky(2 * WIDTH, WIDTH, 1)]
    return nn.Sequential(*layers)


class Detector(nn.Module):
    """A backbone, YOLOv3's neck over its maps of strides 8, 16 and 32, and its head.

    [B, 3, H, W] → [B, anchors, 5 + num_classes], raw: for each anchor t_x, t_y, t_w, t_h, objectness and the classes,
    in the order of ``anchors``. ``boxes`` makes pixels of them.

    Args:
        backbone: gives three maps, finest first, and has their ``channels``.
        num_classes: of objects.
    """

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels
        above = [0, *[WIDTH] * (len(channels) - 1)]  # channels that come down to a map; the coarsest is first
        self.neck = nn.ModuleList(neck_block(own + down) for own, down in zip(channels[::-1], above, strict=True))
        self.down = nn.ModuleList(ConvNormLeaky(WIDTH, WIDTH, 1) for _ in channels[1:])
        outputs = PER_CELL * (BOX + num_classes)
        self.head = nn.ModuleList(
            nn.Sequential(ConvNormLeaky(WIDTH, WIDTH, 3), nn.Conv2d(WIDTH, outputs, 1)) for _ in channels
        )

    def init_weights(self) -> None:
        """Objectness begins at ``PRIOR``: most anchors hold nothing, and would else have to unlearn that they do."""
        for branch in self.head:
            last = branch[-1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            nn.init.constant_(last.bias.data.view(PER_CELL, -1)[:, BOX - 1], math.log(PRIOR / (1 - PRIOR)))

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, 3, H, W]
        found: list[Tensor] = []
        coming: Tensor | None = None
        for i, own in enumerate(reversed(self.backbone(x))):
            if coming is not None:
                coming = F.interpolate(self.down[i - 1](coming), size=own.shape[-2:], mode="nearest")
                own = torch.cat((coming, own), dim=1)
            coming = self.neck[i](own)
            raw = self.head[i](coming)  # [B, 3 · (5 + classes), h, w]
            found.append(raw.permute(0, 2, 3, 1).reshape(len(raw), -1, raw.shape[1] // PER_CELL))
        return torch.cat(found[::-1], dim=1)


def anchors(img_size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """[anchors, 5] float32 for images of (height, width): x and y of the cell's corner, width and height of the anchor,
    and the stride, all in pixels. By stride, then row, column and anchor of the cell.
    """
    scale = math.sqrt(img_size[0] * img_size[1]) / ANCHORS_AT
    parts = []
    for stride, sizes in zip(STRIDES, ANCHORS, strict=True):
        rows, cols = (-(-side // stride) for side in img_size)
        y, x = torch.meshgrid(torch.arange(rows) * stride, torch.arange(cols) * stride, indexing="ij")
        corners = torch.stack((x, y), dim=-1)[:, :, None].expand(rows, cols, PER_CELL, 2).float()
        shapes = (scale * torch.tensor(sizes).float()).expand(rows, cols, PER_CELL, 2)
        strides = torch.full((rows, cols, PER_CELL, 1), float(stride))
        parts.append(torch.cat((corners, shapes, strides), dim=-1).view(-1, 5))
    return torch.cat(parts).to(device)


def boxes(raw: Tensor, at: Tensor) -> Tensor:
    """Boxes [B, anchors, 4], x₁ y₁ x₂ y₂ in pixels, of a ``Detector``'s output and of its ``anchors``.

    b_x = σ(t_x) · stride + c_x, b_w = p_w · exp(t_w) (arXiv 1804.02767, 2.1).
    """
    centres = raw[..., :2].sigmoid() * at[:, 4:] + at[:, :2]
    half = at[:, 2:4] * raw[..., 2:4].clamp(max=LARGEST).exp() / 2
    return torch.cat((centres - half, centres + half), dim=-1)
