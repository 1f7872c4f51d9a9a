"""The models that are trained on tasks: transformer layers alone, or the skeleton over a picture of the grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.alone import Layers, first_block
from xbench.models.xformer import XFormer
from xbench.probing.job import TILE, ProbeJob
from xbench.probing.tasks import ASKS, KEY_DIM, LINKS, VALUES
from xbench.training.job import PLACE_HOLDER, outside_attention

BLOCKS = 4  # a side of a tile: a key's numbers, or a value's signs, are drawn as that many blocks squared
STAGES = 4  # of the skeleton, whose map then has a position for every tile


def build_probe(job: ProbeJob) -> nn.Module:
    """The model, with weights that the seed alone decides; outside the attention they are the same for all.

    Keys [B, N, 2, KEY_DIM] and values [B, N] → scores of the values, [B, N, VALUES].

    Raises:
        UserError: see ``XFormer``.
    """
    torch.manual_seed(job.seed)
    model = _build(job, job.attn)
    torch.manual_seed(job.seed)
    model.load_state_dict(outside_attention(_build(job, PLACE_HOLDER).state_dict()), strict=False)
    return model


def _build(job: ProbeJob, attn: str) -> nn.Module:
    skeleton = XFormer(attn, size=job.size, patch_size=job.patch_size, num_classes=0)
    if job.level == "layer":
        return OfTokens(Layers(first_block(skeleton), job.grid))
    return OfPictures(skeleton, job.grid)


class OfTokens(nn.Module):
    """A token is the sum of its keys, projected, and of an embedding of its value."""

    def __init__(self, layers: Layers):
        super().__init__()
        self.layers = layers
        width = layers.norm.normalized_shape[0]
        self.key = nn.Linear(2 * KEY_DIM, width)
        nn.init.normal_(self.key.weight, std=KEY_DIM**-0.5)  # most tokens have one key
        self.value = nn.Embedding(VALUES + 2, width)
        self.head = nn.Linear(width, VALUES)

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        # keys: [B, N, 2, KEY_DIM], values: [B, N]
        return self.head(self.layers(self.key(keys.flatten(2)) + self.value(values)))


class OfPictures(nn.Module):
    """The skeleton to its fourth stage, which has a position for every tile, and a 1 × 1 convolution as its readout."""

    signs: Tensor

    def __init__(self, skeleton: XFormer, grid: tuple[int, int]):
        super().__init__()
        self.stem, self.stages = skeleton.stem, skeleton.stages[:STAGES]
        self.head = nn.Conv2d(int(skeleton.feature_info[STAGES - 1]["num_chs"]), VALUES, 1)
        self.grid = grid
        signs = torch.randn(VALUES, BLOCKS**2, generator=torch.Generator().manual_seed(0)).sign()
        self.register_buffer("signs", torch.cat([signs, torch.zeros(2, BLOCKS**2)]), persistent=False)

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        # keys: [B, N, 2, KEY_DIM], values: [B, N]
        return self.head(self.stages(self.stem(self.draw(keys, values)))).flatten(2).transpose(1, 2)

    def draw(self, keys: Tensor, values: Tensor) -> Tensor:
        """The pictures, [B, 3, H, W]: a channel for a token's key, one for its value or its second key, and one for
        what it does."""
        rows, cols = self.grid
        does = (values == ASKS).float() - (values == LINKS).float()
        flat = torch.stack([keys[:, :, 0], self.signs[values] + keys[:, :, 1]], dim=1)  # [B, 2, N, 16]
        tiles = torch.cat([flat, does[:, None, :, None].expand(-1, -1, -1, BLOCKS**2)], dim=1)
        tiles = tiles.unflatten(3, (BLOCKS, BLOCKS)).unflatten(2, (rows, cols))  # [B, 3, rows, cols, 4, 4]
        picture = tiles.transpose(3, 4).flatten(4, 5).flatten(2, 3)  # [B, 3, rows · 4, cols · 4]
        return F.interpolate(picture, scale_factor=TILE // BLOCKS, mode="nearest")
