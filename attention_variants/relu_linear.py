"""ReLU linear attention: linear attention with φ = ReLU, optionally also over tokens gathered from a neighbourhood.

Paper: "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction", Cai et al., arXiv 2205.14756.
Cost in N tokens: O(N · qkv_dim · head_dim).

    out_i = relu(q_i) · Σ_j relu(k_j) v_jᵀ / (relu(q_i) · Σ_j relu(k_j) + ε), per head

With ``scale`` = s > 0, q, k and v also pass a depth-wise s × s convolution on the grid and a 1 × 1 convolution within
each head's q, k and v; these are further heads of the same attention, as in the paper's module, where s = 5.
As there, the projection to q, k, v has no bias, fp16 is left for fp32 in the two products, and bf16 in the division.
The BatchNorm behind the output projection is left to the skeleton.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.attention import register_attention

EPSILON = 1e-15


@register_attention("relu-linear", paper="arXiv 2205.14756", cost="O(N)")
class ReluLinearAttention(nn.Module):
    """EfficientViT's ReLU linear attention.

    Args:
        scale: side of the convolution that gathers the second scale, odd; 0 leaves the second scale out.
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, scale: int = 0):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if scale < 0 or (scale and scale % 2 == 0):
            raise ValueError(f"scale must be 0 or odd, not {scale}")
        self.num_heads = num_heads
        self.scale = scale
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim, bias=False)
        self.aggregate = None
        if scale:
            self.aggregate = nn.Sequential(
                nn.Conv2d(3 * qkv_dim, 3 * qkv_dim, scale, padding=scale // 2, groups=3 * qkv_dim, bias=False),
                nn.Conv2d(3 * qkv_dim, 3 * qkv_dim, 1, groups=3 * num_heads, bias=False),
            )
        self.proj = nn.Linear((2 if scale else 1) * qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        qkv = self.qkv(x)  # [B, N, 3 · H · D], the q, k and v of one head side by side
        if self.aggregate is not None:
            second = self.aggregate(qkv.transpose(1, 2).unflatten(2, grid))
            qkv = torch.cat((qkv, second.flatten(2).transpose(1, 2)), dim=-1)  # twice as many heads
        heads = self.num_heads * (2 if self.scale else 1)
        q, k, v = qkv.unflatten(-1, (heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind(0)  # [B, H, N, D]
        if qkv.dtype == torch.float16:
            q, k, v = q.float(), k.float(), v.float()
        q, k = F.relu(q), F.relu(k)
        context = k.transpose(-2, -1) @ v  # [B, H, D, D]
        normaliser = q @ k.sum(dim=-2).unsqueeze(-1)  # [B, H, N, 1]
        exact = torch.promote_types(q.dtype, torch.float32)
        # The authors add ε. So small, it is the same as not to fall below it, and exporters drop a sum with nearly 0.
        mixed = (q @ context).to(exact) / normaliser.to(exact).clamp(min=EPSILON)
        return self.proj(mixed.to(qkv.dtype).transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, width = self.proj.out_features, self.proj.in_features
        qkv_dim = self.qkv.out_features // 3
        head_dim = qkv_dim // self.num_heads
        projections = tokens * embed_dim * (3 * qkv_dim + width)
        gathering = 3 * tokens * qkv_dim * (self.scale**2 + head_dim) if self.scale else 0
        return projections + gathering + tokens * width * (2 * head_dim + 1)
