"""Global average, a control: every token receives the same plain mean of all values; nothing is weighted or chosen.

Paper: the average-pooling context that "GCNet" ablates, Cao et al., arXiv 1904.11492.
Cost in N tokens: O(N · embed_dim) additions; the multiply–accumulates do not grow with N.

    out_n = (1/N · Σ_m x_m W_v) W_o

GCNet transforms the mean by two projections with a LayerNorm and a ReLU between them, left out here: what an attention
gains over this it gains by choosing between tokens. The mean is taken before the projections, which is exact and leaves
them one vector to work on.
"""

from torch import Tensor, nn

from xbench.attention import register_attention


@register_attention("global-average", paper="arXiv 1904.11492", cost="O(N)")
class GlobalAverage(nn.Module):
    """Control: the mean of all values, for every token.

    There are no queries or keys: ``num_heads`` is accepted for the contract and changes nothing.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.value = nn.Linear(embed_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        mean = self.proj(self.value(x.mean(dim=1, keepdim=True)))  # [B, 1, C]
        return mean.repeat(1, x.shape[1], 1)

    def macs(self, grid: tuple[int, int]) -> int:
        return 2 * self.proj.out_features * self.proj.in_features
