"""Identity, a control: tokens do not mix at all; each only passes the value and the output projection.

Paper: the identity mixer of "MetaFormer Baselines for Vision" (IdentityFormer), Yu et al., arXiv 2210.13452.
Cost in N tokens: O(N · qkv_dim), all of it projections.

    out_n = x_n W_v W_o

IdentityFormer has no projections; they are kept here so that an attention differs from this control by its mixing,
its queries and its keys, and by nothing else.
"""

from torch import Tensor, nn

from xbench.attention import register_attention


@register_attention("identity", paper="arXiv 2210.13452", cost="O(N)")
class IdentityMixer(nn.Module):
    """Control: no token mixing, only the value and output projections.

    There are no queries or keys: ``num_heads`` is accepted for the contract and changes nothing.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.value = nn.Linear(embed_dim, qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        return self.proj(self.value(x))

    def macs(self, grid: tuple[int, int]) -> int:
        return 2 * grid[0] * grid[1] * self.proj.out_features * self.proj.in_features
