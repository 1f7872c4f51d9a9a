"""Performer (FAVOR+): linear attention whose random positive features estimate the softmax kernel without bias.

Paper: "Rethinking Attention with Performers", Choromanski et al., arXiv 2009.14794.
Cost in N tokens: O(N · qkv_dim · features).

Per head, with m random directions ω, orthogonal in groups of D and as long as Gaussian vectors:

    φ(x) = exp(ω x − ‖x‖² / 2) / √m, for x = q / D^¼ and x = k / D^¼, so that E[φ(q) · φ(k)] = exp(q · k / √D)
    out_i = φ(q_i) · Σ_j φ(k_j) v_jᵀ / (φ(q_i) · Σ_j φ(k_j))

As in the authors' code (its TensorFlow form) the exponent of φ is shifted down by the largest ω x, of the token for q
and of the sequence for k, and then φ is raised by ε = 1e-6. The shift cancels; ε does not: where ‖x‖² / 2 passes some
14, φ is little more than ε, and the estimate fades into the mean of v. 1 / √m cancels and is left out.

Their JAX form also adds 2 ε to a sum below ε. The authors draw the directions anew in training; here they are drawn
once, from a fixed seed, with the signs of the QR decomposition made uniform, which theirs leaves as they come.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from xbench.attention import register_attention

EPSILON = 1e-6


def orthogonal_directions(count: int, dim: int, seed: int) -> Tensor:
    """[count, dim] Gaussian directions, orthogonal within each group of ``dim``, the same on every device and type."""
    draw = partial(torch.randn, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float64, device="cpu")
    q, r = torch.linalg.qr(draw(-(-count // dim), dim, dim))
    # QR alone fixes the signs of q, which are then not uniform, and the estimate is biased.
    directions = (q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)).transpose(-2, -1).flatten(0, 1)
    return directions[:count] * draw(count, dim).norm(dim=-1, keepdim=True)


@register_attention("performer", paper="arXiv 2009.14794", cost="O(N)")
class PerformerAttention(nn.Module):
    """Performer's FAVOR+ attention, positive orthogonal features.

    Args:
        features: m, the number of random features per head; 0 takes the paper's D · ln D.
        seed: seed of the random directions.
    """

    directions: Tensor

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, features: int = 0, seed: int = 0):
        super().__init__()
        if qkv_dim % num_heads:
            raise ValueError(f"qkv_dim {qkv_dim} does not divide into {num_heads} heads")
        if features < 0:
            raise ValueError(f"features must be at least 0, not {features}")
        self.num_heads = num_heads
        head_dim = qkv_dim // num_heads
        self.features = features or max(1, round(head_dim * math.log(head_dim)))
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)
        # The scale D^-¼ of q and k is folded into the directions.
        directions = orthogonal_directions(self.features, head_dim, seed) * head_dim**-0.25
        self.register_buffer("directions", directions.to(self.proj.weight))

    def feature_map(self, x: Tensor, over: tuple[int, ...]) -> Tensor:
        """√m φ(x): [B, H, N, D] → [B, H, N, m], its exponent shifted by the largest ω x ``over`` these axes."""
        along = x @ self.directions.T.to(x.dtype)
        half_length = x.square().sum(dim=-1, keepdim=True) / (2 * math.sqrt(x.shape[-1]))
        return (along - half_length - along.amax(dim=over, keepdim=True)).exp() + EPSILON

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # [B, H, N, D]
        dtype = q.dtype
        if dtype == torch.float16:  # which does not hold ε²
            q, k, v = q.float(), k.float(), v.float()
        q, k = self.feature_map(q, over=(-1,)), self.feature_map(k, over=(-2, -1))  # [B, H, N, m]
        context = k.transpose(-2, -1) @ v  # [B, H, m, D]
        normaliser = q @ k.sum(dim=-2).unsqueeze(-1)  # [B, H, N, 1]
        mixed = (q @ context) / normaliser
        return self.proj(mixed.to(dtype).transpose(1, 2).flatten(2))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens = grid[0] * grid[1]
        embed_dim, qkv_dim = self.proj.out_features, self.proj.in_features
        return 4 * tokens * qkv_dim * (embed_dim + self.features) + tokens * self.num_heads * self.features
