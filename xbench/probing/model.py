"""The models that are trained on tasks: transformer layers alone, or the skeleton over a picture of the grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.alone import Layers, first_block
from xbench.models.xformer import XFormer
from xbench.probing.job import CELL, ProbeJob
from xbench.probing.tasks import ASKS, KEY_DIM, LINKS, VALUES
from xbench.training.job import PLACE_HOLDER, outside_attention

STAGES = 3  # of the skeleton, whose map then has a position for every tile


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
    """The skeleton to its third stage, where its first XF block is, and a 1 × 1 convolution as readout of every tile.

    Tiles lie apart, one position of that stage's map in four: the 3 × 3 convolutions around the attention would mix
    what lies side by side. A key is a colour, three of its numbers, because narrow strided convolutions with random
    weights keep little else, and nothing teaches them before the attention finds a key.
    """

    bits: Tensor

    def __init__(self, skeleton: XFormer, grid: tuple[int, int]):
        super().__init__()
        self.stem, self.stages = skeleton.stem, skeleton.stages[:STAGES]
        self.head = nn.Conv2d(int(skeleton.feature_info[STAGES - 1]["num_chs"]), VALUES, 1)
        self.every = CELL // int(skeleton.feature_info[STAGES - 1]["reduction"])
        self.grid = grid
        bits = (torch.arange(VALUES)[:, None] >> torch.arange(4) & 1) * 2.0 - 1
        self.register_buffer("bits", torch.cat([bits, torch.zeros(2, 4)]), persistent=False)

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        # keys: [B, N, 2, KEY_DIM], values: [B, N]
        scores = self.head(self.stages(self.stem(self.draw(keys, values))))  # [B, VALUES, H / 8, W / 8]
        return scores[:, :, :: self.every, :: self.every].flatten(2).transpose(1, 2)

    def draw(self, keys: Tensor, values: Tensor) -> Tensor:
        """The pictures, [B, 3, H, W], on a grey ground.

        The upper half of a tile has the colour of the key. In the lower one a value is two squares of two bits each,
        third channel down; a question has none of these, third channel up; a link has the colour of its second key.
        """
        colours = F.normalize(keys[..., :3], dim=-1) * 3**0.5  # [B, N, 2, 3]
        does = torch.where(values == ASKS, 1.0, -1.0)[..., None]
        left, right = (torch.cat([two, does], dim=-1) for two in self.bits[values].split(2, dim=-1))
        links = (values == LINKS)[..., None]
        lower = [torch.where(links, colours[:, :, 1], own) for own in (left, right)]
        squares = torch.stack([colours[:, :, 0], colours[:, :, 0], *lower], dim=2)  # [B, N, 4, 3]
        rows, cols = self.grid
        squares = squares.unflatten(2, (2, 2)).unflatten(1, (rows, cols))  # [B, rows, cols, 2, 2, 3]
        tiles = F.pad(squares.permute(0, 5, 1, 2, 3, 4), (0, 2, 0, 2))  # [B, 3, rows, cols, 4, 4]
        picture = tiles.transpose(3, 4).flatten(4, 5).flatten(2, 3)  # [B, 3, rows · 4, cols · 4]
        return F.interpolate(picture, scale_factor=CELL // 4, mode="nearest")
