"""Each attention against a reference that nobody here wrote, or against its equation, in values and gradients."""

import itertools

import pytest
import torch
from equality import assert_same, in_float64, values_and_gradients  # noqa: F401
from timm.layers import Attention
from timm.models.mobilevit import LinearSelfAttention
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attention_variants.mhsa_sdpa import BACKENDS
from xbench.attention.registry import built_in
from xbench.attention.spec import build_attention
from xbench.errors import UserError

READINGS = (
    "xfa:context=grid",
    "xfa:scale=sum",
    "xfa:temperature=layer",
    "xfa:order=plain",
    "xfa:context=grid,scale=sum,temperature=layer,order=plain,rank=3,kernel=5",
)
ALL = ("mhsa", "mhsa-sdpa", "mhsa-sdpa:backend=math", "separable", "xfa", "xfa:rank=3,kernel=5", *READINGS)
CPU_BACKENDS = ("math", "flash")
GRID, TOKENS = (3, 5), 15


@pytest.mark.parametrize("name", ["mhsa", "mhsa-sdpa"])
def test_mhsa_is_torch_multihead_attention(name):
    ours = build_attention(name, embed_dim=24, qkv_dim=24, num_heads=4)
    theirs = nn.MultiheadAttention(24, 4, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, TOKENS, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, GRID), x, [ours.qkv.weight, ours.proj.weight]),
        values_and_gradients(lambda x: theirs(x, x, x)[0], x, [theirs.in_proj_weight, theirs.out_proj.weight]),
    )


@pytest.mark.parametrize("name", ["mhsa", "mhsa-sdpa"])
def test_mhsa_is_timm_attention(name):
    ours = build_attention(name, embed_dim=24, qkv_dim=24, num_heads=3)
    theirs = Attention(24, num_heads=3, qkv_bias=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, TOKENS, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, GRID), x, ours.parameters()),
        values_and_gradients(theirs, x, theirs.parameters()),
    )


COMPUTES = {name: info.computes for name, info in built_in().items() if info.computes}
SAME = [*COMPUTES.items(), *((f"mhsa-sdpa:backend={backend}", "mhsa") for backend in CPU_BACKENDS)]


@pytest.mark.parametrize(
    ("name", "computed"), [*SAME, ("xfa:order=plain", "xfa"), ("xfa:order=plain,rank=3", "xfa:rank=3")]
)
def test_what_computes_the_same_function(name, computed):
    """At the same parameters, where widths differ: what is stated of a name, and of options in their docstring."""
    ours = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
    theirs = build_attention(computed, embed_dim=24, qkv_dim=16, num_heads=4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, TOKENS, 24)
    assert_same(
        values_and_gradients(lambda x: ours(x, GRID), x, ours.parameters()),
        values_and_gradients(lambda x: theirs(x, GRID), x, theirs.parameters()),
    )


def test_no_other_name_is_an_attention_that_another_one_is():
    """Of all that have the same parameters, only those that say so compute the same."""
    x = torch.randn(1, TOKENS, 24)
    for first, second in itertools.combinations(built_in(), 2):
        ours, theirs = (build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4) for name in (first, second))
        shapes = [{key: value.shape for key, value in attn.state_dict().items()} for attn in (ours, theirs)]
        if shapes[0] == shapes[1]:
            theirs.load_state_dict(ours.state_dict())
            stated = COMPUTES.get(first, first) == COMPUTES.get(second, second)
            assert torch.allclose(ours(x, GRID), theirs(x, GRID)) == stated, (first, second)


@pytest.mark.parametrize("backend", sorted({*BACKENDS} - {*CPU_BACKENDS}))
def test_a_backend_that_the_device_lacks_is_said(backend):
    attn = build_attention(f"mhsa-sdpa:backend={backend}", embed_dim=24, qkv_dim=16, num_heads=4)
    with pytest.raises(UserError, match=rf"no '{backend}' kernel for attention on cpu in float64 with head_dim 4"):
        attn(torch.randn(2, TOKENS, 24), GRID)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mhsa-sdpa:backend=fused", r"backend must be auto, math, flash, efficient or cudnn, not 'fused'"),
        ("xfa:context=gird", "context must be tokens or grid, not 'gird'"),
        ("xfa:scale=1", "scale must be mean or sum, not '1'"),
        ("xfa:temperature=heads", "temperature must be head or layer"),
        ("xfa:order=reordered", "order must be auto, plain, folded or fused"),
    ],
)
def test_an_unknown_reading_is_refused(spec, message):
    with pytest.raises(UserError, match=message):
        build_attention(spec, embed_dim=24, qkv_dim=16, num_heads=4)


def test_separable_is_timm_linear_self_attention():
    ours = build_attention("separable", embed_dim=24, qkv_dim=24, num_heads=4)
    theirs = LinearSelfAttention(24)
    for linear, conv in ((ours.qkv, theirs.qkv_proj), (ours.proj, theirs.out_proj)):
        conv.weight.data, conv.bias.data = linear.weight.data[:, :, None, None], linear.bias.data
    x = torch.randn(2 * 4, TOKENS, 24)  # two images, four positions inside the patch

    def in_their_layout(x):
        y = theirs(x.view(2, 4, TOKENS, 24).permute(0, 3, 1, 2))  # [B, C, P, N]
        return y.permute(0, 2, 3, 1).reshape(x.shape)

    assert_same(
        values_and_gradients(lambda x: ours(x, GRID), x, ours.parameters()),
        values_and_gradients(in_their_layout, x, theirs.parameters()),
    )


