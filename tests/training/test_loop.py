"""Training: equal starts, equal ends after a break, and a loop that does what the recipe says."""

import ctypes
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from killed_trainings import Killed, KillsAfter
from lightning_fabric.plugins.precision import MixedPrecision
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

import xbench
from xbench.cli.verbs import app
from xbench.data import Augmentation, open_data
from xbench.errors import UserError
from xbench.training.checkpoint import read_config, read_weights
from xbench.training.distributed import layout_of
from xbench.training.evaluation import evaluate
from xbench.training.job import Job, digest, outside_attention
from xbench.training.loop import DivergedError, train
from xbench.training.optimizer import make_optimizer, scale_of, take_up_scale
from xbench.training.recipe import DIGITS, IMAGENET, Recipe, recipe_for

CLASSES, PER_CLASS, SIDE = 3, 12, 32
SHORT = Recipe(epochs=3, batch=12, warmup=0.5, ema=0.9)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder per split and class with pictures whose brightness tells the class."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label in range(CLASSES):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(PER_CLASS):
                pixels = rng.integers(0, 80, (SIDE, SIDE, 3)) + 80 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return f"folder:{root}"


def make_job(data, **changes) -> Job:
    job = Job(data=data, img_size=(SIDE, SIDE), recipe=SHORT, attn="mhsa", size="xxs")
    return replace(job, **changes)


