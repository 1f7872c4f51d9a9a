"""A model part by part: fvcore counts the same in every part, and the parts make the whole."""

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from typer.testing import CliRunner

from xbench.cli.verbs import app
from xbench.metrics.counting.cost import count_cost
from xbench.metrics.summary import summarize
from xbench.models.baselines import build_baseline
from xbench.tasks.building import build_for

PRODUCTS = ("conv", "linear", "matmul", "addmm", "bmm")


def twins(build):
    with torch.device("meta"):
        paper = build().eval()
    return build().eval(), paper


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_for("classify", "mhsa", None, img_size=(64, 64), num_classes=10, size="xxs"),
        lambda: build_for("detect", "mhsa", None, img_size=(64, 64), num_classes=3, size="xxs"),
        lambda: build_baseline("resnet10t", img_size=(64, 64), num_classes=10),
    ],
    ids=["classifier", "detector", "resnet10t"],
)
def test_parts_have_what_fvcore_counts_in_them(build):
    model, paper = twins(build)
    inputs = torch.randn(1, 3, 64, 64)
    parts = {part.name: part for part in summarize(model, paper, inputs, 3)}
    counted = FlopCountAnalysis(model, inputs)
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_module = counted.by_module()
    by_operator = counted.by_module_and_operator()
    for name, part in parts.items():
        # fvcore counts norms and pooling as work; here products alone are.
        products = sum(by_operator[name][operator] for operator in PRODUCTS)
        assert part.macs == pytest.approx(products, rel=0.01, abs=10), name
        assert part.params == sum(weight.numel() for weight in model.get_submodule(name).parameters())
    assert by_module[""] >= parts[""].macs
    assert parts[""].macs == count_cost(paper, inputs.to("meta"), cross_check=False).counters["torch"]
    whole = [part for name, part in parts.items() if name and "." not in name]
    assert sum(part.macs for part in whole) <= parts[""].macs
    assert parts[""].share == 1
    assert sum(part.share for part in whole) < 1.2


def test_a_layer_is_not_taken_apart():
    model, paper = twins(lambda: build_for("classify", "identity", None, img_size=(64, 64), num_classes=10, size="xxs"))
    names = [part.name for part in summarize(model, paper, torch.randn(1, 3, 64, 64), 3)]
    assert {"stem", "stages.2.1", "head", ""} <= set(names)
    assert not any(name.startswith("stem.") for name in names)
    assert names[-1] == ""


def test_it_is_shown():
    done = CliRunner().invoke(app, ["summary", "xfa", "--res", "64", "--size", "xxs"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "XFBlock" in done.output
    assert "48×8×8" in done.output
