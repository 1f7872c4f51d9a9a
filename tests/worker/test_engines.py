"""Engines run what torch exports, and what they compute is torch's."""

import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from xbench.engines.exports import compare, export
from xbench.engines.sessions import ExportError, start
from xbench.errors import UserError
from xbench.parsing.axes import ENGINES
from xbench.study.request import StudyRequest, make_study
from xbench.worker.engines import Engine
from xbench.worker.subject import Subject

for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package)


def case_of(mode, attn="xfa", **asked):
    asked = {"level": ["op"], "tokens": [16], "batch": [2], **asked}
    res = asked.pop("res", [])
    (case,) = make_study(StudyRequest([attn], res, mode=[mode], size="xxs", **asked)).cases()
    return case


@pytest.mark.process
@pytest.mark.parametrize("mode", ENGINES)
def test_an_engine_computes_what_torch_does(mode, tmp_path):
    case = case_of(mode)
    eager = Subject(replace(case, arm=replace(case.arm, mode="eager")), [])
    subject = Subject(case, [], exports=tmp_path)
    for batch in (2, 1):  # an export of its own for each
        found, expected = subject.forward(batch), eager.forward(batch)
        off = float((found - expected).abs().max() / expected.abs().max())
        # Eight bits are one of 256 steps in each of some products.
        assert (1e-3 < off < 0.1) if mode.endswith("_int8") else off < 1e-5
        if mode.endswith("_int8"):
            assert subject.run.exported["off"] == pytest.approx(off, rel=0.01)
    assert len(list(tmp_path.glob(f"*.{mode}"))) == 2


def test_what_an_engine_cannot_read_is_said(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    for mode in ("onnxruntime", "openvino"):
        with pytest.raises(ExportError, match=f"{mode} cannot run the exported model: "):
            start(mode, tmp_path / "model.onnx", 1)


@pytest.mark.process
def test_what_cannot_be_exported_says_why(tmp_path):
    case = case_of("onnxruntime", attn=f"{__file__}:CannotBeExported")
    with pytest.raises(ExportError, match="cannot be exported"):
        Engine(case, [], tmp_path)(torch.randn(2, 16, 64))


class CannotBeExported(nn.Module):
    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.value = nn.Linear(embed_dim, embed_dim)

    def forward(self, x, grid):
        return self.value(x) * (2 if float(x.sum()) > 0 else 1)

    def macs(self, grid):
        return grid[0] * grid[1] * self.value.weight.numel()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda run: lambda x: 1.01 * run(x), "wrong: its outputs are 1.0e-02 of the largest off torch's"),
        (lambda run: lambda x: run(x) * float("nan"), "wrong: its outputs are nan"),
        (lambda run: lambda x: run(x)[:, :1], r"returns \(2, 1, 8\), not \(2, 4, 8\)"),
    ],
)
def test_a_wrong_export_is_refused(made, message, tmp_path):
    torch.manual_seed(0)
    model, x = nn.Linear(8, 8).requires_grad_(False), torch.randn(2, 4, 8)
    export(model, x, tmp_path / "model.onnx")
    run = start("onnxruntime", tmp_path / "model.onnx", 1)
    assert compare(run, model, [x, 3 * x]) < 1e-5
    with pytest.raises(ExportError, match=message):
        compare(made(run), model, [x])


@pytest.mark.parametrize("threads", [1, 3])
def test_onnx_runtime_has_the_threads_that_it_is_given(threads, tmp_path):
    export(nn.Linear(8, 8).requires_grad_(False), torch.randn(2, 4, 8), tmp_path / "model.onnx")
    before = len(os.listdir("/proc/self/task"))
    run = start("onnxruntime", tmp_path / "model.onnx", threads)
    assert run is not None
    assert len(os.listdir("/proc/self/task")) - before == threads - 1  # this thread is one of them


@pytest.mark.parametrize(
    "asked", [{"direction": ["training"]}, {"dtype": ["bf16"]}, {"direction": ["training"], "dtype": ["bf16"]}], ids=str
)
def test_what_no_engine_is_run_for_is_refused(asked, tmp_path):
    with pytest.raises(UserError, match="mode 'openvino' is for inference in fp32 on the CPU"):
        Subject(case_of("openvino", **asked), [], exports=tmp_path)
