"""Modules that know nothing of xbench: what is mapped to what, which layout is found, and what is refused."""

import pytest
import torch
from timm.layers import Attention
from timm.models.mobilevit import LinearSelfAttention
from timm.models.xcit import XCA
from torch import nn

from xbench.attention import build_attention
from xbench.errors import UserError

WIDTHS = {"embed_dim": 24, "qkv_dim": 16, "num_heads": 4}
GRID = (4, 6)


def test_foreign_modules_are_themselves():
    x = torch.randn(2, 24, 24)
    for name, cls in {"timm.layers:Attention": Attention, "timm.models.xcit:XCA": XCA}.items():
        adapted = build_attention(name, **WIDTHS)
        assert type(adapted.inner) is cls
        assert adapted.inner.num_heads == 4
        torch.testing.assert_close(adapted(x, GRID), adapted.inner(x))
        words = "dim ← embed_dim, num_heads ← num_heads 4, qkv_dim ignored; forward(x) with x as [B, N, C]"
        assert adapted.mapping == words

    separable = build_attention("timm.models.mobilevit:LinearSelfAttention", **WIDTHS)
    assert type(separable.inner) is LinearSelfAttention
    torch.testing.assert_close(separable(x, GRID), separable.inner(x.mT[:, :, None])[:, :, 0].mT)
    assert separable.mapping.endswith("num_heads and qkv_dim ignored; forward(x) with x as [B, C, 1, N]")

    multihead = build_attention("torch.nn:MultiheadAttention:dropout=0.1", **WIDTHS).eval()
    assert multihead.inner.dropout == 0.1
    torch.testing.assert_close(multihead(x, GRID), multihead.inner(x, x, x)[0])
    assert "batch_first ← True" in multihead.mapping
    assert "dropout ← 0.1, as asked" in multihead.mapping
    assert "forward(x, x, x, need_weights=False)" in multihead.mapping


class Plain(nn.Module):
    """Takes (dim, num_heads) like most classes one finds; ``into`` is where it wants its channels."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.proj = nn.Linear(dim, dim)


class TokensFirst(Plain):
    def forward(self, x):
        return self.proj(x + x.mean(dim=0, keepdim=True))


class Images(Plain):
    def __init__(self, d_model, heads):
        super().__init__(d_model, heads)
        self.conv = nn.Conv2d(d_model, d_model, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


class ImagesChannelsLast(Plain):
    def forward(self, x):
        assert x.dim() == 4
        return self.proj(x + x.mean(dim=(1, 2), keepdim=True))


class Signals(Plain):
    def __init__(self, channels):
        super().__init__(channels, 1)
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


class WantsSides(Plain):
    def forward(self, x, H, W):  # noqa: N803, as PVT writes it
        assert x.shape[1] == H * W
        return self.proj(x), None


class OnlyWidthIsNeeded(Plain):
    def __init__(self, width_of_tokens):
        super().__init__(width_of_tokens, 1)

    def forward(self, x):
        return self.proj(x)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (TokensFirst, "x as [N, B, C]"),
        (Images, "d_model ← embed_dim, heads ← num_heads 4, qkv_dim ignored; forward(x) with x as [B, C, rows, cols]"),
        (ImagesChannelsLast, "x as [B, rows, cols, C]"),
        (Signals, "x as [B, C, N]"),
        (WantsSides, "forward(x, rows, cols) with x as [B, N, C]"),
        (OnlyWidthIsNeeded, "width_of_tokens ← embed_dim"),
    ],
)
def test_arguments_are_mapped_by_name_and_the_layout_is_found_by_trying(cls, words):
    adapted = build_attention(cls, **WIDTHS)
    assert words in adapted.mapping
    x = torch.randn(3, 15, 24)
    y = adapted(x, (3, 5))
    assert y.shape == x.shape
    torch.testing.assert_close(adapted(x[:1], (3, 5)), y[:1])
    with torch.device("meta"):
        assert build_attention(cls, **WIDTHS)(torch.empty(1, 15, 24), (3, 5)).shape == (1, 15, 24)


def test_rows_and_columns_of_an_image_keep_their_places():
    adapted = build_attention(Images, **WIDTHS)
    x = torch.randn(1, 15, 24)
    image = x.view(1, 3, 5, 24).permute(0, 3, 1, 2)
    torch.testing.assert_close(adapted(x, (3, 5)), adapted.inner(image).permute(0, 2, 3, 1).reshape(1, 15, 24))


class AsksForMore(Plain):
    def __init__(self, dim, window):
        super().__init__(dim, 1)
        self.window = window

    def forward(self, x):
        return self.proj(x)


class AsksForAMask(Plain):
    def forward(self, x, mask):
        return self.proj(x)


class Shrinks(Plain):
    def forward(self, x):
        return self.proj(x)[:, :1]


class TakesAnything(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (AsksForMore, r"nothing is known to fill window of its constructor. Give it as an option: .*:window=…"),
        (AsksForAMask, r"its forward takes \(x, mask\), and nothing is known to fill 'mask'. Needed is forward\(x\)"),
        (Shrinks, r"takes none of the layouts that were tried. \[B, N, C\] returns \[3, 1, 24\] for \[3, 48, 24\]"),
        (TakesAnything, r"\[B, N, C\] takes any number of channels"),
    ],
)
def test_what_cannot_be_adapted_says_what_was_found_and_what_is_needed(cls, message):
    with pytest.raises(UserError, match=message):
        build_attention(cls, **WIDTHS)


def test_an_argument_that_nothing_fills_can_be_an_option():
    name = f"{__name__}:AsksForMore:window=7"
    assert build_attention(name, **WIDTHS).inner.window == 7


def test_a_module_of_one_grid_refuses_others():
    adapted = build_attention("timm.models.swin_transformer:WindowAttention", **WIDTHS)
    assert adapted.mapping.endswith("takes a grid of 7 × 7 tokens, but not 6 × 8, 8 × 8")
    assert adapted(torch.randn(2, 49, 24), (7, 7)).shape == (2, 49, 24)
    with pytest.raises(UserError, match="WindowAttention fails on a grid of 4 x 6 tokens"):
        adapted(torch.randn(2, 24, 24), GRID)