def test_settings_change_a_recipe_and_nothing_else():
    recipe = DIGITS.changed(["lr=0.001", "epochs=3", "ema=0", "optimizer=lamb", "hflip=0.5", "scale=[0.5, 1.0]"])
    assert (recipe.lr, recipe.epochs, recipe.ema, recipe.optimizer) == (0.001, 3, 0.0, "lamb")
    assert recipe.augmentation == Augmentation(hflip=0.5, scale=(0.5, 1.0))
    assert replace(recipe, lr=DIGITS.lr, epochs=DIGITS.epochs, ema=DIGITS.ema, optimizer=DIGITS.optimizer,
                   augmentation=DIGITS.augmentation) == DIGITS  # fmt: skip
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    assert recipe_for("folder:/somewhere") is IMAGENET


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr", "name=value"),
        ("learning_rate=1", "setting of the recipe.*learning_rate"),
        ("lr=fast", "lr of the recipe is a float"),
        ("lr=-1", "lr of the recipe must lie between"),
        ("epochs=0", "epochs of the recipe must lie between"),
        ("warmup=2", "warmup of the recipe must lie between"),
        ("epochs=2.5", "epochs of the recipe is a int"),
        ("dtype=fp8", "dtype 'fp8'"),
        ("schedule=cosin", "cosine"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(UserError, match=message):
        DIGITS.changed([setting])


def test_arms_start_equal_outside_the_attention(pictures):
    starts = {attn: make_job(pictures, attn=attn).build(CLASSES).state_dict() for attn in ("mhsa", "xfa", "identity")}
    shared = {attn: digest(outside_attention(weights)) for attn, weights in starts.items()}
    assert len(set(shared.values())) == 1
    assert digest(outside_attention(make_job(pictures, seed=1).build(CLASSES).state_dict())) != shared["mhsa"]
    assert digest(make_job(pictures).build(CLASSES).state_dict()) == digest(starts["mhsa"])
    attention = [name for name in starts["xfa"] if ".attn." in name]
    assert attention
    assert all(starts["xfa"][name].std() > 0 for name in attention if name.endswith("weight"))


def test_steps_are_those_of_a_naive_loop(pictures, tmp_path):
    # Not Adam, which makes a whole step of a gradient that is rounding error, as of a bias before a norm.
    recipe = replace(SHORT, ema=0.0, epochs=2, label_smoothing=0.1, clip_grad=0.5, optimizer="sgd", lr=0.05)
    job = make_job(pictures, recipe=recipe)
    found = train(job, tmp_path)
    torch.manual_seed(0)
    model = job.build(CLASSES).train().to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": SHORT.weight_decay}]
    optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    steps = CLASSES * PER_CLASS // SHORT.batch
    data = open_data(pictures, img_size=(SIDE, SIDE), batch=SHORT.batch, seed=0)
    number, losses = 0, []
    for epoch in range(2):
        for images, targets in data.train(epoch):
            low = 0.01 * recipe.lr
            warm = low + (recipe.lr - low) * number / steps
            cosine = low + 0.5 * (recipe.lr - low) * (1 + math.cos(math.pi * number / (2 * steps)))
            for group in optimizer.param_groups:
                group["lr"] = warm if number < steps else cosine
            scores = model(images.to(memory_format=torch.channels_last))
            loss = F.cross_entropy(scores, targets, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
            number += 1
    weights = read_weights(tmp_path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6, msg=name)
    expected = [sum(losses[:steps]) / steps, sum(losses[steps:]) / steps]
    assert [entry["loss"] for entry in found["history"]] == pytest.approx(expected, rel=1e-5)


def train_here(arguments, monkeypatch):
    """The command in this process, whose memory stays as it is."""
    monkeypatch.setattr("xbench.processes.child.keep_heap", lambda: None)
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_a_run_gone_on_with_ends_in_the_same_bits(pictures, tmp_path):
    job = make_job(pictures, recipe=replace(SHORT, drop_rate=0.3, drop_path_rate=0.2))
    whole = train(job, tmp_path / "whole")
    with pytest.raises(Killed):
        train(job, tmp_path / "broken", KillsAfter(2))
    assert len(read_config(tmp_path / "broken")["history"]) == 2
    torch.rand(1)  # whatever else happens in between
    again = train(job, tmp_path / "broken")
    assert digest(read_weights(tmp_path / "broken")) == digest(read_weights(tmp_path / "whole"))
    assert again["correct"] == whole["correct"]
    assert [e["loss"] for e in again["history"]] == [e["loss"] for e in whole["history"]]
    assert train(job, tmp_path / "whole") == whole  # held, not trained again
    with pytest.raises(UserError, match="another"):
        train(replace(job, seed=1), tmp_path / "whole")


def _forget_betas(state):
    del state["optimizer"]["param_groups"][0]["betas"]


def _name_the_rate(state):
    state["optimizer"]["param_groups"][0]["lr"] = "high"


def _shorten_an_average(state):
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1, 2, 3)


def _lose_an_average(state):
    del state["optimizer"]["state"][0]["exp_avg"]


def _widen_a_weight(state):
    name = next(iter(state["model"]))
    state["model"][name] = torch.zeros(1, 2, 3)


def _forget_the_average(state):
    del state["ema"]


@pytest.mark.parametrize(
    "spoil",
    [_forget_betas, _name_the_rate, _shorten_an_average, _lose_an_average, _widen_a_weight, _forget_the_average],
)
def test_a_state_that_does_not_fit_is_refused_and_stays(pictures, tmp_path, spoil):
    job = make_job(pictures)
    with pytest.raises(Killed):
        train(job, tmp_path, KillsAfter(1))
    state = torch.load(tmp_path / "resume.pt", weights_only=True)
    spoil(state)
    torch.save(state, tmp_path / "resume.pt")
    before = (tmp_path / "resume.pt").read_bytes()
    with pytest.raises(UserError, match=r"does not fit this training; remove resume.pt"):
        train(job, tmp_path)
    assert (tmp_path / "resume.pt").read_bytes() == before


def test_in_fp16_gradients_are_clipped_before_the_optimizer_sees_their_scale():
    """torch's fused kernels divide by the scale themselves, and Fabric then refuses to clip."""
    model = torch.nn.Linear(2, 2)
    for dtype, fused in (("fp32", True), ("bf16", True), ("fp16", False)):
        optimizer = make_optimizer(model, replace(SHORT, dtype=dtype))
        assert bool(getattr(optimizer, "_step_supports_amp_scaling", False)) is fused


class ScaledFabric:
    """As much of a Fabric on CUDA in fp16 as holds the scale of the loss."""

    def __init__(self):
        self.strategy = self
        self.precision = MixedPrecision("16-mixed", "cuda", scaler=torch.amp.GradScaler("cpu"))


def test_the_scale_of_the_loss_goes_on():
    before, after = ScaledFabric(), ScaledFabric()
    before.precision.scaler.scale(torch.ones(1))  # makes it begin
    before.precision.scaler.update(new_scale=512.0)
    state = scale_of(before)
    assert state["scale"]["scale"] == 512.0
    take_up_scale(after, state)
    assert scale_of(after) == state
    for spoilt in ({}, {"scale": "1"}, {"scale": math.inf}, {"scale": torch.ones(2)}, {"other": 1.0}):
        with pytest.raises(ValueError, match="scale of the loss"):
            take_up_scale(after, {"scale": {**state["scale"], **spoilt} if spoilt else {}})


def test_padded_average_pooling_trains_in_the_layout_whose_gradients_are_right():
    pads, plain = torch.nn.AvgPool2d(3, 1, padding=1), torch.nn.AvgPool2d(2)
    assert layout_of(pads, "cuda") is torch.contiguous_format
    assert {layout_of(pads, "cpu"), layout_of(plain, "cpu"), layout_of(plain, "cuda")} == {torch.channels_last}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lamb"])
def test_any_optimizer_goes_on_from_its_own_state(pictures, tmp_path, optimizer):
    job = make_job(pictures, recipe=replace(SHORT, epochs=2, optimizer=optimizer, lr=0.001))
    with pytest.raises(Killed):
        train(job, tmp_path, KillsAfter(1))
    assert [entry["epoch"] for entry in train(job, tmp_path)["history"]] == [1, 2]


def test_an_ended_run_that_does_not_say_how_is_refused(pictures, tmp_path):
    job = make_job(pictures, recipe=replace(SHORT, epochs=1))
    train(job, tmp_path)
    config = read_config(tmp_path)
    del config["data"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not say all of how the training ended"):
        train(job, tmp_path)


@pytest.mark.process
def test_two_processes_train_as_one_with_the_joint_batch(pictures, tmp_path, monkeypatch):
    arguments = ["-m", "xbench", "train", "--attn", "mhsa", "--size", "xxs", "--res", "32", "--data", pictures]
    arguments += ["--threads", "1", "--recipe", "batch=12", "epochs=2", "warmup=0.5", "drop_rate=0", "ema=0.9"]
    # Adam makes a whole step of a gradient that is rounding error; plain descent does not.
    arguments += ["optimizer=sgd", "lr=0.02"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    train_here([*arguments[2:], "--out", str(tmp_path / "one")], monkeypatch)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29541"]
    command = [*torchrun, *arguments, "--out", str(tmp_path / "two")]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    one, two = read_config(tmp_path / "one"), read_config(tmp_path / "two")
    assert (one["processes"], two["processes"]) == (1, 2)
    for ours, theirs in zip(one["history"], two["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["val_top1"] == theirs["val_top1"]
    assert one["correct"] == two["correct"]
    single, joint = read_weights(tmp_path / "one"), read_weights(tmp_path / "two")
    for name, value in single.items():
        torch.testing.assert_close(
            joint[name], value, rtol=1e-3, atol=1e-5, msg=lambda why, name=name: f"{name}: {why}"
        )


def test_weights_are_tested_at_another_resolution_and_patch_size(pictures, tmp_path):
    job = make_job(pictures)
    found = train(job, tmp_path)
    _, same, _ = evaluate(tmp_path)
    assert same["correct"] == found["correct"]
    assert found["low"] < found["top1"] <= 100
    other, accuracy, _ = evaluate(tmp_path, img_size=(64, 96), patch_size=1)
    assert (other.img_size, other.patch_size, accuracy["images"]) == ((64, 96), 1, CLASSES * PER_CLASS)
    with pytest.raises(UserError, match="do not fit"):
        evaluate(tmp_path, data="digits")
    with pytest.raises(UserError, match="no training run"):
        evaluate(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"job": {"attn": "mhsa", "colour": "red"}}')
    with pytest.raises(UserError, match="not of this version"):
        evaluate(tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(pictures, tmp_path):
    job = make_job(pictures, attn="tests.support.faulty_attentions:ReturnsNaN")
    with pytest.raises(DivergedError, match="loss is nan"):
        train(job, tmp_path)


@pytest.mark.process
def test_compare_joins_accuracy_with_cost(pictures, tmp_path, workers_here):
    found = xbench.compare(
        attn=["mhsa", "identity", "tests.support.faulty_attentions:ReturnsNaN"],
        res=[SIDE],
        size="xxs",
        metrics=["top1", "params"],
        data=pictures,
        recipe=["batch=12", "epochs=2", "warmup=0.5"],
        seeds=1,
        threads=[min(2, os.cpu_count() or 1)],
        quiet=True,
        out=tmp_path,
    )
    frame = found.frame.query("metric == 'top1'").set_index("arm")
    assert frame.loc["mhsa", "unit"] == "%"
    assert frame.loc["tests.support.faulty_attentions:ReturnsNaN", "status"] == "diverged"
    assert frame.loc["identity", "difference"] == pytest.approx(
        frame.loc["identity", "value"] - frame.loc["mhsa", "value"]
    )
    text = (tmp_path / "report.md").read_text()
    assert "one seed" in text
    assert "UNFAIR" not in text
    assert (tmp_path / "plots" / "accuracy.png").exists()
    assert (tmp_path / "plots" / "learning.png").exists()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_training_keeps_the_memory_that_it_frees():
    count = """
import resource, torch
from xbench.processes.child import keep_heap
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
stock = min(faults() for _ in range(3))
keep_heap()
for _ in range(20):  # until the heap has room for what is asked of it
    faults()
print(stock, max(faults() for _ in range(3)))
"""
    stock, kept = map(int, subprocess.check_output([sys.executable, "-c", count], text=True).split())
    # Huge pages would make 32 faults of 16,384.
    assert kept < 16 <= stock
