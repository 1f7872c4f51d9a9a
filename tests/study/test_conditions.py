"""Conditions: what tells comparison groups apart, also where a newer version recorded more of them."""

from dataclasses import replace

import pytest
from made_records import place

from xbench.study.conditions import Conditions
from xbench.study.request import StudyRequest, make_study


@pytest.mark.parametrize("level", ["model", "op"])
def test_a_case_and_its_record_have_the_same_conditions(level):
    where = {"tokens": [1024]} if level == "op" else {"res": [(64, 96)]}
    for case in make_study(StudyRequest(["xfa", "mhsa"], level=[level], threads=[1], **where)).cases():
        assert Conditions.of(case.flat()) == case.conditions
        assert case.conditions.flat().items() <= case.flat().items()


def test_what_a_newer_version_recorded_is_kept_and_tells_apart():
    cold, warm = (place(64, cache=cache, affinity=None) for cache in ("cold", "warm"))
    assert cold != warm
    assert len({cold, warm, place(64), place(64)}) == 3
    assert cold.more == (("affinity", None), ("cache", "cold"))
    assert Conditions.of(cold.flat()) == cold


def test_but_the_extent_sizes_are_alike_and_nothing_else():
    assert place(64).but_extent == place(img_size=[64, 96]).but_extent
    assert place(64).but_extent not in {place(64, batch=8).but_extent, place(tokens=64).but_extent}


def test_how_much_there_is_to_attend_to_is_named_in_tokens_or_pixels():
    assert (place(tokens=4096).extent, place(tokens=4096).show_extent()) == (4096.0, "4,096 tokens")
    wide = place(img_size=[512, 1024])
    assert (wide.extent, wide.show_extent()) == (512.0 * 1024, "512x1024")
    assert replace(wide, img_size=(512, 512)).show_extent() == "512"


@pytest.mark.parametrize(
    ("img_size", "patch_size", "tokens"), [([1024, 1024], 2, 4096), ([1024, 1024], 1, 16384), ([100, 260], 2, 7 * 17)]
)
def test_tokens_are_those_of_stage_3(img_size, patch_size, tokens):
    assert place(img_size=img_size, patch_size=patch_size).n_tokens == tokens
