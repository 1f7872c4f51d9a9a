"""Window attention: softmax attention inside windows of the grid, with a learnt bias for each relative position.

Paper: "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", Liu et al., arXiv 2103.14030.
Cost in N tokens: O(N · window² · qkv_dim).

    out = softmax(q kᵀ / √D + b) v, per head, over the tokens of one window; b depends on the offset of the two tokens

``shift`` moves the windows' corners; the paper shifts every second layer by window // 2, here a layer knows only its
own. As in the authors' code the grid is rolled rather than cut, and a mask separates what was not adjacent. It is −∞
here and −100 there, which lets tokens through whose scores lie further apart. Where the grid does not divide into
windows it is padded, and the mask hides the padding, which it does not in their code for detection. A window is never
larger than the grid, and an axis with a single window is not shifted: each axis for itself here, both in their code as
soon as the shorter one is no longer than a window.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("window", paper="arXiv 2103.14030", cost="O(N)")
class WindowAttention(nn.Module):
    """Swin's window attention.

    Args:
        window: side of a window, in tokens.
        shift: rows and columns by which the windows are moved.
    """

    relative_index: Tensor

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, window: int = 7, shift: int = 0):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        if not 0 <= shift < window:
            raise ValueError(f"shift must be at least 0 and less than the window {window}, not {shift}")
        self.num_heads = num_heads
        self.scale = (qkv_dim // num_heads) ** -0.5
        self.window = window
        self.shift = shift
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        offsets = 2 * window - 1
        self.bias_table = nn.Parameter(nn.init.trunc_normal_(torch.empty(offsets**2, num_heads), std=0.02))
        along = torch.arange(window)[:, None] - torch.arange(window) + window - 1
        index = along[:, None, :, None] * offsets + along[None, :, None, :]  # [row, column, other row, other column]
        self.register_buffer("relative_index", index, persistent=False)

    def windows(self, grid: tuple[int, int]) -> tuple[int, int, int, int]:
        """Rows and columns of a window, and rows and columns of windows."""
        (height, down), (width, across) = (
            (side, 1) if side <= self.window else (self.window, -(-side // self.window)) for side in grid
        )
        return height, width, down, across

    def bias(self, height: int, width: int) -> Tensor:
        """The bias of each pair of tokens of a window, [H, area, area]."""
        index = self.relative_index[:height, :width, :height, :width].flatten()
        return self.bias_table[index].view(height * width, height * width, -1).permute(2, 0, 1)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        rows, cols = grid
        height, width, down, across = self.windows(grid)
        padded = (down * height, across * width)
        # An axis with a single window has nothing to shift across.
        shifts = tuple(self.shift if count > 1 else 0 for count in (down, across))
        back = tuple(-shift for shift in shifts)

        qkv = self.qkv(x).unflatten(1, grid)
        qkv = F.pad(qkv, (0, 0, 0, padded[1] - cols, 0, padded[0] - rows)).roll(back, dims=(1, 2))
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).unflatten(2, (across, width)).unflatten(1, (down, height))
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(2, 3).unbind(0)  # [B, windows, H, area, D]

        scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias(height, width)  # [B, windows, H, area, area]
        if padded != grid or any(shifts):
            region = self.regions(grid, padded, shifts, x.device).roll(back, dims=(0, 1))
            region = region.view(down, height, across, width).transpose(1, 2).reshape(down * across, -1)
            apart = region[:, :, None] != region[:, None, :]
            scores = scores.masked_fill(apart.unsqueeze(1), float("-inf"))
        mixed = scores.softmax(dim=-1) @ v

        mixed = mixed.unflatten(3, (height, width)).unflatten(1, (down, across))
        mixed = mixed.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        mixed = mixed.roll(shifts, dims=(1, 2))[:, :rows, :cols]
        return self.proj(mixed.flatten(1, 2))

    @staticmethod
    def regions(
        grid: tuple[int, int], padded: tuple[int, int], shifts: tuple[int, ...], device: torch.device
    ) -> Tensor:
        """A number for each token of the padded grid, unequal where two tokens of a rolled window must not meet."""
        rows, cols = (torch.arange(side, device=device) for side in padded)
        # Along each axis: 1 where the roll wraps around, 2 in the padding, 0 elsewhere.
        rows = (rows < shifts[0]).long() + 2 * (rows >= grid[0])
        cols = (cols < shifts[1]).long() + 2 * (cols >= grid[1])
        return 3 * rows[:, None] + cols

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        height, width, down, across = self.windows(grid)
        return 4 * tokens * embed_dim * qkv_dim + 2 * down * across * (height * width) ** 2 * qkv_dim
