"""A study file and the command line make the same study."""

import tomllib

import pytest
from places import ROOT

from xbench.errors import UserError
from xbench.report.plots import catalogue as plots
from xbench.study.files import load_study, read_request, save_study
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import PLOTS

SHIPPED = sorted((ROOT / "studies").glob("*.toml"))


def test_what_is_saved_is_loaded(tmp_path):
    asked = StudyRequest(["xfa:rank=2", "mhsa"], ["64", (32, 96)], patch=["1"], reference="mhsa", quick=True)
    save_study(asked, tmp_path / "new" / "compare.toml")
    assert load_study(tmp_path / "new" / "compare.toml") == make_study(asked)
    text = (tmp_path / "new" / "compare.toml").read_text()
    assert "patch = [" in text
    assert "images" not in text, "defaults stay out"
    with pytest.raises(UserError, match="is there already"):
        save_study(asked, tmp_path / "new" / "compare.toml")


def test_a_study_of_an_older_version_asks_for_the_same(tmp_path):
    (tmp_path / "old.toml").write_text('attn = ["xfa"]\nbaseline = ["resnet18"]\nagainst = "resnet18"\nres = [64]')
    request = read_request(tmp_path / "old.toml")
    assert request == StudyRequest(["xfa"], [64], model=["resnet18"], reference="resnet18", name="old")
    save_study(request, tmp_path / "new.toml")
    assert set(tomllib.loads((tmp_path / "new.toml").read_text())) >= {"model", "reference"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_load(path):
    study = load_study(path)
    assert study.question.endswith("?")
    assert study.name == path.stem
    assert list(study.cases())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('attn = ["xfa"]\nres = [64]\nmetrcis = ["macs"]', "unknown key in .*: 'metrcis'. Did you mean 'metrics'"),
        ('attn = "xfa"\nres = [64]', "attn must be a list, not 'xfa'"),
        ('attn = ["xfa"]\nres = [64]\nquick = "yes"', "quick must be a bool"),
        ('attn = ["xfo"]\nres = [64]', "x.toml: unknown attention 'xfo'"),
        ('attn = ["xfa"]', "no resolution"),
        ('attn = ["xfa"]\nres = [64]\nplots = ["sped"]', "unknown plot 'sped'"),
        ("attn = [", "is not a TOML file"),
        ('attn = ["xfa"]\nmodel = ["resnet18"]\nbaseline = ["resnet18"]', "'model' is there twice: 'baseline' is what"),
        ('attn = ["xfa"]\nres = [64]\ndtype = [16]', "dtype cannot hold 16"),
        ('attn = ["xfa"]\nres = [[64]]', r"res cannot hold \[64\]"),
    ],
)
def test_a_bad_study_names_the_file_and_the_key(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_study(tmp_path / "x.toml")


def test_a_study_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load_study(tmp_path / "none.toml")


def test_every_plot_that_can_be_asked_for_can_be_drawn():
    assert tuple(plots.PLOTS) == PLOTS
