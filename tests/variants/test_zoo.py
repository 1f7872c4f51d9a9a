"""The zoo: each mechanism against an implementation that nobody here wrote, or against its equation, token by token."""

import math
from functools import partial

import equality
import equations
import pytest
import torch
from equality import in_float64, values_and_gradients  # noqa: F401
from timm.layers.attention2d import MultiQueryAttentionV2
from timm.models import metaformer, pvt_v2, swiftformer
from timm.models.efficientvit_mit import LiteMLA
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.xcit import XCA
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attention_variants import performer
from xbench.attention.registry import catalogue
from xbench.attention.spec import build_attention
from xbench.errors import UserError

ZOO = (
    "agent",
    "agent:pool=2",
    "efficient",
    "external",
    "focused",
    "global-average",
    "hydra",
    "identity",
    "linear",
    "linformer",
    "mlla",
    "multi-query",
    "performer",
    "pool",
    "relu-linear",
    "relu-linear:scale=5",
    "sigmoid",
    "spatial-reduction",
    "spatial-reduction:ratio=1",
    "swift",
    "window",
    "window:window=3,shift=1",
    "xca",
)
GRIDS = ((1, 1), (1, 7), (5, 3), (8, 8))


assert_same = partial(equality.assert_same, rtol=1e-9, atol=1e-11)


def as_image(x, grid):
    """[B, N, C] → [B, C, rows, cols]"""
    return x.transpose(1, 2).unflatten(2, grid)


def as_tokens(image):
    """[B, C, rows, cols] → [B, N, C]"""
    return image.flatten(2).transpose(1, 2)


# Implementations of others, with our weights.


def test_xca_is_timm_xca():
    ours = build_attention("xca", embed_dim=24, qkv_dim=24, num_heads=3)
    theirs = XCA(24, num_heads=3, qkv_bias=True)
    ours.temperature.data.uniform_(0.5, 2)
    theirs.load_state_dict(ours.state_dict())
    x, named = torch.randn(2, 15, 24), dict(theirs.named_parameters())
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, ours.parameters()),
        values_and_gradients(theirs, x, [named[name] for name, _ in ours.named_parameters()]),
    )


@pytest.mark.parametrize("scale", [0, 3, 5])
def test_relu_linear_is_timm_lite_mla(scale):
    ours = build_attention(f"relu-linear:scale={scale}", embed_dim=24, qkv_dim=16, num_heads=2)
    scales = (scale,) if scale else ()
    # timm raises ε from the authors' 1e-15 to 1e-5.
    theirs = LiteMLA(24, 24, heads=2, dim=8, use_bias=(False, True), norm_layer=(None, None), scales=scales, eps=1e-15)
    theirs.qkv.conv.weight.data = ours.qkv.weight.data[:, :, None, None]
    theirs.proj.conv.weight.data = ours.proj.weight.data[:, :, None, None]
    theirs.proj.conv.bias.data = ours.proj.bias.data
    convs = []
    if scale:
        theirs.aggreg[0].load_state_dict(ours.aggregate.state_dict())
        convs = list(theirs.aggreg.parameters())
    x = torch.randn(2, 15, 24)
    matched = [theirs.qkv.conv.weight, *convs, theirs.proj.conv.weight, theirs.proj.conv.bias]
    # Theirs forms the two products in float32 whatever the input.
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, ours.parameters()),
        values_and_gradients(lambda x: as_tokens(theirs(as_image(x, (3, 5)))), x, matched),
        rtol=1e-5,
        atol=1e-6,
    )


def test_swift_is_timm_efficient_additive_attention():
    ours = build_attention("swift", embed_dim=24, qkv_dim=24, num_heads=4)
    theirs = swiftformer.EfficientAdditiveAttention(24, 24, num_heads=1)
    for ours_linear, linears in (
        (ours.qk, (theirs.to_query, theirs.to_key)),
        (ours.transform, (theirs.proj,)),
        (ours.proj, (theirs.final,)),
    ):
        for linear, weight, bias in zip(
            linears,
            ours_linear.weight.data.chunk(len(linears)),
            ours_linear.bias.data.chunk(len(linears)),
            strict=True,
        ):
            linear.weight.data, linear.bias.data = weight, bias
    theirs.w_g.data = ours.score.data
    x = torch.randn(2, 15, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, [ours.score, ours.transform.weight, ours.proj.weight]),
        values_and_gradients(
            lambda x: as_tokens(theirs(as_image(x, (3, 5)))),
            x,
            [theirs.w_g, theirs.proj.weight, theirs.final.weight],
        ),
    )


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("grid", GRIDS)
def test_pool_is_timm_pooling(size, grid):
    ours = build_attention(f"pool:size={size}", embed_dim=24, qkv_dim=16, num_heads=4)
    theirs = metaformer.Pooling(pool_size=size)
    x = torch.randn(2, math.prod(grid), 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, grid), x, []),
        values_and_gradients(lambda x: as_tokens(theirs(as_image(x, grid))), x, []),
    )


