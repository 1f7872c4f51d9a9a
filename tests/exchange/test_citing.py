"""What to cite, and model cards as the hub's own reader takes them."""

import re

import pytest
from huggingface_hub import ModelCard
from made_records import LINEAR, QUADRATIC, MadeArm, place, timed

from xbench.analysis.results import Results
from xbench.attention.registry import built_in
from xbench.exchange.bibtex import PAPERS, attention_bibtex, run_bibtex
from xbench.exchange.model_card import model_card

ENTRY = re.compile(r"@misc\{[\w-]+,\n(  \w+ = \{[^{}]*\},\n)+\}")


def test_every_attention_has_its_paper_and_each_paper_stands_once():
    found = attention_bibtex(built_in())
    assert all(ENTRY.fullmatch(entry) for entry in found), found
    assert len(found) == len(set(found)) == len(PAPERS)
    assert all("author" in entry for entry in found)
    assert re.search(r"title = \{Attention Is All You Need\}", attention_bibtex(["mhsa:num_heads=2"])[1])


def test_a_run_cites_itself_its_attentions_and_timm_where_it_has_models_of_it():
    outside = MadeArm("50% {odd}_arm", attn="odd")
    entries = run_bibtex(
        Results([r for arm in (QUADRATIC, LINEAR, outside) for r in timed(arm, place())]), "a run", "Q & A?"
    )
    assert all(ENTRY.fullmatch(entry) for entry in entries), entries
    assert entries[0].startswith("@misc{xbench-a-run,\n  title = {Q \\& A?},")
    assert [re.search(r"eprint = \{(.*)\}", entry)[1] for entry in entries[1:]] == ["2207.07268", "1706.03762"]


@pytest.mark.parametrize("task", ["classify", "detect"])
def test_a_model_card_is_read_by_the_hub(tmp_path, task):
    score = {"classify": {"top1": 91.25}, "detect": {"ap": 51.97, "ap50": 88.04}}[task]
    recipe = {"epochs": 2, "lr": 0.002, "augmentation": {"hflip": 0.5, "mixup": 0.0}}
    job = {"attn": "xfa:rank=2", "baseline": None, "size": "xxs", "img_size": [64, 64], "patch_size": 2, "seed": 3}
    data = {"name": "folder:/data/x", "classes": 10, "splits": {"train": {"images": 2048}, "test": {"images": 512}}}
    config = {"job": {**job, "recipe": recipe, "task": task}, "data": data, "parameters": 2_235_267, **score}
    card = ModelCard(model_card(config, tmp_path))
    card.validate_pipeline_tag = None
    assert {one.metric_type: one.metric_value for one in card.data.eval_results} == score
    assert card.data.library_name == "xbench"
    assert "| hflip | 0.5 |" in card.text
    assert "mixup" not in card.text
    assert "2,048 train, 512 test images" in card.text
