"""XFA's kernels compute the formula in values and gradients: on a GPU, and in Triton's interpreter without one.

The interpreter is chosen when a kernel is defined, so these tests run once more in a process that has it.
"""

import os
import subprocess
import sys

import pytest
import torch

from xbench.attention.spec import build_attention
from xbench.errors import UserError

pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if INTERPRETED:
    torch.set_float32_matmul_precision("high")
DEVICE = "cpu" if INTERPRETED else "cuda"
# The interpreter multiplies fp32 exactly and cannot multiply bf16; a GPU multiplies fp32 as TF32.
CLOSE = {torch.float32: 1e-5, torch.float16: 1e-2} if INTERPRETED else {torch.float16: 1e-2, torch.bfloat16: 5e-2}

here = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="neither a GPU nor the interpreter")


@here
@pytest.mark.process  # Triton asks for its compiler in one
@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize(
    ("options", "sequences", "grid", "channels", "qkv_dim", "heads"),
    [
        ("", 2, (7, 10), 40, 24, 4),
        ("", 4, (16, 16), 144, 96, 4),  # tokens of several blocks and shares
        ("", 1, (1, 1), 8, 4, 2),
        ("rank=3,kernel=5", 3, (8, 8), 64, 32, 2),
        ("rank=2,feature=mean,kernel=1", 1, (9, 15), 240, 96, 4),
        ("scale=sum,temperature=layer", 2, (5, 3), 192, 96, 4),
        ("", 2, (6, 6), 24, 18, 3),
    ],
)
def test_fused_is_the_formula(options, sequences, grid, channels, qkv_dim, heads, dtype):
    torch.manual_seed(0)
    sizes = {"embed_dim": channels, "qkv_dim": qkv_dim, "num_heads": heads}
    fused, plain = (
        build_attention("xfa:" + ",".join(filter(None, (f"order={order}", options))), **sizes)
        for order in ("fused", "plain")
    )
    for parameter in fused.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    fused.to(DEVICE, dtype)
    plain.load_state_dict(fused.state_dict())
    plain.to(DEVICE, torch.float64)
    x = torch.randn(sequences, grid[0] * grid[1], channels, device=DEVICE, dtype=dtype)
    weights = torch.randn_like(x)

    def run(module, x, weights):
        x.requires_grad_()
        output = module(x, grid)
        return [output.detach(), *torch.autograd.grad((output * weights).sum(), [x, *module.parameters()])]

    found, expected = run(fused, x.clone(), weights), run(plain, x.double(), weights.double())
    # A gradient that is zero but for rounding is as exact as its like.
    largest = max(float(tensor.abs().max()) for tensor in expected[1:])
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        close = CLOSE[dtype]
        torch.testing.assert_close(
            one.double(), other, rtol=close, atol=close * max(float(other.abs().max()), 1e-2 * largest)
        )


@pytest.mark.process
@pytest.mark.skipif(INTERPRETED, reason="this is the process")
def test_the_kernels_in_the_interpreter():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "15 passed" in done.stdout


def test_fused_says_what_it_needs():
    fused = build_attention("xfa:order=fused,context=grid", embed_dim=24, qkv_dim=16, num_heads=4)
    with pytest.raises(UserError, match=r"needs a GPU, Triton, context=tokens.*here are cpu, float32 and 24 channels"):
        fused(torch.randn(1, 12, 24), (3, 4))