@pytest.mark.parametrize(("shift", "grid"), [(0, (8, 12)), (2, (8, 12)), (1, (12, 8)), (0, (3, 8)), (0, (2, 3))])
def test_window_is_timm_swin_block_where_the_grid_divides(shift, grid):
    ours = build_attention(f"window:window=4,shift={shift}", embed_dim=24, qkv_dim=24, num_heads=3)
    block = SwinTransformerBlock(24, grid, num_heads=3, window_size=4, shift_size=shift, always_partition=min(grid) > 3)
    theirs = block.attn
    theirs.qkv.load_state_dict(ours.qkv.state_dict())
    theirs.proj.load_state_dict(ours.proj.state_dict())
    # Their table belongs to the window that fits the grid; ours holds the same offsets in its middle.
    fits = [min(4, side) for side in grid]
    middle = [slice(4 - side, 4 + side - 1) for side in fits]
    theirs.relative_position_bias_table.data = ours.bias_table.data.view(7, 7, 3)[middle[0], middle[1]].flatten(0, 1)
    x = torch.randn(2, math.prod(grid), 24)

    assert_same(
        values_and_gradients(lambda x: ours(x, grid), x, [ours.qkv.weight, ours.proj.weight]),
        values_and_gradients(
            lambda x: block._attn(x.unflatten(1, grid)).flatten(1, 2), x, [theirs.qkv.weight, theirs.proj.weight]
        ),
        atol=1e-9,
    )


@pytest.mark.parametrize(("ratio", "grid"), [(1, (3, 5)), (2, (4, 6)), (2, (3, 5)), (4, (3, 9)), (4, (1, 1))])
def test_spatial_reduction_is_timm_pvt_attention_on_the_padded_grid(ratio, grid):
    ours = build_attention(f"spatial-reduction:ratio={ratio}", embed_dim=24, qkv_dim=24, num_heads=3)
    theirs = pvt_v2.Attention(24, num_heads=3, sr_ratio=ratio)
    for name in ("q", "kv", "proj"):
        getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
    if ratio > 1:
        theirs.sr.weight.data = ours.reduce.weight.data.view(24, ratio, ratio, 24).permute(0, 3, 1, 2)
        theirs.sr.bias.data = ours.reduce.bias.data
        theirs.norm.load_state_dict(ours.norm.state_dict())
    rows, cols = padded = tuple(-(-side // ratio) * ratio for side in grid)

    def on_the_padded_grid(x):
        x = F.pad(x.unflatten(1, grid), (0, 0, 0, cols - grid[1], 0, rows - grid[0]))
        return theirs(x.flatten(1, 2), padded).unflatten(1, padded)[:, : grid[0], : grid[1]].flatten(1, 2)

    x = torch.randn(2, math.prod(grid), 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, grid), x, [ours.q.weight, ours.kv.weight, ours.proj.weight]),
        values_and_gradients(on_the_padded_grid, x, [theirs.q.weight, theirs.kv.weight, theirs.proj.weight]),
    )


def test_multi_query_is_timm_multi_query_attention():
    ours = build_attention("multi-query", embed_dim=24, qkv_dim=16, num_heads=4)
    theirs = MultiQueryAttentionV2(24, num_heads=4, key_dim=4, value_dim=4)
    for bias in (ours.q.bias, ours.kv.bias, ours.proj.bias):  # theirs has none
        bias.data.zero_()
    theirs.query_proj.data = ours.q.weight.data.view(4, 4, 24)
    theirs.key_proj.data, theirs.value_proj.data = (part.T for part in ours.kv.weight.data.chunk(2))
    theirs.out_proj.data = ours.proj.weight.data.view(24, 4, 4)
    x = torch.randn(2, 15, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, [ours.q.weight, ours.proj.weight]),
        values_and_gradients(lambda x: as_tokens(theirs(as_image(x, (3, 5)))), x, [theirs.query_proj, theirs.out_proj]),
    )


# Special cases of softmax attention, which test_variants.py compares with torch and timm.


def softmax_attention(embed_dim, qkv_dim, num_heads, proj):
    attn = build_attention("mhsa", embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
    attn.proj = proj
    return attn


def test_global_average_is_softmax_attention_without_a_preference():
    ours = build_attention("global-average", embed_dim=24, qkv_dim=16, num_heads=4)
    uniform = softmax_attention(24, 16, 4, ours.proj)
    uniform.qkv.weight.data[:32], uniform.qkv.bias.data[:32] = 0, 0
    uniform.qkv.weight.data[32:], uniform.qkv.bias.data[32:] = ours.value.weight.data, ours.value.bias.data
    x = torch.randn(2, 15, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, ours.proj.parameters()),
        values_and_gradients(lambda x: uniform(x, (3, 5)), x, ours.proj.parameters()),
    )


