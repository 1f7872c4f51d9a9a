"""Modules that know nothing of xbench: what is mapped to what, which layout is found, and what is refused."""

import pytest
import torch
from timm.layers import Attention
from timm.models.mobilevit import LinearSelfAttention
from timm.models.xcit import XCA
from torch import nn

from xbench.attention.spec import build_attention, parse_attention
from xbench.errors import UserError
from xbench.models import build_model
from xbench.models.layers import XFLayer

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
    assert "num_heads and qkv_dim ignored; forward(x) with x as [B, C, 1, N]" in separable.mapping
    assert separable.mapping.endswith("because it never mixes rows; layout=BCHW gives it the rows as they are")

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


class Plurals(Plain):
    def forward(self, queries, keys, values):
        return self.proj(queries + (keys * values).mean(dim=1, keepdim=True))


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
        (Plurals, "forward(x, x, x) with x as [B, N, C]"),
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


# What is hidden from a search that only looks at what comes out.


class Gated(Plain):
    """Tokens first, [N, B, C], behind a gate that starts shut."""

    gate_at_start = torch.zeros(1)

    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.gate = nn.Parameter(self.gate_at_start.clone())

    def mix(self, x):
        return self.proj(x).mean(dim=0, keepdim=True)

    def forward(self, x):
        return x + self.gate.tanh() * self.mix(x)


class GatedPerHead(Gated):
    gate_at_start = torch.zeros(1, 1, 24)


class LayerScaled(Gated):
    gate_at_start = torch.full((24,), 1e-6)

    def forward(self, x):
        return x + self.gate * self.mix(x)


class AlmostShut(Gated):
    gate_at_start = torch.full((1,), -10.0)

    def forward(self, x):
        return x + self.gate.sigmoid() * self.mix(x)


class LastProjectionIsZero(Gated):
    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x):
        return self.proj(x - x.mean(dim=0, keepdim=True))


class Causal(Gated):
    """The first of [N, B, C] never hears of the others."""

    def forward(self, x):
        return self.proj(x.cumsum(dim=0))


class KnowsItsPlace(Gated):
    """Nothing mixes; only the position along N is known."""

    def forward(self, x):
        return self.proj(x + torch.arange(len(x), device=x.device)[:, None, None])


@pytest.mark.parametrize(
    "cls", [Gated, GatedPerHead, LayerScaled, AlmostShut, LastProjectionIsZero, Causal, KnowsItsPlace]
)
def test_tokens_are_found_behind_what_starts_shut_and_without_mixing_both_ways(cls):
    adapted = build_attention(cls, **WIDTHS)
    assert adapted.mapping.endswith("with x as [N, B, C]")
    assert torch.equal(adapted.inner.gate, cls.gate_at_start)  # what is measured keeps the author's weights
    if cls is LastProjectionIsZero:
        assert not adapted.inner.proj.weight.any()


class BlocksInRows(Plain):
    """[B, blocks, N, C]: blocks that are nothing to each other. Lies about nothing, but looks like an image."""

    across = 2

    def forward(self, x):
        assert x.dim() == 4
        return self.proj(x + x.mean(dim=self.across, keepdim=True))


class BlocksInColumns(BlocksInRows):
    across = 1


class Axial(BlocksInRows):
    """Rows, then columns: everything meets."""

    def forward(self, x):
        assert x.dim() == 4
        return self.proj((x + x.mean(dim=1, keepdim=True)).square().mean(dim=2, keepdim=True) + x)


@pytest.mark.parametrize(
    ("cls", "words", "in_their_layout"),
    [
        (BlocksInRows, "[B, 1, N, C], all tokens as one row, because it never mixes rows", lambda x: x[:, None]),
        (
            BlocksInColumns,
            "[B, N, 1, C], all tokens as one column, because it never mixes columns",
            lambda x: x[:, :, None],
        ),
        (Axial, "[B, rows, cols, C]", lambda x: x.unflatten(1, GRID)),
    ],
)
def test_blocks_of_tokens_are_not_taken_for_rows_or_columns(cls, words, in_their_layout):
    adapted = build_attention(cls, **WIDTHS)
    assert f"with x as {words}" in adapted.mapping
    x = torch.randn(2, 24, 24)
    torch.testing.assert_close(adapted(x, GRID), adapted.inner(in_their_layout(x)).reshape(x.shape))


def test_whoever_knows_better_names_the_layout():
    name = f"{__name__}:BlocksInRows"
    adapted = build_attention(f"{name}:layout=BHWC", **WIDTHS)
    assert adapted.mapping.endswith("with x as [B, rows, cols, C], as asked")
    x = torch.randn(2, 24, 24)
    rows = adapted.inner(x.unflatten(1, GRID)).flatten(1, 2)
    torch.testing.assert_close(adapted(x, GRID), rows)
    assert "x as [B, N, C], as asked" in build_attention(f"{__name__}:TakesAnything:layout=BNC", **WIDTHS).mapping
    with pytest.raises(UserError, match=r"unknown layout .*'BHCW'\. Did you mean 'BHWC'"):
        build_attention(f"{name}:layout=BHCW", **WIDTHS)
    with pytest.raises(UserError, match="mixes sequences"):
        build_attention(f"{__name__}:TokensFirst:layout=BNC", **WIDTHS)


class OfOneGrid(Plain):
    """Mixes along N with a matrix of 48 × 48, the first number of tokens that is tried with 24 channels."""

    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.along = nn.Linear(48, 48)

    def forward(self, x):
        return self.proj(self.along(x.mT).mT)


