"""Counts are right where they can be checked by hand, cross-checked where not, and never silently zero."""

import copy
import json
from dataclasses import asdict

import pytest
import timm
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.torch_version import TorchVersion

from xbench.metrics.counting.cost import TOLERANCE, CostError, count_cost, count_params
from xbench.metrics.memory import allocations, peak_of
from xbench.models.layers import XFLayer
from xbench.models.xformer import XFormer

# Seen with 2.9 and 2.11: a convolution on the meta device cannot be traced, so fvcore's count is missing there.
fvcore_counts_convolutions = pytest.mark.skipif(
    TorchVersion(torch.__version__) < (2, 12), reason="this torch cannot trace convolutions on the meta device"
)
VARIANTS = ("mhsa", "mhsa-sdpa", "separable", "xfa", "xfa:rank=4,kernel=5")
WIDTH = 96


class OneLayer(nn.Module):
    """A transformer layer that takes each pixel of a WIDTH-channel image for a token."""

    def __init__(self, attn):
        super().__init__()
        self.layer = XFLayer(WIDTH, attn=attn, qkv_dim=WIDTH, num_heads=4, mlp_ratio=2)

    def forward(self, image):
        return self.layer(image.flatten(2).transpose(1, 2), tuple(image.shape[-2:]))


class Planted(nn.Module):
    """An attention for the tests below: a linear layer, without a closed formula."""

    def __init__(self, *, embed_dim, qkv_dim, num_heads):
        super().__init__()
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x, grid):
        return self.proj(x)


class StatesZero(Planted):
    def macs(self, grid):
        return 0


class StatesTooLittle(Planted):
    def macs(self, grid):
        return grid[0] * grid[1]


class StatesTwice(Planted):
    def macs(self, grid):
        return 2 * grid[0] * grid[1] * self.proj.weight.numel()


class CountsZero(Planted):
    def forward(self, x, grid):
        return x * 2


class Elementwise(CountsZero):
    def macs(self, grid):
        return grid[0] * grid[1] * WIDTH


class CannotBeTraced(Planted):
    """Uses an operation that ``torch.jit`` cannot trace on the meta device."""

    def forward(self, x, grid):
        return nn.functional.conv_transpose1d(self.proj(x).mT, self.proj.weight[..., None]).mT


class AddsProducts(Planted):
    """Uses a product that fvcore has no rule for."""

    def forward(self, x, grid):
        x = self.proj(x)
        return torch.baddbmm(x, x, self.proj.weight.expand(len(x), -1, -1))


class FrozenMultihead(Planted):
    """nn.MultiheadAttention with frozen weights: its fused kernel, which counts as nothing, waits for those."""

    def __init__(self, *, embed_dim, qkv_dim, num_heads):
        super().__init__(embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
        self.attention = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True).requires_grad_(False)
        del self.proj

    def forward(self, x, grid):
        return self.attention(x, x, x, need_weights=False)[0]

    def macs(self, grid):
        tokens = grid[0] * grid[1]
        return 4 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


def image(size, channels=3):
    return torch.empty(1, channels, *size, device="meta")


@pytest.mark.parametrize("grid", [(8, 8), (16, 12), (64, 64)])
@pytest.mark.parametrize("attn", VARIANTS)
def test_closed_formula_agrees_with_torch(attn, grid):
    cost = count_cost(on_meta(OneLayer, attn), image(grid, WIDTH))
    assert cost.formula_agreement == pytest.approx(1, abs=0.005)  # torch does not count an elementwise product
    mlp = 2 * grid[0] * grid[1] * WIDTH * 2 * WIDTH
    assert cost.macs == cost.attention_formula + mlp


def test_softmax_attention_by_hand():
    cost = count_cost(on_meta(OneLayer, "mhsa"), image((16, 16), WIDTH))
    by_hand = 256 * WIDTH * 3 * WIDTH + 256 * 256 * WIDTH + 256 * 256 * WIDTH + 256 * WIDTH * WIDTH
    assert cost.attention_formula == cost.attention_torch == cost.attention_fvcore == by_hand
    # ptflops adds one per element that a bias is added to; here the outputs of both projections.
    assert cost.attention_ptflops - by_hand == 256 * 3 * WIDTH + 256 * WIDTH


@pytest.mark.parametrize(("attn", "giga"), [("mhsa", (1.80, 8.57, 56.1)), ("xfa", (1.59, 6.36, 25.4))])
def test_xformer_matches_the_reconstruction(attn, giga):
    model = on_meta(XFormer, attn)
    for size, expected in zip((256, 512, 1024), giga, strict=True):
        assert count_cost(model, image((size, size))).macs == pytest.approx(expected * 1e9, rel=0.02)
    assert count_params(on_meta(XFormer, "xfa")) == pytest.approx(5.48e6, rel=0.01)


def test_a_timm_model_has_torchs_count_and_no_attention_of_ours():
    for size, expected in ((256, 2.00), (1024, 74.6)):
        cost = count_cost(on_meta(timm.create_model, "mobilevit_s"), image((size, size)))
        assert cost.macs == cost.counters["torch"] == pytest.approx(expected * 1e9, rel=0.02)
        assert cost.attention_formula is cost.attention_torch is cost.formula_agreement is None
    assert cost.params == pytest.approx(5.58e6, rel=0.01)


