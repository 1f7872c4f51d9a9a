"""The zoo: each mechanism against an implementation that nobody here wrote, or against its equation, token by token."""

import math
from functools import partial

import equality
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
from xbench.attention import build_attention
from xbench.errors import UserError
from xbench.registry import catalogue

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
    theirs = LiteMLA(24, 24, heads=2, dim=8, use_bias=(False, True), norm_layer=(None, None), scales=scales)
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
    full.qkv = ours.qkv
    x, shared = torch.randn(2, 15, 24), [*ours.qkv.parameters(), *ours.proj.parameters()]
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


# Equations, for one sequence x [N, C]. Every loop is over tokens; nothing is re-associated.


def heads(attn, *tensors):
    """For each head the columns [N, D] of each tensor [N, H · D] that belong to it."""
    return zip(*(tensor.chunk(attn.num_heads, dim=-1) for tensor in tensors), strict=True)


def weighted_mean(q, k, v, similarity, epsilon=0.0):
    """Σ_j s(q_i, k_j) v_j / (Σ_j s(q_i, k_j) + ε), with every pair of tokens written out."""
    rows = []
    for q_i in q:
        scores = torch.stack([similarity(q_i, k_j) for k_j in k])
        rows.append(sum(s * v_j for s, v_j in zip(scores, v, strict=True)) / (scores.sum() + epsilon))
    return torch.stack(rows)


def places(grid):
    return [(row, col) for row in range(grid[0]) for col in range(grid[1])]


def depthwise(conv, x, grid):
    """A depth-wise convolution of [N, D] on the grid: tap by tap, zero outside."""
    side = conv.kernel_size[0]
    rows = []
    for row, col in places(grid):
        total = conv.bias
        for i in range(side):
            for j in range(side):
                r, c = row + i - side // 2, col + j - side // 2
                if 0 <= r < grid[0] and 0 <= c < grid[1]:
                    total = total + conv.weight[:, 0, i, j] * x[r * grid[1] + c]
        rows.append(total)
    return torch.stack(rows)


def scaled_exp(q, k):
    return (q @ k / math.sqrt(len(q))).exp()


def linear(attn, x, grid):
    def similarity(q, k):
        return (F.elu(q) + 1) @ (F.elu(k) + 1)

    parts = heads(attn, *attn.qkv(x).chunk(3, dim=-1))
    return attn.proj(torch.cat([weighted_mean(q, k, v, similarity, 1e-6) for q, k, v in parts], dim=-1))


def relu_linear(attn, x, grid):
    def similarity(q, k):
        return F.relu(q) @ F.relu(k)

    parts = [head.chunk(3, dim=-1) for head in attn.qkv(x).chunk(attn.num_heads, dim=-1)]
    return attn.proj(torch.cat([weighted_mean(q, k, v, similarity, 1e-5) for q, k, v in parts], dim=-1))


def efficient(attn, x, grid):
    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        over_tokens = [k[:, d].exp() / k[:, d].exp().sum() for d in range(k.shape[1])]
        context = [sum(w_n * v_n for w_n, v_n in zip(w, v, strict=True)) for w in over_tokens]
        rows = [sum(p * c for p, c in zip(q_i.exp() / q_i.exp().sum(), context, strict=True)) for q_i in q]
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def focused(attn, x, grid):
    """The power first and the length after it, as the paper writes them."""

    def feature_map(row):
        row = (F.relu(row) + 1e-6) / F.softplus(attn.scale)
        power = row**attn.focus
        return row.square().sum().sqrt() * power / power.square().sum().sqrt()

    q, k, v = attn.qkv(x).chunk(3, dim=-1)
    q, k = (torch.stack([feature_map(row) for row in t]) for t in (q, k))
    outputs = [
        weighted_mean(q, k, v, torch.dot, 1e-6) + depthwise(attn.conv, v, grid) for q, k, v in heads(attn, q, k, v)
    ]
    return attn.proj(torch.cat(outputs, dim=-1))


