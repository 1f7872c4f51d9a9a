"""On a GPU every attention, and a whole model with it, computes what it computes on the CPU."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F

from xbench.attention.registry import catalogue
from xbench.attention.spec import build_attention
from xbench.models import build_model

pytestmark = [pytest.mark.cuda, pytest.mark.process]  # Triton asks for its compiler in a process
BUILT_IN = sorted(name for name, info in catalogue().items() if info.target.startswith("attention_variants."))
GRID = (6, 9)


@pytest.fixture(autouse=True)
def whole_fp32(monkeypatch):
    """Convolutions on CUDA round their inputs to TF32 otherwise, a thousandth of each."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)


def on_both(module, run):
    """What ``run`` makes of the module on the CPU and of a copy on the GPU, as two lists of tensors on the CPU."""
    there = deepcopy(module).cuda()
    return run(module, "cpu"), [tensor.cpu() for tensor in run(there, "cuda")]


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_attention_is_the_same_in_values_and_gradients(name):
    attn = build_attention(name, embed_dim=48, qkv_dim=32, num_heads=4)
    for parameter in attn.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.randn(4, GRID[0] * GRID[1], 48)
    weights = torch.randn_like(x)

    def run(module, device):
        inputs = x.to(device).requires_grad_()
        output = module(inputs, GRID)
        parameters = list(module.parameters())
        return [output.detach(), *torch.autograd.grad((output * weights.to(device)).sum(), [inputs, *parameters])]

    here, there = on_both(attn, run)
    # A gradient that is zero but for rounding, as of a bias in front of a softmax, is as exact as its like.
    least = 1e-5 * max(float(expected.abs().max()) for expected in here)
    for expected, found in zip(here, there, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=max(least, 1e-4 * float(expected.abs().max())))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_whole_model_is_the_same(name):
    model = build_model(name, size="xxs").eval()
    image = torch.rand(2, 3, 96, 64)

    def run(module, device):
        with torch.inference_mode():
            return [module(image.to(device))]

    (here,), (there,) = on_both(model, run)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4 * float(here.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BUILT_IN)
def test_half_precision_keeps_the_direction(name, dtype):
    model = build_model(name, size="xxs").eval()
    image = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        expected = model(image)
        found = model.cuda().to(dtype)(image.cuda().to(dtype)).float().cpu()
    assert found.isfinite().all()
    assert F.cosine_similarity(found, expected).min() > 0.98
