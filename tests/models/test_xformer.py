"""The skeleton: the published figures, any image and patch size, and the ways in which torch runs a model."""

from functools import partial

import pytest
import torch
from timm.layers import ClassifierHead as TimmHead
from timm.layers import ConvNormAct, SqueezeExcite
from timm.layers import DropPath as TimmDropPath
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.byobnet import LayerFn
from timm.models.mobilevit import MobileVitBlock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from xbench.attention.spec import attention_class
from xbench.errors import UserError
from xbench.models import SIZES, build_model, check_input
from xbench.models.baselines import build_baseline
from xbench.models.layers import DropPath, MV3Block, XFBlock, XFLayer, fold, unfold
from xbench.models.xformer import ClassifierHead

ALL = ("mhsa", "mhsa-sdpa", "separable", "xfa")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def small(attn="xfa", **arguments):
    """The smallest model, with BatchNorm statistics that are not the identity."""
    model = build_model(attn, size="xxs", num_classes=10, **arguments)
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
    return model.eval()


def gmacs(model, img_size):
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, img_size, img_size, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (partial(build_model, "xfa:order=plain"), (1.69, 6.75, 27.0)),
        (partial(build_model, "xfa"), (1.59, 6.36, 25.4)),
        (partial(build_model, "mhsa"), (1.80, 8.57, 56.1)),
        (partial(build_model, "mhsa-sdpa"), (1.80, 8.57, 56.1)),
        (partial(build_baseline, "mobilevit_s", img_size=256), (2.00, 10.1, 74.6)),
    ],
    ids=["xfa in plain order", "xfa", "mhsa", "mhsa-sdpa", "mobilevit_s"],
)
def test_macs_of_the_source(build, expected):
    with torch.device("meta"):
        model = build()
    assert [gmacs(model, size) for size in (256, 512, 1024)] == pytest.approx(expected, rel=0.02)


def test_parameters_of_the_source():
    with torch.device("meta"):
        model = build_model("xfa")
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(5.48e6, rel=0.01)


