"""Parts of a model without the rest: an attention, or the transformer layers of a block."""

from torch import Tensor, nn

from xbench.models.layers import XFBlock


class Alone(nn.Module):
    """An attention with its grid fixed, as a model of one input, [B, N, C]."""

    def __init__(self, attention: nn.Module, grid: tuple[int, int]):
        super().__init__()
        self.attention = attention
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, N, C]
        return self.attention(x, self.grid)


class Layers(nn.Module):
    """The transformer layers of an XF block and the norm behind them, without its convolutions, their grid fixed.

    [B, N, embed_dim] → the same. What moves from token to token moves by the attention alone.
    """

    def __init__(self, block: XFBlock, grid: tuple[int, int]):
        super().__init__()
        self.layers = block.layers
        self.norm = block.norm
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, N, embed_dim]
        for layer in self.layers:
            x = layer(x, self.grid)
        return self.norm(x)


def first_block(model: nn.Module) -> XFBlock:
    """The XF block of stage 3, where the maps are largest."""
    return next(module for module in model.modules() if isinstance(module, XFBlock))