@fvcore_counts_convolutions
@pytest.mark.parametrize("attn", ["mhsa", "separable", "xfa"])
def test_counters_cross_check(attn):
    cost = count_cost(on_meta(XFormer, attn), image((256, 320)))
    assert not cost.failures
    assert not cost.disagreements
    for count in cost.counters.values():
        assert count == pytest.approx(cost.macs, rel=TOLERANCE)
    if attn == "mhsa":  # every product in it has a rule in both, and fvcore's rules for norms are out
        assert cost.counters["fvcore"] == cost.counters["torch"]


@fvcore_counts_convolutions
def test_what_a_counter_misses_is_said():
    cost = count_cost(on_meta(OneLayer, AddsProducts), image((16, 16), WIDTH))
    assert cost.macs == cost.attention_torch + 2 * 256 * WIDTH * 2 * WIDTH == 6 * 256 * WIDTH**2
    assert cost.counters["fvcore"] == 5 * 256 * WIDTH**2
    assert any("fvcore counts 0.833" in line and "baddbmm" in line for line in cost.disagreements)


@fvcore_counts_convolutions
def test_the_other_counters_are_shown_the_parts_of_fused_attention():
    cost = count_cost(on_meta(XFormer, "mhsa-sdpa"), image((512, 512)))
    assert cost.counters["fvcore"] == cost.macs == count_cost(on_meta(XFormer, "mhsa"), image((512, 512))).macs
    assert not cost.disagreements

    uncounted = {op.op: op for op in cost.uncounted["torch"]}
    norms = uncounted["aten.native_layer_norm"]
    assert norms.calls == 2 * 9 + 3  # two per transformer layer, one per XF block
    assert norms.elements > 512 * 512 / 64
    assert not {"aten.view", "aten.addmm", "aten.convolution"} & set(uncounted)


def test_json():
    assert "macs" in json.loads(json.dumps(asdict(count_cost(on_meta(OneLayer, "xfa"), image((8, 8), WIDTH)))))


@pytest.mark.parametrize(("attn", "words"), [(StatesZero, "states 0"), (CountsZero, "torch counts none")])
def test_an_attention_that_counts_as_zero_is_an_error(attn, words):
    with pytest.raises(CostError, match=words):
        count_cost(on_meta(OneLayer, attn), image((8, 8), WIDTH))


def test_a_formula_that_states_less_than_torch_counts_is_an_error():
    with pytest.raises(CostError, match="states 64 multiply–accumulates and torch counts 589824"):
        count_cost(on_meta(OneLayer, StatesTooLittle), image((8, 8), WIDTH))


def test_elementwise_work_that_only_the_formula_states_is_believed_and_said():
    cost = count_cost(on_meta(OneLayer, Elementwise), image((8, 8), WIDTH))
    assert cost.attention_formula == 64 * WIDTH
    assert "torch counts 0.000 × the attention's closed formula" in cost.disagreements


def test_a_model_on_a_real_device_is_refused():
    with pytest.raises(CostError, match="meta"):
        count_cost(OneLayer(Planted), image((8, 8), WIDTH))


def test_a_model_that_refuses_the_image_is_an_error():
    with pytest.raises(CostError, match="224"):
        count_cost(on_meta(timm.create_model, "deit_tiny_patch16_224"), image((256, 256)))


def test_without_a_formula_torch_counts():
    cost = count_cost(on_meta(OneLayer, Planted), image((8, 8), WIDTH))
    assert cost.attention_formula is cost.formula_agreement is None
    assert cost.attention_torch == 64 * WIDTH**2
    assert cost.macs == cost.counters["torch"]


def test_a_wrong_formula_shows():
    cost = count_cost(on_meta(OneLayer, StatesTwice), image((8, 8), WIDTH))
    assert cost.formula_agreement == 0.5
    assert any(line.startswith("torch counts 0.500") for line in cost.disagreements)


def test_a_counter_that_fails_gives_its_reason():
    cost = count_cost(on_meta(OneLayer, CannotBeTraced), image((8, 8), WIDTH))
    assert cost.counters["fvcore"] is None
    assert cost.failures["fvcore"]
    assert cost.macs == cost.counters["torch"] > 0


def test_multihead_attention_is_not_zero():
    with torch.inference_mode():
        cost = count_cost(on_meta(OneLayer, FrozenMultihead), image((16, 16), WIDTH))
    assert cost.formula_agreement == 1


def test_counting_allocates_nothing():
    model = on_meta(XFormer, "mhsa")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        cost = count_cost(model, image((4096, 4096)))
    # The scores of one layer of stage 3 alone would be 4 · 4 · 65536² · 4 bytes = 275 GB.
    assert peak_of(allocations(profiler)) < 2**20
    assert cost.macs > 7e12


def test_the_model_is_left_as_it_was():
    model = on_meta(XFormer, "xfa")
    model.train()
    model.stages[0].eval()
    model.stem.requires_grad_(False)

    def state():
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
        return (
            [(name, id(tensor)) for name, tensor in model.state_dict(keep_vars=True).items()],
            [parameter.requires_grad for parameter in model.parameters()],
            [module.training for module in model.modules()],
            hooks,
        )

    before = copy.copy(state())
    count_cost(model, image((64, 64)))
    assert state() == before
