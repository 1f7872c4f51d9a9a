"""An attention without its model."""

from torch import Tensor, nn


class Alone(nn.Module):
    """An attention with its grid fixed, as a model of one input, [B, N, C]."""

    def __init__(self, attention: nn.Module, grid: tuple[int, int]):
        super().__init__()
        self.attention = attention
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, N, C]
        return self.attention(x, self.grid)
