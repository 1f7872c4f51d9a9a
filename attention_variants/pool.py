"""Pooling as token mixer: every token becomes the mean of its neighbourhood on the grid, minus itself.

Paper: "MetaFormer Is Actually What You Need for Vision" (PoolFormer), Yu et al., arXiv 2111.11418.
Cost in N tokens: O(N · size² · embed_dim); no parameters and no projections.

    out_n = mean of x_m over the neighbours m of n inside the grid − x_n

The neighbourhood is ``size`` × ``size`` around n, n included. Subtracting x_n cancels the block's own residual.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention


@register_attention("pool", paper="arXiv 2111.11418", cost="O(N)")
class Pooling(nn.Module):
    """PoolFormer's average pooling.

    There are no queries, keys or values: ``qkv_dim`` and ``num_heads`` are accepted for the contract, and change
    nothing.

    Args:
        size: side of the neighbourhood, odd.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, size: int = 3):
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size must be odd and at least 1, not {size}")
        self.embed_dim = embed_dim
        self.size = size

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        image = x.transpose(1, 2).unflatten(2, grid)  # [B, C, rows, cols]
        if x.is_cuda and x.requires_grad:
            # Where channels lie last and pixels are padded, torch's kernel on CUDA returns a wrong gradient (seen in
            # 2.11; issue 188344 of pytorch).
            image = image.contiguous()
        means = F.avg_pool2d(image, self.size, stride=1, padding=self.size // 2, count_include_pad=False)
        return means.flatten(2).transpose(1, 2) - x

    def macs(self, grid: tuple[int, int]) -> int:
        # The mean is the depth-wise convolution that it equals; counters of convolutions do not see it.
        return grid[0] * grid[1] * self.embed_dim * self.size**2
