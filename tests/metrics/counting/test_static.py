"""What is predicted on the meta device: the count by hand, torch's own counter, and what a CPU then needs."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from xbench.attention.spec import build_attention
from xbench.metrics.counting.cost import cost_and_footprint, count_cost
from xbench.metrics.counting.tally import predict, tallying
from xbench.metrics.memory import peak_memory
from xbench.metrics.training_step import TrainingStep
from xbench.models.alone import Alone
from xbench.models.baselines import build_baseline
from xbench.models.layers import XFBlock
from xbench.models.xformer import XFormer

CPU = torch.device("cpu")
WIDTHS = {"embed_dim": 48, "qkv_dim": 32, "num_heads": 4}


def on_meta(build):
    with torch.device("meta"):
        return build()


def both(build, shape):
    """The predicted and the measured memory of inference."""
    # Whether weights have gradients counts without gradients too: torch folds batches for them in products.
    predicted = cost_and_footprint(on_meta(build).requires_grad_(False), torch.empty(shape, device="meta"))[1]
    model, inputs = build().eval().requires_grad_(False), torch.rand(shape)
    with torch.inference_mode():
        return predicted, peak_memory(lambda: model(inputs), model, inputs, CPU, warm=True)


def test_explicit_attention_by_hand():
    q = torch.empty(1, 4, 4096, 36, device="meta")

    def explicit():
        scores = q @ q.transpose(-2, -1)
        return scores.softmax(dim=-1) @ q

    with torch.no_grad():
        found = predict(explicit, nn.Identity(), q)
    scores, tokens = 4 * 4096 * 4096 * 4, 4 * 4096 * 36 * 4
    assert found.resident == tokens
    assert found.activations == 2 * scores + tokens
    assert found.traffic == (tokens + tokens + scores) + (scores + scores) + (scores + tokens + tokens)


@pytest.mark.parametrize("attn", ["mhsa", "separable", "xca", "agent", "performer"])
def test_without_scratch_the_prediction_is_what_a_cpu_needs(attn):
    grid = (16, 16)
    predicted, measured = both(lambda: Alone(build_attention(attn, **WIDTHS), grid), (4, 256, 48))
    assert predicted.resident == measured.resident
    assert predicted.activations == pytest.approx(measured.activations, rel=1e-4)


@pytest.mark.parametrize("attn", ["xfa", "mhsa-sdpa", "torch.nn:MultiheadAttention"])
def test_a_model_needs_what_is_predicted_and_scratch(attn):
    predicted, measured = both(lambda: XFormer(attn, size="xxs"), (1, 3, 96, 128))
    assert predicted.resident == measured.resident
    assert 0.8 * measured.activations < predicted.activations <= measured.activations


def test_fused_attention_has_no_scores_in_either_direction():
    q = torch.empty(1, 4, 4096, 24, device="meta", requires_grad=True)
    scores = 4 * 4096 * 4096 * 4

    def backward():
        F.scaled_dot_product_attention(q, q, q).sum().backward()
        q.grad = None

    assert predict(backward, nn.Identity(), q).activations < scores / 10
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert predict(backward, nn.Identity(), q).activations > scores


def test_functions_of_torch_are_as_they_were_after_an_error():
    before = F.scaled_dot_product_attention, F.linear
    with pytest.raises(ZeroDivisionError), tallying():
        _ = 1 // 0
    assert (F.scaled_dot_product_attention, F.linear) == before


@pytest.mark.parametrize("name", ["mobilevit_s", "mobilevitv2_100", "mhsa-sdpa", "window"])
def test_macs_are_those_of_torchs_counter(name):
    model = on_meta(lambda: build_baseline(name, img_size=128) if "mobilevit" in name else XFormer(name, size="xxs"))
    image = torch.empty(1, 3, 128, 160, device="meta")
    for _ in range(2):  # the second is from memory
        with torch.no_grad(), tallying() as tally:
            model(image)
    with FlopCounterMode(display=False) as reference:
        model.eval()(image)
    assert 2 * tally.macs == reference.get_total_flops()


def test_a_number_of_another_type_is_another_operation():
    x = torch.empty(8, dtype=torch.int32, device="meta")
    with tallying():
        assert (x * 2).dtype == torch.int32
        assert (x * 2.0).dtype == torch.float32


def test_under_inference_mode_composite_operations_count_by_their_parts():
    linear = on_meta(lambda: nn.Linear(8, 16))
    x = torch.empty(2, 4, 8, device="meta")
    with torch.inference_mode(), tallying() as tally:
        linear(x)
        F.scaled_dot_product_attention(x[None], x[None], x[None])
    assert tally.macs == 8 * 8 * 16 + 2 * 2 * 4 * 4 * 8


@pytest.mark.parametrize("attn", ["mhsa", "mhsa-sdpa"])
def test_training_is_predicted_with_the_state_of_the_optimizer(attn):
    shape = (2, 3, 64, 64)

    def train(device):
        with torch.device(device):
            model = XFormer(attn, size="xxs").train()
            inputs = torch.rand(shape)
            loss = partial(F.cross_entropy, target=torch.arange(2))
            return model, inputs, TrainingStep(model, inputs, loss)

    model, inputs, training = train("meta")
    predicted = predict(training.step, model, inputs, training.optimizer)
    model, inputs, training = train("cpu")
    measured = peak_memory(training.step, model, inputs, CPU, optimizer=training.optimizer)
    assert predicted.resident == measured.resident
    assert predicted.activations == pytest.approx(measured.activations, rel=0.02)


def test_blocks_and_attentions_alone_are_counted():
    block = next(module for module in on_meta(lambda: XFormer("mhsa")).modules() if isinstance(module, XFBlock))
    cost = count_cost(block, torch.empty(1, 96, 32, 32, device="meta"), cross_check=False)
    assert set(cost.counters) == {"torch"}
    assert not cost.failures
    assert cost.attention_fvcore is None
    assert cost.formula_agreement == 1
    alone = count_cost(Alone(block.layers[0].attn, (16, 16)), torch.empty(1, 256, 144, device="meta"))
    assert alone.macs == alone.attention_formula == block.layers[0].attn.macs((16, 16))
    assert set(alone.counters) == {"torch", "fvcore", "ptflops"}
