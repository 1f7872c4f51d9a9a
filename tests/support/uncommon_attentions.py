"""Attentions that are right and cannot be counted as others are. Named by import string in tests."""

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Explicit softmax attention of one head: 4·N·C² + 2·N²·C multiply–accumulates of a sequence."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # x: [B, N, C]
        q, k, v = self.qkv(self.placed(x)).chunk(3, dim=-1)
        return self.proj(self.weights(q @ k.transpose(1, 2)) @ v)

    def placed(self, x: Tensor) -> Tensor:
        return x

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


class CountsOnTheCpu(Plain):
    """Makes a tensor without saying on which device."""

    def placed(self, x):
        return x + torch.arange(x.shape[1])[None, :, None] / x.shape[1]


class AsksForAValue(Plain):
    """Its control flow depends on data."""

    def weights(self, scores):
        return super().weights(scores / 2 if scores.amax().item() > 10 else scores)


class KeepsTensors(Plain):
    """Keeps what it made for a number of tokens, wherever that was."""

    kept: dict[int, Tensor] = {}  # noqa: RUF012, the fault that is meant

    def placed(self, x):
        if x.shape[1] not in self.kept:
            self.kept[x.shape[1]] = torch.linspace(0, 1, x.shape[1], device=x.device)[None, :, None]
        return x + self.kept[x.shape[1]]


class IsLazy(Plain):
    """Learns its width from its first input."""

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__(embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
        self.qkv = nn.LazyLinear(3 * embed_dim)


class IsShared(Plain):
    """All instances of one width have one projection."""

    shared: dict[tuple[int, bool], nn.Linear] = {}  # noqa: RUF012

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__(embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
        key = embed_dim, self.qkv.weight.is_meta
        self.qkv = self.shared.setdefault(key, self.qkv)


class CannotBeCounted(Plain):
    """Its formula fails, wherever it is asked."""

    def macs(self, grid):
        raise ZeroDivisionError("planted")
