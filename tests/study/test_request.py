"""What a user asks for becomes cases, or an error that says what to type instead."""

import pytest

from xbench.errors import UserError
from xbench.parsing.axes import parse_img_size
from xbench.study.case import Case
from xbench.study.request import StudyRequest, make_study


def test_cases_are_the_product_of_the_axes_in_groups_that_differ_in_the_arm():
    study = make_study(StudyRequest(["xfa", "mhsa"], ["256", "128x64"], patch=[1, 2], batch=[1, 4], threads=[1]))
    groups = study.groups()
    assert len(groups) == 2 * 2 * 2
    for group in groups:
        assert [case.arm.label for case in group] == ["xfa", "mhsa", "xfa again"]
        assert [case.arm.control for case in group] == [False, False, True]
        assert all(case.conditions == group[0].conditions for case in group)
    assert {case.img_size for case in study.cases()} == {(256, 256), (128, 64)}
    assert study.against == "xfa"


def test_a_case_survives_being_written_down():
    axes = {"level": ["op", "model"], "mode": ["eager", "compile"]}
    for case in make_study(StudyRequest(["xfa:rank=2"], [64], model=["resnet18"], threads=[1], **axes)).cases():
        assert Case.from_flat(case.request()) == case


def test_own_is_the_size_that_each_model_is_made_for():
    study = make_study(StudyRequest(["xfa"], ["own"], model=["mobilenetv2_100", "tinynet_c"], threads=[1]))
    assert [arm.label for arm in study.arms] == ["xfa @256", "mobilenetv2_100 @224", "tinynet_c @184"]
    (group,) = study.groups()
    built = [Case.from_flat(case.request()).img_size for case in group if not case.arm.control]
    assert built == [(256, 256), (224, 224), (184, 184)]
    for more in ({"res": ["own", 512]}, {"level": ["block"]}, {"metrics": ["accuracy"]}):
        with pytest.raises(UserError, match="every model at the size it is made for"):
            make_study(StudyRequest(["xfa"], **({"res": ["own"]} | more)))


def test_an_attention_alone_has_tokens_and_the_rest_has_pixels():
    study = make_study(
        StudyRequest(["xfa", "mhsa"], [64], level=["op", "block", "model"], tokens=[64, 100], patch=[1, 2], quick=True)
    )
    places = [(group[0].level, group[0].img_size, group[0].tokens, group[0].patch_size) for group in study.groups()]
    assert places[:2] == [("op", None, 64, 1), ("op", None, 100, 1)]
    assert places[2:4] == [("block", (64, 64), None, 1), ("block", (64, 64), None, 2)]
    assert len(places) == 6
    assert list(make_study(StudyRequest(["xfa"], [256], level=["block"], patch=[16])).cases()), (
        "stage 3 has room for it"
    )
    assert make_study(StudyRequest(["xfa"], level=["op"])).tokens == (64, 256, 1024, 4096, 16384, 65536)


def test_compiled_arms_stand_beside_eager_ones():
    study = make_study(StudyRequest(["xfa", "mhsa"], [64], mode=["eager", "compile"]))
    assert [arm.label for arm in study.arms] == ["xfa", "mhsa", "xfa compiled", "mhsa compiled"]
    assert len(study.groups()) == 1


def test_every_case_gives_what_has_a_meaning_for_it():
    axes = {"level": ["op", "model"], "direction": ["inference", "training"], "mode": ["eager", "compile"]}
    study = make_study(StudyRequest(["xfa", "mhsa"], [64], **axes))
    given = {(case.arm.label, case.level, case.direction): study.metrics_of(case) for case in study.cases()}
    assert {"latency", "breakdown", "limits"} <= set(given["xfa", "model", "inference"])
    assert {"breakdown", "limits"} & set(given["mhsa", "model", "inference"]) == {"breakdown"}
    assert "breakdown" not in given["xfa compiled", "model", "inference"]
    assert "breakdown" not in given["xfa", "op", "inference"]
    training = given["mhsa", "model", "training"]
    assert {"forward_time", "backward_time", "optimizer_time", "throughput", "peak_memory"} <= set(training)
    assert not {"latency", "limits"} & set(training)
    assert given["xfa again", "model", "inference"] == ("latency", "throughput")


def test_a_case_without_a_figure_is_none():
    study = make_study(
        StudyRequest(["xfa", "mhsa"], [64], direction=["inference", "training"], metrics=["backward_time"])
    )
    assert {case.direction for case in study.cases()} == {"training"}
    alone = make_study(StudyRequest(["xfa", "mhsa"], [64], metrics=["breakdown"]))
    assert [case.arm.label for case in alone.cases()] == ["xfa", "mhsa"], "nothing of it is paired: no control"
    exact = make_study(StudyRequest(["xfa", "mhsa"], [64], metrics=["predicted_memory", "latency"]))
    assert {case.arm.label: exact.metrics_of(case) for case in exact.cases()}["xfa again"] == ("latency",)


def test_an_impossible_point_among_possible_ones_is_no_mistake():
    assert len(list(make_study(StudyRequest(["xfa"], [64, 512], patch=[2, 8])).cases())) == 4