def test_identity_is_softmax_attention_of_a_single_token():
    ours = build_attention("identity", embed_dim=24, qkv_dim=16, num_heads=4)
    alone = softmax_attention(24, 16, 4, ours.proj)
    alone.qkv.weight.data[32:], alone.qkv.bias.data[32:] = ours.value.weight.data, ours.value.bias.data
    x = torch.randn(2, 15, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, ours.proj.parameters()),
        values_and_gradients(lambda x: alone(x.view(30, 1, 24), (1, 1)).view(2, 15, 24), x, ours.proj.parameters()),
    )


def test_linformer_without_shortening_is_softmax_attention():
    ours = build_attention("linformer:tokens=15,rank=15", embed_dim=24, qkv_dim=16, num_heads=4)
    ours.shorten.data[:] = torch.eye(15)
    full = softmax_attention(24, 16, 4, ours.proj)
    full.qkv.weight.data = torch.cat([linear.weight.data for linear in (ours.q, ours.k, ours.v)])
    full.qkv.bias.data = torch.cat([linear.bias.data for linear in (ours.q, ours.k, ours.v)])
    x, shared = torch.randn(2, 15, 24), [*ours.proj.parameters()]
    assert_same(
        values_and_gradients(lambda x: ours(x, (3, 5)), x, shared),
        values_and_gradients(lambda x: full(x, (3, 5)), x, shared),
    )


def test_performer_tends_to_softmax_attention():
    ours = build_attention("performer:features=16384", embed_dim=24, qkv_dim=16, num_heads=4)
    exact = softmax_attention(24, 16, 4, ours.proj)
    exact.qkv = ours.qkv
    x = torch.randn(2, 15, 24)
    expected = exact(x, (3, 5))
    error = (ours(x, (3, 5)) - expected).norm() / (expected - expected.mean(dim=1, keepdim=True)).norm()
    assert error < 0.1


# Equations, token by token.


@pytest.mark.parametrize(
    ("name", "equation", "grid"),
    [
        ("agent:pool=2", equations.agent, (3, 5)),
        ("agent:pool=3", equations.agent, (2, 4)),
        ("efficient", equations.efficient, (3, 5)),
        ("external:memory=5", equations.external, (3, 5)),
        ("focused", equations.focused, (3, 5)),
        ("focused:focus=2,kernel=3", equations.focused, (4, 2)),
        ("hydra", equations.hydra, (3, 5)),
        ("linear", equations.linear, (3, 5)),
        ("linformer:tokens=15,rank=4", equations.linformer, (3, 5)),
        ("linformer:tokens=15,rank=4", equations.linformer, (2, 3)),
        ("mlla", equations.mlla, (3, 5)),
        ("performer:features=3", equations.performer, (3, 5)),
        ("performer:features=11", equations.performer, (2, 3)),
        ("relu-linear", equations.relu_linear, (3, 5)),
        ("sigmoid", equations.sigmoid, (3, 5)),
        ("window:window=3", equations.window, (3, 5)),
        ("window:window=3,shift=1", equations.window, (5, 4)),
        ("window:window=2,shift=1", equations.window, (1, 5)),
        ("window:window=4,shift=3", equations.window, (6, 3)),
    ],
)
@pytest.mark.parametrize("spread", [0.1, 1], ids=["near the start", "large biases and norms"])
def test_mechanism_is_its_equation(name, equation, grid, spread):
    attn = build_attention(name, embed_dim=12, qkv_dim=8, num_heads=2)
    for parameter in attn.parameters():
        parameter.data += spread * torch.randn_like(parameter)
    x = torch.randn(2, math.prod(grid), 12)
    assert_same(
        values_and_gradients(lambda x: attn(x, grid), x, attn.parameters()),
        values_and_gradients(lambda x: torch.stack([equation(attn, s, grid) for s in x]), x, attn.parameters()),
    )


# What all of them owe the contract.


def test_zoo_is_complete():
    tested_elsewhere = {"mhsa", "mhsa-sdpa", "separable", "xfa"}
    built_in = {name for name, info in catalogue().items() if info.target.startswith("attention_variants.")}
    assert {name.partition(":")[0] for name in ZOO} == built_in - tested_elsewhere


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ZOO)
def test_macs_formula_is_what_torch_counts(name, grid):
    tokens = math.prod(grid)
    with torch.device("meta"):
        attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
        x = torch.empty(1, tokens, 24)
    with FlopCounterMode(display=False) as counter:
        attn(x, grid)
    # Products element by element, and the average pooling that the formula counts as a convolution.
    unseen = {"hydra": 2 * tokens * 16, "swift": tokens * 16, "pool": 9 * tokens * 24}.get(name, 0)
    assert attn.macs(grid) == counter.get_total_flops() // 2 + unseen > 0


