"""The parts of a forward are told apart, sum to the whole, and leave no hooks."""

import time

import pytest
import torch
from torch import nn

from xbench.metrics import breakdown as module
from xbench.metrics.breakdown import COMPONENTS, breakdown
from xbench.models.baselines import build_baseline
from xbench.models.xformer import XFormer


class Sleeper(nn.Module):
    """An attention whose time is in a child that looks like something else."""

    def __init__(self, *, embed_dim, qkv_dim, num_heads):
        super().__init__()
        self.proj = nn.Conv1d(embed_dim, embed_dim, 1)

    def forward(self, x, grid):
        self.proj(x.mT)
        time.sleep(0.05)
        return x


def hooks(model):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


@pytest.fixture
def slow():
    return XFormer(Sleeper, size="xxs").eval(), torch.rand(1, 3, 64, 64)


def test_attention_that_sleeps_has_the_time(slow):
    model, image = slow
    taken = breakdown(lambda: model(image), model, seconds=0)
    assert len(taken) == 1
    assert tuple(taken[0]) == COMPONENTS
    assert taken[0]["attention"] >= 9 * 0.05
    assert all(taken[0][part] > 0 for part in COMPONENTS)
    assert hooks(model) == 0


def test_parts_sum_to_the_iteration(monkeypatch):
    ticks = []

    def tick():
        ticks.append(float(len(ticks)))
        return ticks[-1]

    monkeypatch.setattr(module.time, "perf_counter", tick)
    model, image = XFormer("xfa", size="xxs").eval(), torch.rand(1, 3, 64, 64)
    (taken,) = breakdown(lambda: model(image), model, seconds=0)
    # The first look at the clock and the last are the loop's.
    assert sum(taken.values()) == ticks[-2] - ticks[1] > 400


def test_hooks_are_gone_after_an_error(slow):
    model, _ = slow
    with pytest.raises(RuntimeError):
        breakdown(lambda: model(torch.rand(1, 5, 64, 64)), model)
    assert hooks(model) == 0


@pytest.mark.parametrize(("name", "has"), [("mobilevit_s", 9), ("mobilevitv2_100", 9)])
def test_parts_of_a_timm_model(name, has):
    found = list(module._components(build_baseline(name, img_size=64)).values())
    assert found.count("attention") == found.count("MLP") == has
    assert found.count("unfold/fold") == 3