def test_a_control_runs_where_a_claim_of_speed_is_made():
    assert make_study(StudyRequest(["xfa", "mhsa"], [64], reference="mhsa")).controls[0].attn == "mhsa"
    for less in ({"quick": True}, {"metrics": ["macs"]}, {"attn": ["xfa"]}):
        assert not make_study(StudyRequest(**{"attn": ["xfa", "mhsa"], "res": [64], **less})).controls


def test_a_lone_value_stands_for_a_list():
    assert make_study(StudyRequest("xfa", 64, dtype="bf16", metrics="macs")) == make_study(
        StudyRequest(["xfa"], [64], dtype=["bf16"], metrics=["macs"])
    )


def test_the_same_attention_twice_gets_two_names():
    study = make_study(StudyRequest(["mhsa", "mhsa"], [64]))
    assert [arm.label for arm in study.arms] == ["mhsa", "mhsa #2"]
    assert {arm.attn for arm in study.arms} == {"mhsa"}


LAYER = {"level": ["layer"], "res": [], "metrics": ["recall"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"attn": ["xfo"]}, "Did you mean 'xfa'"),
        ({"attn": []}, "nothing to compare"),
        ({"res": []}, "no resolution"),
        ({"res": ["0"]}, "from 32 to 16384, not 0"),
        ({"res": ["-1"]}, "from 32 to 16384, not -1"),
        ({"res": ["31"]}, "from 32 to 16384, not 31"),
        ({"res": ["abc"]}, "whole number from 32 to 16384, not 'abc'"),
        ({"res": [10**9]}, "from 32 to 16384, not 1000000000"),
        ({"res": ["64x64x64"]}, "height x width"),
        ({"res": ["256.5"]}, "whole number"),
        ({"patch": ["16"], "res": ["256"]}, "patch size 16 is larger than the 8-pixel feature map"),
        ({"patch": ["0"]}, "patch size must be from 1"),
        ({"batch": ["-3"]}, "batch must be from 1"),
        ({"threads": ["100000"]}, "threads must be from 1"),
        ({"dtype": ["fp31"]}, "Did you mean 'fp32'"),
        ({"device": "gpu"}, "Allowed: cpu, cuda"),
        ({"size": "m"}, "Allowed: s, s:se=0, xs"),
        ({"metrics": ["throughputs"]}, "Did you mean 'throughput'"),
        ({"reference": "mhsa"}, "unknown arm"),
        ({"model": ["mobilevit_z"]}, "mobilevit_s"),
        ({"images": "/no/such/folder"}, "not a folder"),
        ({"tokens": ["64"]}, "needs --level op"),
        ({"level": ["op"], "res": [], "tokens": ["0"]}, "tokens must be from 1"),
        ({"level": ["op"]}, "tokens, neither a resolution nor patches"),
        ({"level": ["layers"]}, "unknown level 'layers'.*block, layer, model, op"),
        ({"level": ["layer"]}, "tokens, neither a resolution nor patches"),
        ({"level": ["op", "layer"], "res": [], "metrics": ["top1"]}, "at level model only"),
        ({"level": ["block"], "metrics": ["recall"]}, "at level layer and model only"),
        ({"metrics": ["recall"], "res": ["100"]}, "cells of 16 pixels"),
        ({**LAYER, "pairs": ["64"]}, "64 tokens cannot hold 64 pairs"),
        ({**LAYER, "pairs": ["0"]}, "pairs must be from 1"),
        ({**LAYER, "metrics": ["two_hop"], "pairs": ["3"]}, "even numbers of pairs"),
        ({**LAYER, "recipe": ["stepps=3"]}, "Did you mean 'steps'"),
        ({**LAYER, "epochs": 3}, "epochs decide accuracy only"),
        ({"pairs": ["4"]}, "a number of pairs is for recall and two_hop"),
        ({"metrics": ["recall", "top1"], "recipe": ["lr=0.1"]}, "another than that of recall"),
        ({"mode": ["compiled"]}, "Did you mean 'compile'"),
        ({"direction": ["train"]}, "Did you mean 'training'"),
        ({"metrics": ["backward_time"]}, "in training only"),
        ({"metrics": ["breakdown"], "level": ["op"], "res": []}, "at level block and model only"),
    ],
)
def test_bad_input_names_the_thing_and_what_is_allowed(asked, message):
    with pytest.raises(UserError, match=message):
        make_study(StudyRequest(**{"attn": ["xfa"], "res": ["64"], **asked}))


def test_what_an_attention_can_do_is_found_at_the_first_extent_and_for_attentions_alone():
    request = StudyRequest(["xfa", "mhsa"], **{**LAYER, "tokens": [64, 256]}, pairs=[4])
    study = make_study(request)
    assert study.size == "xxs"
    assert [case.tokens for case in study.cases() if "recall" in study.metrics_of(case)] == [64, 64]
    whole = make_study(StudyRequest(["xfa"], ["128"], model=["mobilevit_s"], metrics=["recall", "params"]))
    asked = {case.arm.label: whole.metrics_of(case) for case in whole.cases()}
    assert asked == {"xfa": ("recall", "params"), "mobilevit_s": ("params",)}
    assert whole.size == "s"
    assert whole.job(next(whole.cases()), "recall", 2).grid == (8, 8)


def test_img_size_is_height_by_width():
    assert parse_img_size("1024") == parse_img_size(1024) == (1024, 1024)
    assert parse_img_size("512x1024") == parse_img_size((512, 1024)) == (512, 1024)