@pytest.mark.parametrize("name", sorted({name.partition(":")[0] for name in ZOO}))
def test_macs_grow_as_stated(name):
    attn = build_attention(name, embed_dim=144, qkv_dim=96, num_heads=4)
    growth = math.log(attn.macs((256, 256)) / attn.macs((128, 128)), 4)
    stated = {"O(N)": 1, "O(N²)": 2}[catalogue()[name].cost]
    assert growth == pytest.approx(0 if name == "global-average" else stated, abs=0.1)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ZOO)
def test_any_grid_and_order_of_the_batch(name, grid):
    attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
    x = torch.randn(3, math.prod(grid), 24)
    y = attn(x, grid)
    assert y.shape == x.shape
    assert_same([attn(x.flip(0), grid)], [y.flip(0)])
    assert_same([attn(x[1:2], grid)], [y[1:2]])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ZOO)
def test_finite_in_bfloat16(name, grid):
    attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4).bfloat16()
    x = torch.randn(2, math.prod(grid), 24, dtype=torch.bfloat16)
    # A zero and a large token are what breaks norms and exponentials.
    x[0, 0], x[1, 0] = 0, 100
    assert all(t.isfinite().all() for t in values_and_gradients(lambda x: attn(x, grid), x, attn.parameters()))


@pytest.mark.parametrize("name", ["performer", "relu-linear"])
def test_what_divides_by_less_than_fp16_holds_is_right_in_fp16(name):
    """Large tokens leave the performer's features at ε; in fp16 their product, ε², would be zero."""
    attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
    x = 10 * torch.randn(2, 15, 24)
    expected = attn(x, (3, 5))
    found = attn.half()(x.half(), (3, 5)).double()
    assert (found - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("name", ["identity", "window:window=2", "window:window=2,shift=1"])
def test_what_does_not_mix_does_not_leak(name):
    """The gradient of one token's output reaches only the tokens that it attends to, padding and wrapping or not."""
    attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
    x = torch.randn(1, 15, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(attn(x, (3, 5))[0, -1].sum(), x)
    reached = gradient[0].abs().sum(-1).nonzero().flatten().tolist()
    assert reached == {"identity": [14], "window:window=2": [14], "window:window=2,shift=1": [8, 9, 13, 14]}[name]


def test_linformer_refuses_more_tokens_than_it_was_built_for():
    attn = build_attention("linformer", embed_dim=24, qkv_dim=16, num_heads=4)
    assert attn(torch.randn(1, 256, 24), (16, 16)).shape == (1, 256, 24)
    with pytest.raises(UserError, match=r"at most 256 tokens and got 272 \(grid 16 x 17\).*linformer:tokens=272"):
        attn(torch.randn(1, 272, 24), (16, 17))


def test_performer_directions_are_orthogonal_and_the_same_everywhere():
    directions = performer.orthogonal_directions(7, 4, seed=3)
    for group in (directions[:4], directions[4:]):
        products = group @ group.T
        torch.testing.assert_close(products, products.diagonal().diag())
    torch.set_default_dtype(torch.float32)
    assert performer.orthogonal_directions(7, 4, seed=3).equal(directions)
    first, again, other = (
        build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4).directions
        for name in ("performer", "performer", "performer:seed=1")
    )
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        *((f"{name}:num_heads=3", "does not divide into 3 heads") for name in ("agent", "linear", "window", "xca")),
        ("agent:pool=0", "pool must be at least 1"),
        ("external:memory=0", "memory must be at least 1"),
        ("focused:focus=0", "focus must be at least 1"),
        ("focused:kernel=4", "kernel must be odd"),
        ("linformer:rank=0", "must be at least 1"),
        ("performer:features=-1", "features must be at least 0"),
        ("pool:size=2", "size must be odd"),
        ("relu-linear:scale=4", "scale must be 0 or odd"),
        ("spatial-reduction:ratio=0", "ratio must be at least 1"),
        ("window:window=0", "window must be at least 1"),
        ("window:window=4,shift=4", "less than the window 4"),
    ],
)
def test_refused_by_the_variant(spec, message):
    with pytest.raises(UserError, match=message):
        build_attention(spec, embed_dim=24, qkv_dim=16, num_heads=4)


def test_mlla_refuses_a_width_without_pairs_for_rows_and_columns():
    with pytest.raises(UserError, match="qkv_dim 18 does not divide into pairs"):
        build_attention("mlla", embed_dim=24, qkv_dim=18, num_heads=3)