def test_sizes_grow():
    with torch.device("meta"):
        params = [sum(p.numel() for p in build_model(size=size).parameters()) for size in ("xxs", "xs", "s")]
    assert params == sorted(params)
    assert set(SIZES) == {"xxs", "xs", "s"}


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_fold_inverts_unfold(patch_size):
    x = torch.randn(2, 3, 8, 12)
    tokens = unfold(x, patch_size)
    assert tokens.shape == (2 * patch_size**2, 96 // patch_size**2, 3)
    assert torch.equal(tokens[0].mT.reshape(3, 8 // patch_size, 12 // patch_size), x[0, :, ::patch_size, ::patch_size])
    assert torch.equal(fold(tokens, patch_size, (8 // patch_size, 12 // patch_size)), x)


@pytest.mark.parametrize("img_size", [(16, 16), (14, 18), (7, 9)])
def test_block_is_timm_mobilevit_block(img_size):
    silu = partial(ConvNormAct, act_layer=nn.SiLU)
    theirs = MobileVitBlock(
        12,
        transformer_dim=16,
        transformer_depth=2,
        mlp_ratio=3.0,
        patch_size=4,
        layers=LayerFn(conv_norm_act=silu, act=nn.GELU),
    )
    ours = XFBlock(12, embed_dim=16, depth=2, attn="mhsa", qkv_dim=16, num_heads=4, mlp_ratio=3.0, patch_size=4)
    theirs.load_state_dict({k.replace("layers.", "transformer."): v for k, v in ours.state_dict().items()})
    x = torch.randn(2, 12, *img_size)
    torch.testing.assert_close(ours.double()(x.double()), theirs.double()(x.double()), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("stride", "out_chs"), [(1, 12), (1, 20), (2, 12)])
def test_mobilenet_block_is_timm_inverted_residual(stride, out_chs):
    theirs = InvertedResidual(
        12, out_chs, stride=stride, exp_ratio=4, act_layer=nn.SiLU, se_layer=partial(SqueezeExcite, rd_ratio=0.25)
    ).double()
    ours = MV3Block(12, out_chs, stride=stride, exp_ratio=4).double()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 12, 9, 7, dtype=torch.float64)
    for train in (True, False):  # the first changes the running statistics, which the second uses
        found, expected = (block.train(train)(x) for block in (ours, theirs))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        found.square().sum().backward()
        expected.square().sum().backward()
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-8, atol=1e-10)


def test_stochastic_depth_is_timms():
    x, found = torch.randn(64, 3, 2, 2), []
    for module in (DropPath(0.3), TimmDropPath(0.3)):
        torch.manual_seed(1)
        found.append(module(x))
    assert torch.equal(*found)
    assert torch.equal(DropPath(0.3).eval()(x), x)
    assert torch.equal(DropPath(1.0)(x), torch.zeros_like(x))


def test_head_is_timms():
    ours, theirs = ClassifierHead(6, 4, 0.0), TimmHead(6, 4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ClassifierHead(6, 0, 0.0)(x), TimmHead(6, 0)(x))


@pytest.mark.parametrize("img_size", [(32, 32), (33, 33), (47, 65), (64, 256)])
@pytest.mark.parametrize("patch_size", [1, 2, 4, 8])
def test_any_image_and_patch_size(img_size, patch_size):
    model = build_model(size="xxs", patch_size=patch_size, num_classes=10).eval()
    with torch.inference_mode():
        y = model(torch.randn(1, 3, *img_size))
    assert y.shape == (1, 10)
    assert y.isfinite().all()


@pytest.mark.parametrize(
    ("img_size", "patch_size", "message"),
    [
        ((31, 256), 2, "31×256 is too small"),
        ((0, 0), 1, "too small"),
        ((-1, 64), 1, "too small"),
        ((64, 256), 4, "patch size 4 .* 2-pixel .* 1 to 2"),
    ],
)
def test_images_that_make_no_sense(img_size, patch_size, message):
    with pytest.raises(UserError, match=message):
        build_model(img_size=img_size, patch_size=patch_size)


def test_smallest_images_that_make_sense():
    for img_size, patch_size in [((32, 32), 2), ((256, 256), 8), ((97, 512), 4)]:
        check_input(img_size, patch_size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "m"}, "unknown size 'm'.*s, s:se=0, xs"),
        ({"size": "s:se=1"}, "Did you mean 's:se=0'"),
        ({"patch_size": 0}, "patch size must be"),
        ({"patch_size": 1.5}, "patch size must be"),
        ({"attn": "xfaa"}, "Did you mean 'xfa'"),
        ({"num_heads": 7}, "does not divide into 7 heads"),
        ({"features_only": True, "out_indices": (5,)}, "out_indices"),
        ({"features_only": True, "out_indices": ()}, "out_indices"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        build_model(**{"size": "xxs", **arguments})


@pytest.mark.parametrize(
    ("out_indices", "stages"),
    [((0, 1, 2, 3, 4), [0, 1, 2, 3, 4]), ((-1, 2), [2, 4]), ((1, 2, 3, 4), [1, 2, 3, 4]), (3, [2, 3, 4])],
)
def test_features_only_follows_timm(out_indices, stages):
    model = build_model(size="xxs", features_only=True, out_indices=out_indices, in_chans=1).eval()
    channels, reduction = model.feature_info.channels(), model.feature_info.reduction()
    assert reduction == [(2, 4, 8, 16, 32)[i] for i in stages]
    assert channels == [(16, 24, 48, 64, 80)[i] for i in stages]
    maps = model(torch.randn(1, 1, 64, 96))
    assert [m.shape for m in maps] == [(1, c, 64 // r, 96 // r) for c, r in zip(channels, reduction, strict=True)]


def test_no_classes_leaves_the_pooled_features():
    model = build_model(size="xxs", num_classes=0).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, model.num_features)


@pytest.mark.parametrize("attn", ALL)
def test_every_parameter_learns(attn):
    model = build_model(attn, size="xxs", num_classes=10, drop_path_rate=0.1)
    model(torch.randn(8, 3, 64, 64)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_weights_of_an_attention_that_sets_its_own_are_kept():
    class Zero(attention_class("separable")):  # type: ignore[misc]
        def init_weights(self):
            nn.init.zeros_(self.proj.weight)

    layers = [m for m in build_model(Zero, size="xxs").modules() if isinstance(m, XFLayer)]
    assert len(layers) == 9
    assert all(not layer.attn.proj.weight.any() and layer.mlp.fc1.weight.any() for layer in layers)


@pytest.mark.parametrize("attn", ALL)
def test_weights_of_256_work_at_1024(attn):
    at_256 = small(attn, img_size=256)
    at_1024 = build_model(attn, size="xxs", num_classes=10, img_size=1024).eval()
    at_1024.load_state_dict(at_256.state_dict())
    with torch.inference_mode():
        # 1024 in one direction tells as much as in both, for a quarter of the time.
        assert at_1024(torch.randn(1, 3, 256, 1024)).isfinite().all()


@pytest.mark.parametrize("attn", ALL)
def test_channels_last(attn):
    model, x = small(attn), torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        expected = model(x)
        actual = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def relative_error(actual, expected):
    return ((actual.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("attn", ALL)
def test_bfloat16_and_autocast(attn):
    model, x = small(attn), torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        expected = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert relative_error(model(x), expected) < 0.1
        half = model.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert relative_error(half, expected) < 0.1


@pytest.mark.parametrize("attn", ["xfa", "mhsa-sdpa"])  # of each attention alone the conformance checks ask it
def test_compile_without_graph_breaks(attn):
    torch._dynamo.reset()
    model, x = small(attn), torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="aot_eager")(x), model(x))


@pytest.mark.parametrize("attn", ["xfa", "mhsa-sdpa"])
def test_export(attn):
    model, x = small(attn), torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
