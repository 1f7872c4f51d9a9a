"""One step of training: what it does to the weights, what it holds, and how its time is divided."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xbench.errors import UserError
from xbench.metrics.counting.tally import predict
from xbench.metrics.memory import peak_memory
from xbench.metrics.timing import WarmUp, measure_block
from xbench.metrics.training_step import LEARNING_RATE, TrainingStep

BATCH, WIDTH, HIDDEN, CLASSES = 512, 64, 128, 10


def make_mlp(device="cpu"):
    with torch.device(device):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
        return model, torch.rand(BATCH, WIDTH)


def test_the_memory_of_a_step_by_hand():
    model, inputs = make_mlp()
    training = TrainingStep(model, inputs, None)
    peaks = {
        peak_memory(training.step, model, inputs, torch.device("cpu"), optimizer=training.optimizer) for _ in range(3)
    }
    assert len(peaks) == 1
    peak = peaks.pop()

    weights = WIDTH * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES
    counters = 4  # of the optimizer's steps, one per tensor of weights
    assert peak.resident == 4 * (3 * weights + counters + BATCH * WIDTH)
    # The peak is in the backward pass, at the gradient of the activation: the hidden map before and after it (saved for
    # both layers), its gradient on either side, the gradients of the last layer, and the loss with the scale of its
    # gradient.
    hidden, last = BATCH * HIDDEN, HIDDEN * CLASSES + CLASSES
    assert peak.activations == pytest.approx(4 * (3 * hidden + last), rel=0.03)

    model, inputs = make_mlp("meta")
    training = TrainingStep(model, inputs, None)
    predicted = predict(training.step, model, inputs, training.optimizer)
    assert (predicted.resident, predicted.activations) == (peak.resident, peak.activations)


def test_a_step_is_adamw_on_the_loss():
    model, inputs = make_mlp()
    reference, _ = make_mlp()
    targets = torch.arange(BATCH) % CLASSES
    training = TrainingStep(model, inputs, partial(F.cross_entropy, target=targets))
    losses = [training.step().item() for _ in range(2)]

    optimizer = torch.optim.AdamW(reference.parameters(), lr=LEARNING_RATE)
    for loss in losses:
        expected = F.cross_entropy(reference(inputs), targets)
        assert loss == pytest.approx(expected.item())
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    for trained, same in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(trained, same)
        assert trained.grad is None


def test_half_precision_is_that_of_the_products():
    model, inputs = make_mlp()
    seen = []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    assert TrainingStep(model, inputs, None, torch.bfloat16).step().dtype == torch.float32
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("device", "dtype", "words"), [("cpu", torch.float16, "CUDA"), ("meta", torch.bfloat16, "fp32 only")]
)
def test_what_cannot_be_trained_is_refused(device, dtype, words):
    with pytest.raises(UserError, match=words):
        TrainingStep(*make_mlp(device), None, dtype)


def test_a_block_has_the_parts_of_its_iterations_alone():
    training = TrainingStep(*make_mlp(), None)
    training.parts["forward"] = 1e6
    block = measure_block(training.step, WarmUp(0.1, 0.001, 4, 3, True), training.parts)
    assert set(block.parts) == {"forward", "backward", "optimizer"}
    assert 0 < sum(block.parts.values()) <= block.seconds
    assert measure_block(lambda: None, WarmUp(0.1, 0.001, 4, 3, True)).parts == {}
