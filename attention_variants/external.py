"""External attention: tokens attend to two small learnt memories, shared by all images, instead of to each other.

Paper: "Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks", Guo et al.,
arXiv 2105.02358.
Cost in N tokens: O(N · memory · qkv_dim).

Per head, with memories M_k and M_v ∈ R^{memory×D} that the heads share:

    A = q M_kᵀ, softmax over the tokens, then each row divided by its sum (the paper's double normalisation)
    out = A M_v

Tokens meet only in the softmax over them. The authors' multi-head code gives both memories a bias, which changes
nothing: that of the keys cancels in the softmax, that of the values is a constant, as the bias of the output projection
is. It also works on four times the channels and heads, which are ``qkv_dim`` and ``num_heads`` here.
"""

from torch import Tensor, nn

from xbench.attention import register_attention

EPSILON = 1e-9


@register_attention("external", paper="arXiv 2105.02358", cost="O(N)")
class ExternalAttention(nn.Module):
    """Multi-head external attention.

    Args:
        memory: number of rows of each memory.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, memory: int = 64):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if memory < 1:
            raise ValueError(f"memory must be at least 1, not {memory}")
        self.num_heads = num_heads
        head_dim = qkv_dim // num_heads
        self.q = nn.Linear(embed_dim, qkv_dim)
        self.keys = nn.Linear(head_dim, memory, bias=False)
        self.values = nn.Linear(memory, head_dim, bias=False)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        scores = self.keys(self.q(x).unflatten(-1, (self.num_heads, -1)))  # [B, N, H, memory]
        weights = scores.softmax(dim=1)
        weights = weights / (weights.sum(dim=-1, keepdim=True) + EPSILON)
        return self.proj(self.values(weights).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 2 * tokens * qkv_dim * (embed_dim + self.keys.out_features)
