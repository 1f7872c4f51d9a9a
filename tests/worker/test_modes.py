"""A mode changes how a model runs and none of its values. The reference is the model as it runs without."""

import pytest
import torch
from torch import nn

from xbench.errors import UserError
from xbench.models import build_model
from xbench.models.baselines import build_baseline
from xbench.worker.modes import CudaGraph, fold_batch_norms, in_mode


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms that do something: their averages are of noise, and scale and shift are drawn."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "build",
    [lambda: build_model("xfa", size="xxs"), *(lambda name=name: build_baseline(name, img_size=(64, 64), num_classes=10)
     for name in ("mobilevit_xxs", "mobilenetv3_small_050", "efficientnet_b0", "resnet10t"))],
    ids=["xfa", "mobilevit_xxs", "mobilenetv3_small_050", "efficientnet_b0", "resnet10t"],
)  # fmt: skip
def test_every_batch_norm_is_folded_and_nothing_changes(build):
    model, x = with_statistics(build()), torch.randn(2, 3, 64, 64)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    expected = model(x)
    assert fold_batch_norms(model, x[:1]) == norms > 10
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


class TakesItTwice(nn.Module):
    """A convolution whose output is normed, and used as it is besides: folded, the latter would change."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


def test_what_folding_would_change_is_refused():
    with pytest.raises(RuntimeError, match="folding batch norms changes the outputs by"):
        fold_batch_norms(with_statistics(TakesItTwice()), torch.randn(1, 3, 64, 64))


def test_channels_last_is_the_same():
    model, x = with_statistics(build_model("xfa", size="xxs")), torch.randn(2, 3, 64, 80)
    expected = model(x)
    model, x, run = in_mode("channels_last", model, x)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert model.stem.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(run(x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "training", "shape", "message"),
    [
        ("folded", True, (1, 3, 64, 64), "'folded' is for inference"),
        ("cuda_graph", True, (1, 3, 64, 64), "'cuda_graph' is for inference"),
        ("cuda_graph", False, (1, 3, 64, 64), "needs a GPU"),
        ("channels_last", False, (1, 16, 64), "levels block and model"),
        ("folded", False, (1, 16, 64), "nothing to fold"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused(mode, training, shape, message):
    model = build_model("xfa", size="xxs") if len(shape) == 4 else nn.Linear(64, 64)
    with pytest.raises(UserError, match=message):
        in_mode(mode, model.train(training), torch.randn(shape))


@pytest.mark.cuda
@pytest.mark.process
@pytest.mark.parametrize("attn", ["xfa", "mhsa-sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_recorded_forward_is_the_same(attn, dtype):
    model = with_statistics(build_model(attn, size="xxs")).to("cuda", dtype)
    graph = CudaGraph(model)
    with torch.inference_mode():
        for batch in (1, 2, 1):
            x = torch.randn(batch, 3, 64, 64, device="cuda", dtype=dtype)
            torch.testing.assert_close(graph(x), model(x), rtol=2e-2, atol=2e-2)
