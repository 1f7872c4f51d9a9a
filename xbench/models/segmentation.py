"""Segmentation with the all-MLP head of SegFormer (arXiv 2105.15203) on any backbone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.maps import Backbone

STRIDES = (4, 8, 16, 32)
WIDTH = 256


class Segmenter(nn.Module):
    """A backbone and the all-MLP head over its maps of strides 4, 8, 16 and 32.

    Each map by a linear layer to ``WIDTH`` and to the finest one's size, all of them mixed by another with batch norm
    and ReLU, dropout, and a classifier of each position, enlarged to the picture: [B, 3, H, W] → [B, num_classes, H,
    W].

    Args:
        backbone: gives four maps, finest first, and has their ``channels``.
        num_classes: of pixels.
        drop_rate: of whole channels before the classifier; SegFormer's is 0.1.
    """

    def __init__(self, backbone: Backbone, num_classes: int, drop_rate: float = 0.0):
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels
        self.embed = nn.ModuleList(nn.Conv2d(chs, WIDTH, 1) for chs in channels)
        mix = nn.Conv2d(len(channels) * WIDTH, WIDTH, 1, bias=False)
        self.mix = nn.Sequential(mix, nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))
        self.drop = nn.Dropout2d(drop_rate)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, 3, H, W]
        maps = self.backbone(x)
        finest = maps[0].shape[-2:]
        embedded = [
            F.interpolate(embed(found), size=finest, mode="bilinear", align_corners=False)
            for embed, found in zip(self.embed, maps, strict=True)
        ]
        scores = self.classifier(self.drop(self.mix(torch.cat(embedded, dim=1))))
        return F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