def test_a_module_that_fits_the_first_grid_only_is_not_said_to_fit_all():
    adapted = build_attention(OfOneGrid, **WIDTHS)
    assert adapted.mapping.endswith("takes a grid of 6 × 8 tokens, but not 8 × 8, 7 × 7")
    with pytest.raises(UserError, match="fails on a grid of 4 x 6"):
        adapted(torch.randn(2, 24, 24), GRID)


class AsksForMore(Plain):
    def __init__(self, dim, window):
        super().__init__(dim, 1)
        self.window = window

    def forward(self, x):
        return self.proj(x)


class AsksForAMask(Plain):
    def forward(self, x, mask):
        return self.proj(x)


class Settings:
    hidden_size = 24


class Configured(Plain):
    def __init__(self, config: Settings):
        super().__init__(config.hidden_size, 1)

    def forward(self, hidden_states, attention_mask=None):
        return (self.proj(hidden_states),)


class OwnConfig(Configured):
    """What the refusal says to write."""

    def __init__(self, dim, num_heads):
        config = Settings()
        config.hidden_size = dim
        super().__init__(config)


class BreaksWhenBuilt(Plain):
    def __init__(self, dim):
        raise AttributeError("planted")


class IsRandom(Plain):
    def forward(self, x):
        return self.proj(x) + torch.randn_like(x)


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
        (TakesAnything, r"\[B, N, C\] takes any number of channels.* Say where its channels are, as in layout=BNC"),
        (Configured, r"takes all settings in one object, 'config'\.\nWrite a class that makes this object"),
        (Configured, r"class Mine\(Configured\):\n +def __init__\(self, dim, num_heads\):\n +config = Settings\(…\)"),
        (BreaksWhenBuilt, r"BreaksWhenBuilt\(dim=24\) fails: AttributeError: planted"),
        (IsRandom, r"\[B, N, C\] returns something else each time"),
    ],
)
def test_what_cannot_be_adapted_says_what_was_found_and_what_is_needed(cls, message):
    with pytest.raises(UserError, match=message):
        build_attention(cls, **WIDTHS)


def test_an_argument_that_nothing_fills_can_be_an_option():
    for given, found in (
        ("7", 7),
        ("(3,5)", (3, 5)),
        ("[3,5]", [3, 5]),
        ("embed_dim", 24),
        ("head_dim", 6),
        ("a", "a"),
    ):
        adapted = build_attention(f"{__name__}:AsksForMore:window={given}", **WIDTHS)
        assert adapted.inner.window == found
    assert "window ← a, as asked" in adapted.mapping
    assert type(build_attention(f"{__name__}:OwnConfig", **WIDTHS).inner) is OwnConfig


class TakesPairs(Plain):
    def __init__(self, dim, kernel_size=(3, 3), stride=1, widths=()):
        super().__init__(dim, 1)
        self.asked = (kernel_size, stride, widths)

    def forward(self, x):
        return self.proj(x)


def test_options_can_be_pairs_and_stay_one_name():
    text = f"{__name__}:TakesPairs:kernel_size=(3, 5),stride=(2,1),widths=(8,)"
    spec = parse_attention(text)
    assert str(spec) == f"{__name__}:TakesPairs:kernel_size=(3,5),stride=(2,1),widths=(8,)"
    assert parse_attention(str(spec)) == spec
    assert build_attention(spec, **WIDTHS).inner.asked == ((3, 5), (2, 1), (8,))
    swin = "torchvision.models.swin_transformer:ShiftedWindowAttention:shift_size=[2,2],window_size=[4,4]"
    assert str(parse_attention(swin)) == swin
    assert "x as [B, rows, cols, C]" in build_attention(swin, **WIDTHS).mapping
    with pytest.raises(UserError, match=r"kernel_size must be several values in brackets, as \(3,3\), not '3'"):
        parse_attention(f"{__name__}:TakesPairs:kernel_size=3")
    with pytest.raises(UserError, match="rank must be a whole number"):
        parse_attention("xfa:rank=(1,2)")


def test_an_option_can_have_a_value_for_each_stage():
    spec = parse_attention(f"{__name__}:AsksForMore:window=8/4/2")
    assert str(spec) == f"{__name__}:AsksForMore:window=8/4/2"
    model = build_model(spec, size="xxs")
    layers = [module for module in model.modules() if isinstance(module, XFLayer)]
    assert [layer.attn.inner.window for layer in layers] == [8] * 2 + [4] * 4 + [2] * 3
    assert build_attention(spec, **WIDTHS).inner.window == 8
    tokens = [
        layer.attn.tokens
        for layer in build_model("linformer:tokens=1024/256/64").modules()
        if isinstance(layer, XFLayer)
    ]
    assert tokens == [1024] * 2 + [256] * 4 + [64] * 3
    with pytest.raises(UserError, match="tokens has 2 values for 3 stages"):
        build_model("linformer:tokens=1024/256")
    with pytest.raises(UserError, match="tokens must be a whole number, not ''"):
        parse_attention("linformer:tokens=1024/")


def test_a_width_can_follow_the_stage():
    model = build_model(f"{__name__}:AsksForMore:window=embed_dim", size="xxs")
    windows = [module.inner.window for module in model.modules() if hasattr(module, "mapping")]
    assert windows == [64] * 2 + [80] * 4 + [96] * 3


def test_a_module_of_one_grid_refuses_others():
    adapted = build_attention("timm.models.swin_transformer:WindowAttention", **WIDTHS)
    assert adapted.mapping.endswith("takes a grid of 7 × 7 tokens, but not 6 × 8, 8 × 8")
    assert adapted(torch.randn(2, 49, 24), (7, 7)).shape == (2, 49, 24)
    with pytest.raises(UserError, match="WindowAttention fails on a grid of 4 x 6 tokens"):
        adapted(torch.randn(2, 24, 24), GRID)
