"""What is known of a case before it is measured, also of modules that do not run on the meta device."""

import sys

import pytest
import torch
from places import SUPPORT

from xbench.analysis.results import Results
from xbench.attention.spec import build_attention
from xbench.conformance import CHECKS, verify
from xbench.metrics.counting.cost import count_cost
from xbench.models import build_model
from xbench.models.alone import Alone
from xbench.records.ledger import Ledger
from xbench.runner.progress import RunLimits
from xbench.runner.runner import Runner
from xbench.study.request import StudyRequest, make_study

COUNTED = ("CountsOnTheCpu", "AsksForAValue", "IsLazy")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """The folder that a user would stand in, holding a module of his own."""
    monkeypatch.chdir(SUPPORT)
    monkeypatch.setattr(sys, "path", [str(SUPPORT), *sys.path])


def uncommon(name):
    return f"uncommon_attentions:{name}"


def run(folder, names, metrics, **axes):
    study = make_study(StudyRequest([*map(uncommon, names)], [64], size="xxs", metrics=metrics, threads=[1], **axes))
    ledger = Ledger(folder / "records.jsonl")
    Runner(study, ledger, limits=RunLimits(turn_seconds=60.0)).run()
    results = Results(ledger.read())
    return {name: {m: results.cell(results.conditions[-1], uncommon(name), m) for m in metrics} for name in names}


def check_counted(folder, names):
    found = run(folder, ["Plain", *names], ["params", "macs", "predicted_memory"])
    plain = {metric: found["Plain"][metric].figure for metric in found["Plain"]}
    for name in names:
        own = {metric: cell.figure for metric, cell in found[name].items()}
        assert own["params"] == plain["params"], name
        assert own["macs"] == plain["macs"], name
        assert own["predicted_memory"].value == pytest.approx(plain["predicted_memory"].value, rel=0.01), name


def test_what_does_not_run_on_the_meta_device_is_counted_with_real_tensors(tmp_path, workers_here):
    check_counted(tmp_path, COUNTED)


@pytest.mark.process
def test_what_keeps_tensors_of_the_meta_device_is_counted_in_a_process_that_saw_none(tmp_path):
    check_counted(tmp_path, ["KeepsTensors"])


def test_what_cannot_be_counted_is_measured_all_the_same(tmp_path, workers_here):
    metrics = ["params", "macs", "predicted_memory", "peak_memory"]
    (own,) = run(tmp_path, ["CannotBeCounted"], metrics).values()
    assert own["params"].figure.value > 0
    assert own["peak_memory"].figure.value > 1
    for metric in ("macs", "predicted_memory"):
        assert (own[metric].status, own[metric].figure) == ("crash", None)
        assert "failed: ZeroDivisionError: planted" in own[metric].reason


def test_memory_that_cannot_be_predicted_is_absent_and_says_why(tmp_path, workers_here):
    metrics = ["macs", "predicted_memory"]
    found = run(tmp_path, ["Plain", "AsksForAValue"], metrics, direction=["training"])
    assert found["Plain"]["macs"].figure == found["AsksForAValue"]["macs"].figure
    assert found["Plain"]["predicted_memory"].figure.value > 1
    unknown = found["AsksForAValue"]["predicted_memory"]
    assert (unknown.status, unknown.figure) == ("unsupported", None)
    assert "does not run on the meta device" in unknown.reason


def test_a_layer_that_all_blocks_share_counts_once_in_parameters_and_each_time_in_macs():
    image = torch.empty(1, 3, 64, 64, device="meta")
    with torch.device("meta"):
        plain, shared = (build_model(uncommon(name), size="xxs") for name in ("Plain", "IsShared"))
    costs = [count_cost(model, image, cross_check=False) for model in (plain, shared)]
    assert costs[0].macs == costs[1].macs
    stages = ((2, 64), (4, 80), (3, 96))  # of "xxs": depth and width
    saved = sum((depth - 1) * 3 * width * (width + 1) for depth, width in stages)
    assert costs[0].params - costs[1].params == saved


def test_an_attention_that_all_blocks_share_is_counted_at_each_call():
    with torch.device("meta"):
        model = build_model("mhsa", size="xxs")
        alone = count_cost(model, torch.empty(1, 3, 64, 64, device="meta"), cross_check=False)
        for stage in model.stages:
            layers = [layer for module in stage for layer in getattr(module, "layers", [])]
            for layer in layers:
                layer.attn = layers[0].attn
    shared = count_cost(model, torch.empty(1, 3, 64, 64, device="meta"), cross_check=False)
    assert (shared.macs, shared.attention_formula) == (alone.macs, alone.attention_formula)
    assert shared.params < alone.params


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_lazy_layers_are_there_before_anyone_asks(device):
    with torch.device(device):
        widths = {"embed_dim": 12, "qkv_dim": 8, "num_heads": 2}
        lazy, plain = (build_attention(uncommon(name), **widths) for name in ("IsLazy", "Plain"))
    assert [p.shape for p in lazy.parameters()] == [p.shape for p in plain.parameters()]
    assert lazy.training


def test_verify_counts_with_real_tensors_where_it_must():
    (check,) = [check for check in CHECKS if check.name == "cost formula"]
    (finding,) = verify(uncommon(COUNTED[0]), [check])
    assert finding.outcome == "skip"
    assert "torch's count stands in" in finding.reason


def test_real_tensors_and_the_meta_device_count_alike():
    counts = {}
    for device in ("meta", "cpu"):
        with torch.device(device):
            # torch's own layer, which has a fused kernel for inference that no counter sees into.
            layer = torch.nn.MultiheadAttention(24, 4, batch_first=True).eval()
            model = Alone(Twice(layer), (4, 4))
            counts[device] = count_cost(model, torch.zeros(1, 16, 24), cross_check=False).macs
    assert counts["cpu"] == counts["meta"] >= 4 * 16 * 24 * 24


class Twice(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, grid):
        return self.layer(x, x, x, need_weights=False)[0]
