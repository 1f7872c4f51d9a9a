"""What is measured on a GPU, held to counts by hand, to torch's own counters and to its profiler."""

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from xbench.metrics.breakdown import COMPONENTS, breakdown
from xbench.metrics.machine import SIDES, machine_limits
from xbench.metrics.memory import peak_memory
from xbench.metrics.timing import device_seconds, measure_block, warm_up
from xbench.metrics.training_step import TrainingStep
from xbench.models import build_model

pytestmark = [pytest.mark.cuda, pytest.mark.process]  # Triton asks for its compiler in a process
CUDA = torch.device("cuda")


class Scores(nn.Module):
    """Explicit softmax over n × n scores: the scores and their softmax are alive together."""

    def forward(self, x):
        return torch.softmax(x @ x.mT, dim=-1)


@pytest.mark.parametrize("n", [512, 1000])
def test_requested_bytes_are_a_count_by_hand(n):
    x = torch.randn(n, 64, device=CUDA)
    with torch.inference_mode():
        peak = peak_memory(lambda: Scores()(x), Scores(), x, CUDA)
    assert peak.activations == 2 * 4 * n * n
    assert peak.resident == x.nbytes
    assert peak.requested == peak.total <= peak.allocated <= peak.reserved


def test_peak_memory_repeats_and_is_what_torch_says():
    model, image = build_model("xfa", size="xxs").eval().cuda(), torch.rand(4, 3, 256, 256, device=CUDA)

    def forward():
        with torch.inference_mode():
            return model(image)

    first, second = (peak_memory(forward, model, image, CUDA) for _ in range(2))
    assert first == second
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    forward()
    torch.cuda.synchronize()
    assert first.allocated == torch.cuda.max_memory_allocated()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_step_of_training_has_parts_and_a_peak(dtype):
    model, image = build_model("mhsa", size="xxs").train().cuda(), torch.rand(4, 3, 64, 64, device=CUDA)
    step = TrainingStep(model, image, lambda scores: F.cross_entropy(scores, torch.arange(4, device=CUDA)), dtype)
    warm = warm_up(step.step, 0.5, 3)
    block = measure_block(step.step, warm, step.parts)
    assert all(seconds > 0 for seconds in block.parts.values())
    assert sum(block.parts.values()) == pytest.approx(block.seconds, rel=0.1)
    peak = peak_memory(step.step, model, image, CUDA, optimizer=step.optimizer)
    held = sum(parameter.nbytes for parameter in model.parameters())
    assert peak.activations > held  # the gradients, at least
    assert step.step().isfinite()


@pytest.mark.process  # Triton asks the linker for CUDA's library
def test_device_time_is_that_of_the_kernels():
    """A product long enough that a cold cache hardly counts."""
    left = torch.randn(4096, 4096, device=CUDA)

    def product():
        return left @ left

    times = device_seconds(product)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(10):
            product()
        torch.cuda.synchronize()
    # Of an operation and of its kernels the same time is told.
    kernels = [event for event in profiler.key_averages() if event.device_type == DeviceType.CUDA]
    seconds = sum(event.self_device_time_total for event in kernels) / 10 / 1e6
    assert len(times) >= 3
    assert sorted(times)[len(times) // 2] == pytest.approx(seconds, rel=0.15)


def test_the_parts_of_a_forward_sum_to_the_time_between_events():
    model, image = build_model("xfa", size="xxs").eval().cuda(), torch.rand(8, 3, 256, 256, device=CUDA)

    def forward():
        with torch.inference_mode():
            return model(image)

    forward()
    taken = breakdown(forward, model)
    assert all(set(one) == set(COMPONENTS) and min(one.values()) >= 0 for one in taken)
    assert all(one["convolutions"] > 0 and one["attention"] > 0 for one in taken)


@pytest.mark.process
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_limits_are_what_a_plain_script_reaches(dtype):
    found = machine_limits(CUDA, dtype)
    side = SIDES["cuda"][-1]
    left, right = (torch.rand(side, side, device=CUDA).to(dtype) for _ in range(2))
    plain = Timer("left @ right", globals={"left": left, "right": right}).blocked_autorange(min_run_time=0.5)
    assert found.macs_per_second == pytest.approx(side**3 / plain.median, rel=0.15)
    source, target = torch.zeros(2, 2**30, dtype=torch.uint8, device=CUDA)
    plain = Timer("target.copy_(source)", globals={"source": source, "target": target}).blocked_autorange()
    assert found.copy_bytes_per_second == pytest.approx(2 * 2**30 / plain.median, rel=0.1)