def context_over_tokens(weight, k):
    """K_c of one head and rank: weight [D, kernel], k a list of N vectors → N numbers, zeros beyond the ends."""
    half = weight.shape[-1] // 2
    return [
        sum(weight[:, t] @ k[n + t - half] for t in range(weight.shape[-1]) if 0 <= n + t - half < len(k))
        for n in range(len(k))
    ]


def context_over_grid(weight, k):
    """The same with weight [D, kernel, kernel] over the rows and columns in which the tokens lie."""
    (rows, cols), half = GRID, weight.shape[-1] // 2
    offsets = range(-half, half + 1)
    return [
        sum(
            weight[:, i + half, j + half] @ k[(row + i) * cols + col + j]
            for i in offsets
            for j in offsets
            if 0 <= row + i < rows and 0 <= col + j < cols
        )
        for row in range(rows)
        for col in range(cols)
    ]


def xfa_from_the_equation(attn, x, context_of, divisor):
    """λ · q̂ · K_fᵀ · (K_c · v) / ``divisor`` one number at a time, then the output projection."""
    tokens, heads, dim, rank = x.shape[1], attn.num_heads, attn.head_dim, attn.rank
    kernel = attn.feature_conv.kernel_size[0]
    offsets = [(tap, tap - kernel // 2) for tap in range(kernel)]
    temperature = attn.temperature.expand(heads)
    sequences = []
    for sequence in x:
        q_all, k_all = F.linear(sequence, attn.qk.weight, attn.qk.bias).split(heads * dim, dim=-1)
        v_all = attn.value(sequence)
        outputs = [[] for _ in range(tokens)]
        for h in range(heads):
            own = slice(h * dim, (h + 1) * dim)
            q = [row / row.square().sum().sqrt() for row in q_all[:, own]]
            k = [row / row.square().sum().sqrt() for row in k_all[:, own]]
            k_mean = sum(k) / tokens
            mixed = [torch.zeros(dim) for _ in range(tokens)]
            for r in range(h * rank, (h + 1) * rank):
                scores = context_of(attn.context_conv.weight[r], k)
                context = sum(score * v for score, v in zip(scores, v_all[:, own], strict=True))
                feature = torch.stack(
                    [
                        sum(attn.feature_conv.weight[r, 0, t] * k_mean[d + o] for t, o in offsets if 0 <= d + o < dim)
                        for d in range(dim)
                    ]
                )
                if attn.directions is not None:
                    feature = feature + attn.directions[h, r - h * rank]
                for n in range(tokens):
                    mixed[n] = mixed[n] + temperature[h] / divisor * (q[n] @ feature) * context
            for n in range(tokens):
                outputs[n].append(mixed[n])
        sequences.append(torch.stack([attn.proj(torch.cat(row)) for row in outputs]))
    return torch.stack(sequences)


@pytest.mark.parametrize(
    ("spec", "heads", "context_of", "divisor"),
    [
        ("xfa:kernel=1", 1, context_over_tokens, TOKENS),
        ("xfa", 2, context_over_tokens, TOKENS),
        ("xfa:rank=3,kernel=5", 2, context_over_tokens, TOKENS),
        ("xfa:rank=2", 4, context_over_tokens, TOKENS),
        ("xfa:rank=2,feature=mean", 4, context_over_tokens, TOKENS),
        ("xfa:feature=learned", 2, context_over_tokens, TOKENS),
        ("xfa:context=grid", 2, context_over_grid, TOKENS),
        ("xfa:context=grid,rank=2,kernel=5", 2, context_over_grid, TOKENS),
        ("xfa:scale=sum", 2, context_over_tokens, 1),
        ("xfa:temperature=layer", 2, context_over_tokens, TOKENS),
        ("xfa:order=plain,rank=2", 2, context_over_tokens, TOKENS),
        ("xfa:context=grid,scale=sum,temperature=layer,order=plain", 4, context_over_grid, 1),
    ],
)
def test_xfa_is_its_equation(spec, heads, context_of, divisor):
    attn = build_attention(spec, embed_dim=12, qkv_dim=8, num_heads=heads)
    attn.temperature.data.normal_()
    x = torch.randn(2, TOKENS, 12)
    assert_same(
        values_and_gradients(lambda x: attn(x, GRID), x, attn.parameters()),
        values_and_gradients(lambda x: xfa_from_the_equation(attn, x, context_of, divisor), x, attn.parameters()),
    )


def test_xfa_with_a_zero_token_is_finite():
    attn = build_attention("xfa", embed_dim=12, qkv_dim=8, num_heads=2)
    attn.qk.bias.data.zero_()
    assert all(
        t.isfinite().all() for t in values_and_gradients(lambda x: attn(x, GRID), torch.zeros(1, TOKENS, 12), [])
    )


@pytest.mark.parametrize("name", ALL)
def test_macs_formula_is_what_torch_counts(name):
    with torch.device("meta"):
        attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
        x = torch.empty(1, TOKENS, 24)
    with FlopCounterMode(display=False) as counter:
        attn(x, GRID)
    # Separable gates the values element by element; xfa adds the value bias and λ to the context: torch counts neither.
    uncounted = TOKENS * 16 if name == "separable" else 0
    assert attn.macs(GRID) == counter.get_total_flops() // 2 + uncounted


@pytest.mark.parametrize("name", ALL)
def test_order_of_sequences_in_the_batch_does_not_matter(name):
    attn = build_attention(name, embed_dim=24, qkv_dim=16, num_heads=4)
    x = torch.randn(3, TOKENS, 24)
    assert_same([attn(x.flip(0), GRID)], [attn(x, GRID).flip(0)])
