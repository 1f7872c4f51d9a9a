"""Training on a GPU learns, in every precision, goes on after a break, and runs under torchrun with NCCL."""

import os
import subprocess
import sys

import pytest
import torch
from killed_trainings import Killed, KillsAfter

from xbench.training.checkpoint import read_config, read_weights
from xbench.training.evaluation import evaluate
from xbench.training.job import Job
from xbench.training.loop import train
from xbench.training.recipe import recipe_for

pytestmark = pytest.mark.cuda


def job(**changes):
    settings = [f"{name}={value}" for name, value in changes.items()]
    recipe = recipe_for("digits").changed(settings)
    return Job(data="digits", img_size=(32, 32), recipe=recipe, attn="xfa", size="xxs", device="cuda")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_digits_are_learnt_in_every_precision(tmp_path, dtype):
    found = train(job(epochs=8, dtype=dtype), tmp_path)
    assert found["top1"] > 80
    _, on_cpu, _ = evaluate(tmp_path, device="cpu")
    _, on_gpu, _ = evaluate(tmp_path, device="cuda")
    assert on_gpu.correct == found["correct"]
    assert abs(on_gpu.correct - on_cpu.correct) <= 2  # fp32 kernels of two kinds


def test_a_run_gone_on_with_ends_as_one_in_a_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    whole = train(job(epochs=3, drop_rate=0.1), tmp_path / "whole")
    with pytest.raises(Killed):
        train(job(epochs=3, drop_rate=0.1), tmp_path / "broken", KillsAfter(1))
    again = train(job(epochs=3, drop_rate=0.1), tmp_path / "broken")
    assert len(read_config(tmp_path / "broken")["history"]) == 3
    for ours, theirs in zip(again["history"], whole["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
    assert read_weights(tmp_path / "broken").keys() == read_weights(tmp_path / "whole").keys()


@pytest.mark.process
def test_torchrun_uses_nccl(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-port", "29547"]
    command = ["-m", "xbench", "train", "--attn", "mhsa", "--size", "xxs", "--res", "32", "--device", "cuda"]
    command += ["--epochs", "1", "--out", str(tmp_path / "one")]
    environment = {**os.environ, "NCCL_DEBUG": "VERSION"}
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_config(tmp_path / "one")["correct"] > 0
