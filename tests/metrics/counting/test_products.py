"""Products against their closed formulas; what nobody knows makes a count "at least"; what is left out is named.

The formulas are written out by hand, and run on the meta device and, where they can, on the CPU.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from xbench.metrics.counting import products
from xbench.metrics.counting.cost import CostError, cost_and_footprint, count_cost
from xbench.metrics.counting.counters import count_ptflops, count_torch
from xbench.metrics.counting.tally import Tally, tallying
from xbench.models.alone import Alone
from xbench.models.layers import XFLayer

B, H, L, S, D, V = 2, 3, 5, 7, 4, 6
GRID = (4, 4)
WIDTH = 32


def tensor(*shape, dtype=torch.float32, device="meta"):
    return torch.empty(shape, dtype=dtype, device=device)


def counted(call, device="meta"):
    """The tally of a call, which gets a function that makes tensors on the device."""
    with torch.no_grad(), tallying() as tally:
        call(lambda *shape, **of: torch.ones(shape, device=device, **of))
    return tally


def heads(t, **of):
    return t(B, H, L, D, **of), t(B, H, S, D, **of), t(B, H, S, V, **of)


def flex(t):
    return flex_attention(t(B, H, 128, 16), t(B, H, 256, 16), t(B, H, 256, 16))


C64 = torch.complex64
PRODUCTS = {
    "mm": (lambda t: t(2, 3) @ t(3, 4), 2 * 3 * 4),
    "mm with a vector": (lambda t: t(2, 3) @ t(3), 2 * 3),
    "dot": (lambda t: torch.dot(t(9), t(9)), 9),
    "vdot of complex": (lambda t: torch.vdot(t(9, dtype=C64), t(9, dtype=C64)), 4 * 9),
    "addmm": (lambda t: torch.addmm(t(2, 4), t(2, 3), t(3, 4)), 2 * 3 * 4),
    "addmm in place": (lambda t: t(2, 4).addmm_(t(2, 3), t(3, 4)), 2 * 3 * 4),
    "mm into out": (lambda t: torch.mm(t(2, 3), t(3, 4), out=t(2, 4)), 2 * 3 * 4),
    "addmv": (lambda t: torch.addmv(t(2), t(2, 3), t(3)), 2 * 3),
    "addr": (lambda t: torch.addr(t(2, 3), t(2), t(3)), 2 * 3),
    "addbmm": (lambda t: torch.addbmm(t(2, 4), t(5, 2, 3), t(5, 3, 4)), 5 * 2 * 3 * 4),
    "baddbmm": (lambda t: torch.baddbmm(t(5, 2, 4), t(5, 2, 3), t(5, 3, 4)), 5 * 2 * 3 * 4),
    "einsum": (lambda t: torch.einsum("bhld,bhsd->bhls", *heads(t)[:2]), B * H * L * S * D),
    "complex mm": (lambda t: t(2, 3, dtype=C64) @ t(3, 4, dtype=C64), 4 * 2 * 3 * 4),
    "complex bmm": (lambda t: t(5, 2, 3, dtype=C64) @ t(5, 3, 4, dtype=C64), 4 * 5 * 2 * 3 * 4),
    "complex einsum": (lambda t: torch.einsum("bhld,bhsd->bhls", *heads(t, dtype=C64)[:2]), 4 * B * H * L * S * D),
    "bilinear": (lambda t: F.bilinear(t(2, 3), t(2, 4), t(5, 3, 4)), 2 * 5 * 3 * 4 + 2 * 5 * 4),
    "cdist": (lambda t: torch.cdist(t(5, 4), t(7, 4)), 5 * 7 * 4),
    "cdist of many": (lambda t: torch.cdist(t(50, 4), t(70, 4)), 50 * 70 * 4),
    "cdist without squares": (lambda t: torch.cdist(t(5, 4), t(7, 4), p=1), 0),
    "conv1d": (lambda t: F.conv1d(t(2, 3, 9), t(4, 3, 5)), 2 * 4 * 5 * 3 * 5),
    "conv2d, padded": (lambda t: F.conv2d(t(2, 3, 8, 9), t(4, 3, 3, 3), padding=1), 2 * 4 * 8 * 9 * 3 * 9),
    "conv2d, no batch": (lambda t: F.conv2d(t(3, 8, 9), t(4, 3, 3, 3), padding=1), 4 * 8 * 9 * 3 * 9),
    "conv2d, strided": (lambda t: F.conv2d(t(2, 3, 8, 8), t(4, 3, 2, 2), stride=2), 2 * 4 * 4 * 4 * 3 * 4),
    "conv2d, grouped": (lambda t: F.conv2d(t(2, 6, 8, 8), t(4, 3, 3, 3), groups=2, padding=1), 2 * 4 * 64 * 3 * 9),
    "conv2d, depth-wise": (lambda t: F.conv2d(t(2, 6, 8, 8), t(6, 1, 3, 3), groups=6, padding=1), 2 * 6 * 64 * 9),
    "conv2d, dilated": (lambda t: F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), dilation=2), 4 * 4 * 4 * 3 * 9),
    "conv3d": (lambda t: F.conv3d(t(1, 3, 4, 5, 6), t(2, 3, 1, 1, 1)), 2 * 4 * 5 * 6 * 3),
    "conv2d, complex": (
        lambda t: F.conv2d(t(2, 3, 8, 9, dtype=C64), t(4, 3, 3, 3, dtype=C64), t(4, dtype=C64), padding=1),
        4 * 2 * 4 * 8 * 9 * 3 * 9,
    ),
    "conv2d, named": (lambda t: torch.conv2d(input=t(1, 3, 4, 4), weight=t(4, 3, 1, 1), bias=t(4)), 4 * 16 * 3),
    "conv_transpose2d": (lambda t: F.conv_transpose2d(t(2, 3, 4, 4), t(3, 5, 2, 2), stride=2), 2 * 3 * 16 * 5 * 4),
    "conv_transpose2d, grouped": (
        lambda t: F.conv_transpose2d(t(2, 4, 4, 4), t(4, 3, 2, 2), stride=2, groups=2),
        2 * 4 * 16 * 3 * 4,
    ),
    "conv_tbc": (lambda t: torch.conv_tbc(t(9, 2, 3), t(5, 3, 4), t(4)), 5 * 2 * 4 * 5 * 3),
    "attention": (lambda t: F.scaled_dot_product_attention(*heads(t)), B * H * L * S * (D + V)),
    "attention, fused": (
        lambda t: F.scaled_dot_product_attention(t(B, H, L, D), t(B, H, L, D), t(B, H, L, D), is_causal=True),
        B * H * L * L * 2 * D,
    ),
    "attention, shared keys": (
        lambda t: F.scaled_dot_product_attention(t(B, 6, L, D), t(B, 2, L, D), t(B, 2, L, D), enable_gqa=True),
        B * 6 * L * L * 2 * D,
    ),
    "attention, masked": (
        lambda t: F.scaled_dot_product_attention(
            t(B, H, L, D), t(B, H, L, D), t(B, H, L, D), attn_mask=t(L, L, dtype=torch.bool)
        ),
        B * H * L * L * 2 * D,
    ),
    "lstm": (lambda t: on(t, nn.LSTM(6, 8, 2))(t(5, 2, 6)), 5 * 2 * 4 * 8 * (6 + 8 + 8 + 8)),
    "lstm, both ways": (
        lambda t: on(t, nn.LSTM(6, 8, bidirectional=True))(t(5, 2, 6)),
        2 * 5 * 2 * 4 * 8 * (6 + 8),
    ),
    "gru": (lambda t: on(t, nn.GRU(6, 8))(t(5, 2, 6)), 5 * 2 * 3 * 8 * (6 + 8)),
    "rnn": (lambda t: on(t, nn.RNN(6, 8))(t(5, 2, 6)), 5 * 2 * 8 * (6 + 8)),
    "multi-head attention": (
        lambda t: on(t, nn.MultiheadAttention(8, 2, batch_first=True))(*[t(B, L, 8)] * 3),
        B * (4 * L * 8 * 8 + 2 * L * L * 8),
    ),
    "multi-head attention without weights": (
        lambda t: on(t, nn.MultiheadAttention(8, 2, batch_first=True))(*[t(B, L, 8)] * 3, need_weights=False),
        B * (4 * L * 8 * 8 + 2 * L * L * 8),
    ),
    "its fused kernel": (
        lambda t: torch._native_multi_head_attention(
            *[t(B, L, 8)] * 3, 8, 2, t(24, 8), t(24), t(8, 8), t(8), need_weights=False
        ),
        B * (4 * L * 8 * 8 + 2 * L * L * 8),
    ),
    "encoder layer": (
        lambda t: on(t, nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))(t(B, L, 8)),
        B * (4 * L * 8 * 8 + 2 * L * L * 8 + 2 * L * 8 * 16),
    ),
}


def on(t, module):
    return module.to(t(1).device).eval().requires_grad_(False)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_by_hand(name, device):
    if (name, device) == ("its fused kernel", "meta"):
        pytest.skip("torch has it on the CPU and CUDA only")
    call, macs = PRODUCTS[name]
    tally = counted(call, device)
    assert tally.macs == macs
    assert not tally.unknown


def test_products_of_few_bits_and_groups():
    eight = {"dtype": torch.float8_e4m3fn}
    a, b, scale = tensor(32, 16, **eight), tensor(64, 16, **eight).t(), tensor(1)
    bf16 = {"dtype": torch.bfloat16}
    ends = tensor(4, dtype=torch.int32)
    calls = {
        32 * 16 * 64: lambda: torch._scaled_mm(a, b, scale, scale, out_dtype=torch.bfloat16),
        32 * 16 * 48: lambda: torch._int_mm(tensor(32, 16, dtype=torch.int8), tensor(16, 48, dtype=torch.int8)),
        80 * 16 * 24: lambda: torch._grouped_mm(tensor(80, 16, **bf16), tensor(4, 16, 24, **bf16), offs=ends),
        4 * 8 * 16 * 24: lambda: torch._grouped_mm(tensor(4, 8, 16, **bf16), tensor(4, 16, 24, **bf16)),
        8 * 96 * 24: lambda: torch._grouped_mm(tensor(8, 96, **bf16), tensor(96, 24, **bf16), offs=ends),
        8 * 16 * 72: lambda: torch._grouped_mm(tensor(4, 8, 16, **bf16), tensor(16, 72, **bf16), offs=ends),
    }
    for macs, call in calls.items():
        with torch.no_grad(), tallying() as tally:
            call()
        assert (tally.macs, dict(tally.unknown)) == (macs, {})


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_flex_attention_counts_all_scores(device):
    assert counted(flex, device).macs == B * H * 128 * 256 * 2 * 16


def test_nested_tensors_count_by_their_parts():
    def linear(t):
        rows = torch.nested.nested_tensor([t(3, 8), t(5, 8)], layout=torch.jagged)
        return F.linear(rows, t(16, 8))

    assert counted(linear, "cpu").macs == (3 + 5) * 8 * 16
    strided = counted(lambda t: F.linear(torch.nested.nested_tensor([t(3, 8), t(5, 8)]), t(16, 8)), "cpu")
    assert strided.macs == (3 + 5) * 8 * 16 or strided.unknown


def test_sparse_products_are_not_known():
    tally = counted(lambda t: torch.eye(4).to_sparse() @ t(4, 3), "cpu")
    assert tally.unknown


@pytest.mark.parametrize("backend", ["FLASH_ATTENTION", "MATH", "EFFICIENT_ATTENTION"])
def test_the_way_attention_is_computed_does_not_count(backend):
    with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
        assert counted(PRODUCTS["attention, fused"][0]).macs == PRODUCTS["attention, fused"][1]


def test_the_rules_are_those_of_torchs_counter_where_it_has_them():
    names = ("mm", "addmm", "baddbmm", "conv2d, grouped", "conv_transpose2d, grouped", "einsum", "lstm")
    for call in (PRODUCTS[name][0] for name in names):
        with torch.no_grad(), FlopCounterMode(display=False) as reference:
            call(tensor)
        assert 2 * counted(call).macs == reference.get_total_flops()
    q = torch.rand(B, H, 8, D, requires_grad=True)
    with Tally() as tally:
        F.scaled_dot_product_attention(q, q, q).sum().backward()
    assert tally.macs == B * H * 8 * 8 * (2 + 5) * D  # two products, and five backwards


LIBRARY = torch.library.Library("counted", "DEF")  # kept, because it takes its operators with it
for definition in ("mix(Tensor x, Tensor y) -> Tensor", "known(Tensor x, Tensor y) -> Tensor"):
    LIBRARY.define(definition)
    LIBRARY.impl(definition.partition("(")[0], lambda x, y: torch.empty_like(x), "Meta")
register_flop_formula(torch.ops.counted.known)(lambda x, y, *args, **kwargs: 2 * 1000)


class Custom(nn.Module):
    """An attention with a linear layer and an operator that no rule knows."""

    def __init__(self, *, embed_dim=WIDTH, qkv_dim=WIDTH, num_heads=4, linear=True):
        super().__init__()
        self.proj = nn.Linear(embed_dim, embed_dim) if linear else nn.Identity()

    def forward(self, x, grid):
        return torch.ops.counted.mix(self.proj(x), x)


class CustomWithFormula(Custom):
    def macs(self, grid):
        return 2 * grid[0] * grid[1] * WIDTH**2


class OnlyCustom(Custom):
    def __init__(self, **options):
        super().__init__(**options, linear=False)


def cost_of(attention):
    with torch.device("meta"):
        model = Alone(attention(), GRID)
    return count_cost(model, tensor(1, 16, WIDTH), cross_check=False)


def test_an_operation_that_no_rule_knows_makes_a_count_at_least():
    cost = cost_of(Custom)
    assert cost.at_least == ("counted.mix",)
    assert cost.macs == 16 * WIDTH**2
    with pytest.raises(CostError, match=r"no rule knows counted\.mix"):
        cost_of(OnlyCustom)
    assert counted(lambda t: torch.linalg.qr(t(4, 4))).unknown == {"linalg_qr": 1}


def test_a_closed_formula_stands_for_what_no_rule_knows():
    cost = cost_of(CustomWithFormula)
    assert cost.at_least == ()
    assert cost.macs == 2 * 16 * WIDTH**2
    assert any("counted.mix, which no rule knows" in line for line in cost.disagreements)


def test_a_formula_that_was_registered_with_torch_is_used():
    tally = counted(lambda t: torch.ops.counted.known(t(2), t(2)))
    assert (tally.macs, dict(tally.unknown)) == (1000, {})


def test_what_multiplies_and_is_no_matrix_product_is_named():
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return (self.q(x) * self.k(x)).sum(-1) * 0.5 * (x[..., 0] > 0)

    with torch.device("meta"):
        cost = count_cost(Mixes(), tensor(1, 16, 8), cross_check=False)
    assert cost.left_out == {"mul": pytest.approx(16 * 8 / cost.macs)}
    fourier = counted(lambda t: torch.fft.fft(t(3, 256, dtype=C64)))
    assert fourier.left_out == {"fft_c2c": 3 * 128 * 8 * 4}  # N / 2 · log₂ N complex products
    assert counted(lambda t: torch.fft.rfft2(t(3, 16, 16))).left_out == {"fft_r2c": 3 * 128 * 8 * 2}
    assert counted(lambda t: torch.fft.irfft(t(3, 129, dtype=C64))).left_out == {"fft_c2r": 3 * 128 * 8 * 2}


def test_a_shared_layer_counts_once_in_params_and_each_time_in_macs():
    class Shares(nn.Module):
        def __init__(self, depth, attn=None):
            super().__init__()
            layer = XFLayer(WIDTH, attn="xfa", qkv_dim=WIDTH, num_heads=4, mlp_ratio=2)
            self.layers = nn.ModuleList([layer] * depth)
            if attn is not None:  # its own layers, but one attention
                self.layers = nn.ModuleList(
                    XFLayer(WIDTH, attn="xfa", qkv_dim=WIDTH, num_heads=4, mlp_ratio=2) for _ in range(depth)
                )
                for one in self.layers:
                    one.attn = layer.attn

        def forward(self, x):
            for layer in self.layers:
                x = layer(x, GRID)
            return x

    def cost(*args):
        with torch.device("meta"):
            return count_cost(Shares(*args), tensor(1, 16, WIDTH))

    one, shared, attention = cost(1), cost(3), cost(3, "shared")
    assert shared.params == one.params
    assert shared.macs == attention.macs == 3 * one.macs
    assert shared.attention_formula == attention.attention_formula == 3 * one.attention_formula
    assert shared.counters["ptflops"] == 3 * one.counters["ptflops"]


def test_ordinary_models_have_no_operation_that_nobody_knows():
    import timm

    for name in ("mobilevit_s", "convnextv2_atto", "swinv2_tiny_window8_256"):
        with torch.device("meta"):
            model = timm.create_model(name)
        assert cost_and_footprint(model, tensor(1, 3, 256, 256))[0].at_least == ()


def test_a_name_that_was_imported_is_replaced_too():
    early = torch._C._nn.scaled_dot_product_attention

    def call(t):
        return early(t(B, H, 512, D), t(B, H, 512, D), t(B, H, 512, D))

    tally = counted(call)
    assert tally.macs == B * H * 512 * 512 * 2 * D
    assert tally.peak < 4 * B * H * 512 * 512  # the scores never exist


def test_every_rule_has_a_name_that_torch_knows():
    """Three are of newer versions than the oldest that is allowed; any other would be a slip of the pen."""
    known = {name.partition("::")[2].partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    missing = set(products.RULES) - known
    assert missing <= {"flex_attention", "_scaled_mm_v2", "_scaled_grouped_mm_v2"}


def test_the_other_counters_see_the_same_products():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3, groups=1, bias=False), nn.ConvTranspose2d(8, 4, 2, 2, bias=False))
    image = tensor(1, 3, 16, 16)
    assert count_torch(model, image, {}).total == count_ptflops(model, image, {}).total
