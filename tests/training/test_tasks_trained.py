"""Detection and segmentation are trained by the loop of classification: gone on with, by two processes, in a study."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_trainings import Killed, KillsAfter
from PIL import Image

import xbench
from xbench.errors import UserError
from xbench.report.folder import remake_report
from xbench.tasks import SCORES
from xbench.training.checkpoint import read_config, read_weights
from xbench.training.evaluation import evaluate
from xbench.training.job import Job, digest, outside_attention
from xbench.training.loop import train
from xbench.training.recipe import Recipe
from xbench.training.start import begin_from

TASKS = ("detect", "segment")
SCENES = "scenes:test=6,train=16,val=4"
SHORT = Recipe(epochs=2, batch=8, warmup=0.5, ema=0.9, label_smoothing=0.0)


def make_job(task, **changes) -> Job:
    return replace(Job(SCENES, (64, 64), SHORT, attn="mhsa", size="xxs", task=task), **changes)


@pytest.mark.parametrize("task", TASKS)
def test_arms_start_equal_outside_the_attention(task):
    starts = {attn: make_job(task, attn=attn).build(3).state_dict() for attn in ("mhsa", "xfa", "identity")}
    assert len({digest(outside_attention(weights)) for weights in starts.values()}) == 1
    head = [name for name in starts["xfa"] if not name.startswith("backbone.")]
    assert head
    assert any(".attn." in name for name in starts["xfa"])


@pytest.mark.parametrize("task", TASKS)
def test_a_run_gone_on_with_ends_in_the_same_bits(task, tmp_path):
    whole = train(make_job(task), tmp_path / "whole")
    with pytest.raises(Killed):
        train(make_job(task), tmp_path / "broken", KillsAfter(1))
    torch.rand(1)
    again = train(make_job(task), tmp_path / "broken")
    assert digest(read_weights(tmp_path / "broken")) == digest(read_weights(tmp_path / "whole"))
    assert [entry["loss"] for entry in again["history"]] == [entry["loss"] for entry in whole["history"]]
    assert train(make_job(task), tmp_path / "whole") == whole  # held, not trained again
    assert all(0 <= whole[score] <= 100 for score in SCORES[task])
    assert f"val_{SCORES[task][0]}" in whole["history"][0]
    _, found, _ = evaluate(tmp_path / "whole")
    assert {score: found[score] for score in SCORES[task]} == {score: whole[score] for score in SCORES[task]}
    with Image.open(tmp_path / "whole" / "answers.png") as drawn:
        assert drawn.width > 6 * 64


def test_what_is_trained_is_told_apart(tmp_path):
    train(make_job("detect"), tmp_path)
    with pytest.raises(UserError, match="another"):
        train(make_job("segment"), tmp_path)
    with pytest.raises(UserError, match="windows are for segmentation"):
        evaluate(tmp_path, window=(32, 32))


def test_a_large_picture_is_segmented_by_windows(tmp_path):
    train(make_job("segment", recipe=replace(SHORT, epochs=1)), tmp_path)
    whole, windows = (evaluate(tmp_path, img_size=(96, 128), window=window)[1] for window in (None, (64, 64)))
    assert whole["images"] == windows["images"] == 6
    assert whole["miou"] != windows["miou"]
    _, same, _ = evaluate(tmp_path, img_size=(96, 128), window=(96, 128))
    assert same["miou"] == pytest.approx(whole["miou"])
    with pytest.raises(UserError, match=r"windows of 256 pixels are larger than images of 64"):
        evaluate(tmp_path, window=(256, 256))


@pytest.mark.process
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_train_as_one_with_the_joint_batch(task, tmp_path):
    # Adam makes a whole step of a gradient that is rounding error; plain descent does not.
    recipe = ["batch=8", "epochs=2", "warmup=0.5", "ema=0.9", "optimizer=sgd", "lr=0.001"]
    arguments = ["-m", "xbench", "train", "--task", task, "--attn", "mhsa", "--size", "xxs", "--res", "64"]
    arguments += ["--data", SCENES, "--threads", "1", "--recipe", *recipe]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", f"2955{TASKS.index(task)}"]
    for name, start in (("one", []), ("two", torchrun)):
        command = [sys.executable, *start, *arguments, "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    one, two = read_config(tmp_path / "one"), read_config(tmp_path / "two")
    assert (one["processes"], two["processes"]) == (1, 2)
    for ours, theirs in zip(one["history"], two["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    for name in (*SCORES[task], "images", *(["objects"] if task == "detect" else [])):
        assert one[name] == pytest.approx(two[name], rel=1e-3, abs=1e-3), name


@pytest.mark.process
def test_compare_joins_the_scores_of_one_training_with_cost(tmp_path, workers_here):
    found = xbench.compare(
        attn=["mhsa", "identity"],
        res=[64],
        task="detect",
        size="xxs",
        metrics=["accuracy", "params", "macs"],
        data=SCENES,
        recipe=["batch=8", "epochs=1", "warmup=0.5"],
        seeds=1,
        quiet=True,
        out=tmp_path,
    )
    frame = found.frame.set_index(["arm", "metric"])
    assert {metric for _, metric in frame.index} == {"ap", "ap50", "params", "macs"}
    assert len(list((tmp_path / "training").iterdir())) == 2
    text = (tmp_path / "report.md").read_text()
    assert "XFormer-xxs detector" in text
    assert "![mhsa, 64 px](plots/answers-mhsa-64.png)" in text
    assert "80 classes" in text
    assert (tmp_path / "plots" / "answers-mhsa-64.png").is_file()
    (tmp_path / "training").rename(tmp_path / "gone")
    remake_report(tmp_path)
    assert "answers-mhsa-64.png" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("model", [{"attn": "xfa"}, {"attn": None, "baseline": "mobilenetv3_small_050"}], ids=str)
def test_a_detector_begins_with_a_trained_backbone(model, tmp_path):
    classifier = make_job("classify", data="digits", recipe=replace(SHORT, batch=256, epochs=1), **model)
    train(classifier, tmp_path / "classifier")
    kept = read_weights(tmp_path / "classifier")
    detector = make_job("detect", start=str(tmp_path / "classifier"), **model)
    own = detector.build(10)
    before = {name: weight.clone() for name, weight in own.state_dict().items()}
    begin_from(own, detector, tmp_path / "classifier")
    changed = {name for name, weight in own.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("backbone.") for name in changed)
    for name in changed:
        trained = name.removeprefix("backbone.").removeprefix("model.")
        torch.testing.assert_close(own.state_dict()[name], kept[trained])
    train(detector, tmp_path / "detector")
    with pytest.raises(UserError, match=r"begins from the same model, here size xs"):
        begin_from(own, replace(detector, size="xs"), tmp_path / "classifier")


@pytest.mark.process
def test_every_arm_of_a_study_begins_from_its_own_training(tmp_path, workers_here):
    shape = {"size": "xxs", "seeds": 1, "recipe": ["batch=512", "epochs=1"], "quiet": True, "metrics": "accuracy"}
    xbench.compare(["mhsa", "identity"], 32, data="digits", out=tmp_path / "first", **shape)
    with pytest.raises(UserError, match=r"no training of xfa, size xxs with seed 0 .* it has .*mhsa \(seed 0\)"):
        xbench.compare(
            ["mhsa", "xfa"], 32, data="digits", start=str(tmp_path / "first"), out=tmp_path / "none", **shape
        )
    with pytest.raises(UserError, match="start decide accuracy only"):
        xbench.compare(["mhsa"], 32, start=str(tmp_path / "first"), size="xxs", metrics="macs", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    found = xbench.compare(
        ["mhsa", "identity"], 32, data="digits", start=str(tmp_path / "first"), out=tmp_path / "on", **shape
    )
    begun = {Path(record.detail["job"]["start"]).name for record in found.results.by_metric["top1"]}
    assert begun == {path.name for path in (tmp_path / "first" / "training").iterdir()}
    assert not [note for note in found.answers if "UNFAIR" in note]
    assert (
        "begins from the weights that an earlier training of its own left"
        in (tmp_path / "on" / "report.md").read_text()
    )