def stretch(values, side):
    """Bilinear interpolation of 7 values to ``side`` along the first axis, half-pixel centres, clamped at the ends."""
    rows = []
    for i in range(side):
        at = max((i + 0.5) * 7 / side - 0.5, 0)
        low = min(int(at), 6)
        high = min(low + 1, 6)
        rows.append(values[low] + (at - low) * (values[high] - values[low]))
    return torch.stack(rows)


def agent(attn, x, grid):
    q_all, k_all, v_all = attn.qkv(x).chunk(3, dim=-1)
    cells = []
    for i, j in places((attn.pool, attn.pool)):
        members = [
            q_all[row * grid[1] + col]
            for row, col in places(grid)
            if math.floor(i * grid[0] / attn.pool) <= row < math.ceil((i + 1) * grid[0] / attn.pool)
            and math.floor(j * grid[1] / attn.pool) <= col < math.ceil((j + 1) * grid[1] / attn.pool)
        ]
        cells.append(sum(members) / len(members))
    outputs = []
    for h, (q, k, v, agents) in enumerate(heads(attn, q_all, k_all, v_all, torch.stack(cells))):
        key_bias, query_bias = (
            stretch(stretch(bias[h].permute(1, 2, 0), grid[0]).transpose(0, 1), grid[1]).transpose(0, 1).flatten(0, 1)
            for bias in (attn.key_bias, attn.query_bias)  # [N, agents]
        )
        collected = []
        for a, agent_row in enumerate(agents):
            scores = torch.stack([scaled_exp(agent_row, k[n]) * key_bias[n, a].exp() for n in range(len(k))])
            collected.append(sum(s * row for s, row in zip(scores / scores.sum(), v, strict=True)))
        rows = []
        for n, q_n in enumerate(q):
            scores = torch.stack([scaled_exp(q_n, agents[a]) * query_bias[n, a].exp() for a in range(len(agents))])
            rows.append(sum(s * row for s, row in zip(scores / scores.sum(), collected, strict=True)))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1) + depthwise(attn.conv, v_all, grid))


def hydra(attn, x, grid):
    q, k, v = attn.qkv(x).chunk(3, dim=-1)
    context = sum(k_m / k_m.square().sum().sqrt() * v_m for k_m, v_m in zip(k, v, strict=True))
    return attn.proj(torch.stack([q_n / q_n.square().sum().sqrt() * context for q_n in q]))


