"""Each attention against a reference that nobody here wrote, or against its equation, in values and gradients."""

import pytest
import torch
from equality import assert_same, in_float64, values_and_gradients  # noqa: F401
from timm.layers import Attention
from timm.models.mobilevit import LinearSelfAttention
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from xbench.attention import build_attention

ALL = ("mhsa", "mhsa-sdpa", "separable", "xfa", "xfa:rank=3,kernel=5")
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


def test_mhsa_forms_agree_where_widths_differ():
    explicit = build_attention("mhsa", embed_dim=24, qkv_dim=16, num_heads=4)
    fused = build_attention("mhsa-sdpa", embed_dim=24, qkv_dim=16, num_heads=4)
    fused.load_state_dict(explicit.state_dict())
    x = torch.randn(2, TOKENS, 24)
    assert_same(
        values_and_gradients(lambda x: fused(x, GRID), x, fused.parameters()),
        values_and_gradients(lambda x: explicit(x, GRID), x, explicit.parameters()),
    )


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


def xfa_from_the_equation(attn, x):
    """λ · q̂ · K_fᵀ · (K_c · v) / N one number at a time, then the output projection."""
    tokens, heads, dim, rank = x.shape[1], attn.num_heads, attn.head_dim, attn.rank
    kernel = attn.context_conv.kernel_size[0]
    offsets = [(tap, tap - kernel // 2) for tap in range(kernel)]
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
                context = torch.zeros(dim)
                for n in range(tokens):
                    taps = [attn.context_conv.weight[r, :, t] @ k[n + o] for t, o in offsets if 0 <= n + o < tokens]
                    context = context + sum(taps) * v_all[n, own]
                feature = torch.stack(
                    [
                        sum(attn.feature_conv.weight[r, 0, t] * k_mean[d + o] for t, o in offsets if 0 <= d + o < dim)
                        for d in range(dim)
                    ]
                )
                for n in range(tokens):
                    mixed[n] = mixed[n] + attn.temperature[h] / tokens * (q[n] @ feature) * context
            for n in range(tokens):
                outputs[n].append(mixed[n])
        sequences.append(torch.stack([attn.proj(torch.cat(row)) for row in outputs]))
    return torch.stack(sequences)


@pytest.mark.parametrize(("heads", "rank", "kernel"), [(1, 1, 1), (2, 1, 3), (2, 3, 5), (4, 2, 3)])
def test_xfa_is_its_equation(heads, rank, kernel):
    attn = build_attention(f"xfa:rank={rank},kernel={kernel}", embed_dim=12, qkv_dim=8, num_heads=heads)
    attn.temperature.data.normal_()
    x = torch.randn(2, TOKENS, 12)
    assert_same(
        values_and_gradients(lambda x: attn(x, GRID), x, attn.parameters()),
        values_and_gradients(lambda x: xfa_from_the_equation(attn, x), x, attn.parameters()),
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
