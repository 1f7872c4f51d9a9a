"""Segmentation with the all-MLP head of SegFormer (arXiv 2105.15203) on any backbone."""

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

    What mixes them is linear and so is enlarging, which keeps constants: so each map meets its own columns of the
    mixing weight at its own size, and the sum of the enlarged products is the same. Nothing as wide as all maps
    together is ever made: at 512 × 512 the whole model takes 8.2 G multiply–accumulates where it would take 11.1 G.

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
        self.mix = nn.Conv2d(len(channels) * WIDTH, WIDTH, 1, bias=False)
        self.norm = nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))
        self.drop = nn.Dropout2d(drop_rate)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, 3, H, W]
        maps = self.backbone(x)
        finest = maps[0].shape[-2:]
        columns = self.mix.weight.split(WIDTH, dim=1)
        first, *others = [
            F.conv2d(embed(found), own) for embed, found, own in zip(self.embed, maps, columns, strict=True)
        ]
        for other in others:
            first = first + F.interpolate(other, size=finest, mode="bilinear", align_corners=False)
        scores = self.classifier(self.drop(self.norm(first)))
        return F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