def window(attn, x, grid):
    """Tokens meet where their places, moved by the shift, fall into the same window; there is no padding here."""
    q_all, k_all, v_all = attn.qkv(x).chunk(3, dim=-1)
    moves = [attn.shift if side > attn.window else 0 for side in grid]
    own = [
        tuple((place - move) // min(attn.window, side) for place, move, side in zip(at, moves, grid, strict=True))
        for at in places(grid)
    ]
    table = attn.bias_table.view(2 * attn.window - 1, 2 * attn.window - 1, -1)
    outputs = []
    for h, (q, k, v) in enumerate(heads(attn, q_all, k_all, v_all)):
        rows = []
        for n, (r_n, c_n) in enumerate(places(grid)):
            scores = [
                (m, scaled_exp(q[n], k[m]) * table[r_n - r + attn.window - 1, c_n - c + attn.window - 1, h].exp())
                for m, (r, c) in enumerate(places(grid))
                if own[m] == own[n]
            ]
            rows.append(sum(s * v[m] for m, s in scores) / sum(s for _, s in scores))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def performer_features(attn, x, grid):
    dim = attn.proj.in_features // attn.num_heads
    directions = attn.directions * dim**0.25

    def feature_map(row):
        row = row / dim**0.25
        return torch.stack([(w @ row - row @ row / 2).exp() for w in directions]) / math.sqrt(len(directions))

    def similarity(q, k):
        return feature_map(q) @ feature_map(k)

    parts = heads(attn, *attn.qkv(x).chunk(3, dim=-1))
    return attn.proj(torch.cat([weighted_mean(q, k, v, similarity) for q, k, v in parts], dim=-1))


def external(attn, x, grid):
    keys, values = attn.keys.weight, attn.values.weight.T  # [memory, D]
    outputs = []
    for (q,) in heads(attn, attn.q(x)):
        columns = [torch.stack([(q_n @ key).exp() for q_n in q]) for key in keys]
        columns = [column / column.sum() for column in columns]
        rows = []
        for n in range(len(q)):
            total = sum(column[n] for column in columns) + 1e-9
            rows.append(sum(column[n] / total * value for column, value in zip(columns, values, strict=True)))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def linformer(attn, x, grid):
    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        k, v = (
            torch.stack([sum(row[n] * t[n] for n in range(len(t))) for row in shorten])
            for shorten, t in zip(attn.shorten, (k, v), strict=True)
        )
        outputs.append(weighted_mean(q, k, v, scaled_exp))
    return attn.proj(torch.cat(outputs, dim=-1))


def sigmoid(attn, x, grid):
    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        rows = [sum(v_j / (1 + len(k) / scaled_exp(q_i, k_j)) for k_j, v_j in zip(k, v, strict=True)) for q_i in q]
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def mlla(attn, x, grid):
    """The rotations as complex numbers, as in the authors' code."""
    v_all = F.silu(depthwise(attn.conv, attn.value(x), grid))
    q_all, k_all = (F.elu(attn.qk(v_all)) + 1).chunk(2, dim=-1)
    quarter = q_all.shape[-1] // 4
    frequencies = [10_000 ** (-i / quarter) for i in range(quarter)]
    angles = torch.tensor([[place * f for place in at for f in frequencies] for at in places(grid)])

    def turned(t):
        pairs = torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    outputs = []
    for q, k, v, q_turned, k_turned in heads(attn, q_all, k_all, v_all, turned(q_all), turned(k_all)):
        rows = []
        for q_i, turned_i in zip(q, q_turned, strict=True):
            total = sum(q_i @ k_j for k_j in k) + len(k) * 1e-6
            rows.append(sum(turned_i @ turned_j * v_j for turned_j, v_j in zip(k_turned, v, strict=True)) / total)
        outputs.append(torch.stack(rows))
    return attn.proj((torch.cat(outputs, dim=-1) + depthwise(attn.lepe, v_all, grid)) * F.silu(attn.gate(x)))


@pytest.mark.parametrize(
    ("name", "equation", "grid"),
    [
        ("agent:pool=2", agent, (3, 5)),
        ("agent:pool=3", agent, (2, 4)),
        ("efficient", efficient, (3, 5)),
        ("external:memory=5", external, (3, 5)),
        ("focused", focused, (3, 5)),
        ("focused:focus=2,kernel=3", focused, (4, 2)),
        ("hydra", hydra, (3, 5)),
        ("linear", linear, (3, 5)),
        ("linformer:tokens=15,rank=4", linformer, (3, 5)),
        ("linformer:tokens=15,rank=4", linformer, (2, 3)),
        ("mlla", mlla, (3, 5)),
        ("performer:features=3", performer_features, (3, 5)),
        ("performer:features=11", performer_features, (2, 3)),
        ("relu-linear", relu_linear, (3, 5)),
        ("sigmoid", sigmoid, (3, 5)),
        ("window:window=3", window, (3, 5)),
        ("window:window=3,shift=1", window, (5, 4)),
        ("window:window=2,shift=1", window, (1, 5)),
        ("window:window=4,shift=3", window, (6, 3)),
    ],
)
def test_mechanism_is_its_equation(name, equation, grid, monkeypatch):
    # ε is a guard of the code and no part of the estimate.
    monkeypatch.setattr(performer, "EPSILON", 0.0)
    attn = build_attention(name, embed_dim=12, qkv_dim=8, num_heads=2)
    for parameter in attn.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
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
