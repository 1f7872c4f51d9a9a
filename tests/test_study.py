"""What a user asks for becomes cases, or an error that says what to type instead."""

import pytest

from xbench.errors import UserError
from xbench.study import Case, make_study, parse_img_size


def test_cases_are_the_product_of_the_axes_in_groups_that_differ_in_the_arm():
    study = make_study(["xfa", "mhsa"], ["256", "128x64"], patch=[1, 2], batch=[1, 4], threads=[1])
    groups = study.groups()
    assert len(groups) == 2 * 2 * 2
    for group in groups:
        assert [case.arm.label for case in group] == ["xfa", "mhsa", "xfa again"]
        assert [case.arm.control for case in group] == [False, False, True]
        assert all(case.conditions == group[0].conditions for case in group)
    assert {case.img_size for case in study.cases()} == {(256, 256), (128, 64)}
    assert study.against == "xfa"


def test_a_case_survives_being_written_down():
    for case in make_study(["xfa:rank=2"], [64], baseline=["resnet18"], threads=[1]).cases():
        assert Case.from_flat(case.flat()) == case


def test_a_control_runs_where_a_claim_of_speed_is_made():
    assert make_study(["xfa", "mhsa"], [64], against="mhsa").controls[0].attn == "mhsa"
    for less in ({"quick": True}, {"metrics": ["macs"]}, {"attn": ["xfa"]}):
        assert not make_study(**{"attn": ["xfa", "mhsa"], "res": [64], **less}).controls


def test_a_lone_value_stands_for_a_list():
    assert make_study("xfa", 64, dtype="bf16", metrics="macs") == make_study(
        ["xfa"], [64], dtype=["bf16"], metrics=["macs"]
    )


def test_the_same_attention_twice_gets_two_names():
    study = make_study(["mhsa", "mhsa"], [64])
    assert [arm.label for arm in study.arms] == ["mhsa", "mhsa #2"]
    assert {arm.attn for arm in study.arms} == {"mhsa"}


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
        ({"size": "m"}, "Allowed: s, xs, xxs"),
        ({"metrics": ["throughputs"]}, "Did you mean 'throughput'"),
        ({"against": "mhsa"}, "unknown arm"),
        ({"baseline": ["mobilevit_z"]}, "mobilevit_s"),
        ({"images": "/no/such/folder"}, "not a folder"),
    ],
)
def test_bad_input_names_the_thing_and_what_is_allowed(asked, message):
    with pytest.raises(UserError, match=message):
        make_study(**{"attn": ["xfa"], "res": ["64"], **asked})


def test_img_size_is_height_by_width():
    assert parse_img_size("1024") == parse_img_size(1024) == (1024, 1024)
    assert parse_img_size("512x1024") == parse_img_size((512, 1024)) == (512, 1024)
