"""Training on a task: it finds what is to be found, says when it was stopped early, and nobody learns by a leak."""

import json
from dataclasses import replace

import pytest
import torch

from xbench.errors import UserError
from xbench.probing.job import ProbeJob, check_grids
from xbench.probing.probe import probe
from xbench.probing.recipe import ProbeRecipe
from xbench.probing.tasks import guessing

SHORT = ProbeRecipe(batch=32, rates=(4e-3,), trial=150, steps=300, patience=200)
JOB = ProbeJob("recall", "mhsa", "xxs", "layer", (2, 4), SHORT, tokens=16)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_softmax_learns_recall():
    found = probe(JOB)
    assert found["score"] > 90
    assert found["capacity"] == 4
    assert 0 < found["steps_to_held"] <= found["steps"]
    assert found["history"][-1]["step"] == found["steps"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("attn", ["identity", "global-average"])
def test_who_fetches_nothing_stays_at_a_guess(attn):
    found = probe(replace(JOB, attn=attn))
    blind, common = guessing("recall", 4)
    # Over 512 grids with 12 questions each, whose answers are not independent: 2 points are 4 deviations and more.
    assert found["by_pairs"]["4"] < (blind if attn == "identity" else common) + 2
    assert found["capacity"] == 0


def test_the_rate_with_the_lowest_loss_goes_on_and_a_run_cut_short_says_so():
    recipe = replace(SHORT, rates=(1e-7, 4e-3), trial=60, steps=80, settle=0.5)
    found = probe(replace(JOB, attn="xfa", recipe=recipe))
    assert found["rate"] == 4e-3
    assert found["trials"]["0.004"] < found["trials"]["1e-07"]
    assert not found["finished"]
    assert found["steps"] == 120  # 80, and half as many with a falling rate


def test_a_run_that_no_longer_rises_is_finished():
    recipe = replace(SHORT, trial=10, steps=500, patience=100, settle=0.0)
    found = probe(replace(JOB, attn="identity", recipe=recipe))
    assert found["finished"]
    assert found["steps"] <= 210  # risen by luck at the first look, if at all


def test_equal_jobs_give_equal_figures_and_another_seed_others():
    job = replace(JOB, recipe=replace(SHORT, trial=10, steps=20))
    first, second, other = probe(job), probe(ProbeJob.from_dict(job.as_dict())), probe(replace(job, seed=1))
    assert first == second
    assert first["shared_weights"] != other["shared_weights"]
    assert first["by_pairs"] != other["by_pairs"]


def test_a_loss_that_is_no_number_at_any_rate_is_no_figure():
    with pytest.raises(FloatingPointError, match="at any of the learning rates"):
        probe(replace(JOB, attn="faulty_attentions:ReturnsNaN", recipe=replace(SHORT, trial=2)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("step=3", "Did you mean 'steps'"),
        ("steps", "written name=value"),
        ("steps=many", "steps of the recipe is a whole number, not 'many'"),
        ("steps=0", "steps of the recipe must lie between 1 and"),
        ("rates=0.1,fast", "rates of the recipe is a list of numbers"),
        ("rates=0", "above 0 and at most 10"),
        ("settle=nan", "settle of the recipe must lie between"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(UserError, match=message):
        ProbeRecipe().changed([setting])


def test_settings_are_read():
    recipe = ProbeRecipe().changed(["steps=50", "rates=0.001,0.01", "settle=0"])
    assert (recipe.steps, recipe.rates, recipe.settle) == (50, (0.001, 0.01), 0.0)
    assert recipe.most_steps == 300 + 50
    assert ProbeRecipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("recall", {"pairs": (16,)}, "16 tokens cannot hold 16 pairs and a question"),
        ("two_hop", {"pairs": (4, 5)}, "even numbers of pairs"),
        ("recall", {"tokens": None, "img_size": (64, 60)}, "cells of 16 pixels"),
    ],
)
def test_grids_that_cannot_be_are_refused(task, changes, message):
    with pytest.raises(UserError, match=message):
        check_grids(replace(JOB, task=task, **changes))
