"""An attention that passes every check, and one that is broken on purpose for each."""

import math

import torch
from torch import Tensor, nn

from xbench.attention.registry import AttentionInfo


class Sound(nn.Module):
    """Efficient attention in one head: nothing is wrong with it."""

    attention_info = AttentionInfo("sound", "broken_attentions:Sound", cost="O(N)")

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.qkv = nn.Linear(embed_dim, 3 * qkv_dim)
        self.proj = nn.Linear(qkv_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(q.softmax(dim=-1) @ (k.softmax(dim=1).mT @ v))

    def macs(self, grid: tuple[int, int]) -> int:
        tokens, width = grid[0] * grid[1], self.proj.in_features
        return 4 * tokens * width * self.proj.out_features + 2 * tokens * width**2

    def reference(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = q.exp() / q.exp().sum(-1, keepdim=True), k.exp() / k.exp().sum(1, keepdim=True)
        return self.proj(torch.stack([torch.einsum("bd,bnd,bne->be", token, k, v) for token in q.unbind(1)], dim=1))


class Unsound(Sound):
    """Sound, but for ``spoil``."""

    def forward(self, x, grid):
        return self.spoil(x, super().forward(x, grid), grid)


class LosesTokens(Unsound):
    def spoil(self, x, y, grid):
        return y[:, :1]


class ChangesItsInput(Unsound):
    def spoil(self, x, y, grid):
        with torch.no_grad():
            x += 1
        return y


class RefusesEverything(Sound):
    def forward(self, x, grid):
        from xbench.errors import UserError

        raise UserError("planted refusal")


class TakesGridsForSquares(Unsound):
    def spoil(self, x, y, grid):
        side = math.isqrt(x.shape[1])
        return y.unflatten(1, (side, side)).flatten(1, 2)


class MixesTheBatch(Unsound):
    def spoil(self, x, y, grid):
        return y + x.mean(dim=0, keepdim=True)


class IsRandom(Unsound):
    def spoil(self, x, y, grid):
        return y + 1e-3 * torch.randn_like(y)


class Remembers(Unsound):
    last = 0.0

    def spoil(self, x, y, grid):
        y = y + self.last
        self.last = float(x.detach().float().mean())
        return y


class DividesByLength(Unsound):
    def spoil(self, x, y, grid):
        return y + x / x.norm(dim=-1, keepdim=True)


class GradientOfZeroLength(Unsound):
    """Its output is finite, but the square root of zero has no slope."""

    def spoil(self, x, y, grid):
        return y + x.square().sum(dim=-1, keepdim=True).sqrt()


class LosesHalfPrecision(Unsound):
    def spoil(self, x, y, grid):
        return (y + 1000) - 1000


class InsistsOnOneType(Unsound):
    def spoil(self, x, y, grid):
        return torch.zeros_like(x).index_add(1, torch.arange(x.shape[1], device=x.device), y)


class DiffersInTraining(Unsound):
    def spoil(self, x, y, grid):
        return 2 * y if self.training else y


class ReadsMemoryAsItLies(Unsound):
    def spoil(self, x, y, grid):
        return y + x.view(x.shape[0], -1).view(x.shape)


class FixesItsN(Unsound):
    def __init__(self, **widths):
        super().__init__(**widths)
        self.table = None

    def spoil(self, x, y, grid):
        if self.table is None:
            self.table = nn.Parameter(torch.zeros(x.shape[1], 1, dtype=x.dtype, device=x.device))
        return y + self.table


class StatesTwice(Sound):
    def macs(self, grid):
        return 2 * super().macs(grid)


class StatesNothing(Sound):
    def macs(self, grid):
        return 0


class WorksMoreThanItStates(Unsound):
    """Its formula is right, and quadratic."""

    def spoil(self, x, y, grid):
        return y + (x @ x.mT) @ x

    def macs(self, grid):
        return super().macs(grid) + 2 * (grid[0] * grid[1]) ** 2 * self.proj.out_features


class RemembersMoreThanItStates(Unsound):
    def spoil(self, x, y, grid):
        return y + (x[:, :, None, 0] - x[:, None, :, 0]).abs().amax(-1, keepdim=True)


class _WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, slope):
        return 1.01 * slope


class WrongGradient(Unsound):
    def spoil(self, x, y, grid):
        return _WrongSlope.apply(y)


class _SharedSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope.mean(dim=0, keepdim=True).expand_as(slope)


class GradientMixesTheBatch(Unsound):
    """Right for a single sequence."""

    def spoil(self, x, y, grid):
        return _SharedSlope.apply(y)


class InventsAGradient(Unsound):
    """Claims a small gradient in a parameter that does nothing."""

    def __init__(self, **widths):
        super().__init__(**widths)
        self.idle = nn.Parameter(torch.ones(()))

    def spoil(self, x, y, grid):
        return y + 1e-5 * (self.idle - self.idle.detach())


class HasAnIdleBias(Unsound):
    """Sound: the bias cancels in the softmax, so its gradient is zero and its differences are rounding."""

    def __init__(self, **widths):
        super().__init__(**widths)
        self.bias = nn.Parameter(torch.ones(()))

    def spoil(self, x, y, grid):
        return 1e4 * y * ((x.mean(dim=-1, keepdim=True) + self.bias).softmax(dim=1))


class LeavesDouble(Unsound):
    def spoil(self, x, y, grid):
        return y.float()


class DiffersFromItsReference(Unsound):
    def spoil(self, x, y, grid):
        return 1.001 * y


class SlopeDiffersFromItsReference(Sound):
    def reference(self, x, grid):
        return super().reference(x, grid) + (x - x.detach())


class KeepsWeightsOutside(Unsound):
    def __init__(self, **widths):
        super().__init__(**widths)
        self.hidden = torch.rand(())

    def spoil(self, x, y, grid):
        return y + float(self.hidden)


class CannotBeCopied(Unsound):
    def spoil(self, x, y, grid):
        self.last = y
        return y


class SharesWithItsCopy(Unsound):
    def __deepcopy__(self, memo):
        return self

    def spoil(self, x, y, grid):
        return y


class BranchesOnValues(Unsound):
    def spoil(self, x, y, grid):
        return y if x.sum() > 0 else 1 * y


class ExportsAnother(Unsound):
    def spoil(self, x, y, grid):
        return 2 * y if torch.onnx.is_in_onnx_export() else y
