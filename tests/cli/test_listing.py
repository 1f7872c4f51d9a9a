"""What there is to be named can be listed, without torch but for timm's models."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xbench.claims.claim import load_claims
from xbench.cli.verbs import app
from xbench.data.names import SETS, parse_data
from xbench.errors import UserError
from xbench.files import shipped
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import MODES
from xbench.study.files import load_study

EXPECTED = {
    "attentions": ["xfa", "arXiv 2207.07268"],
    "metrics": [*METRICS],
    "modes": [*MODES],
    "data": ["scenes", "cityscapes:/data"],
    "studies": ["ci ", "Did parameters", "resolution"],
    "claims": ["xformer"],
    "baselines": ["ci"],
    "models": ["mobilevit_s", "256x256"],
}


@pytest.mark.parametrize("what", EXPECTED)
def test_there_is_a_list_of_it(what):
    arguments = ["list", what, *(["mobilevit"] if what == "models" else [])]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in EXPECTED[what])


def test_what_comes_with_xbench_is_found_by_name_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_study(shipped.find(shipped.STUDIES, Path("resolution"))).name == "resolution"
    assert load_claims(shipped.find(shipped.CLAIMS, Path("xformer")))
    assert shipped.find(shipped.BASELINES, Path("ci")).joinpath("records.jsonl").is_file()
    own = tmp_path / "resolution"
    own.write_text("")
    assert shipped.find(shipped.STUDIES, Path("resolution")) == Path("resolution"), "what lies here goes first"
    with pytest.raises(UserError, match="Closest: scaling"):
        shipped.find(shipped.STUDIES, Path("scalin"))


@pytest.mark.parametrize("arguments", [["models"], ["models", "zzz"], ["attentins"]])
def test_what_there_is_none_of_is_refused(arguments):
    with pytest.raises(UserError, match=r"say which|there are no models|Did you mean 'attentions'"):
        CliRunner().invoke(app, ["list", *arguments], catch_exceptions=False)


def test_the_names_of_data_sets_are_names():
    for name in SETS:
        assert str(parse_data(name)) == name


@pytest.mark.process
@pytest.mark.parametrize("what", ["metrics", "modes", "data", "studies"])
def test_no_torch_is_loaded_for_it(what):
    script = f"""
import sys
sys.argv = ["xbench", "list", "{what}"]
from xbench.cli.main import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "AssertionError" not in done.stderr
    assert done.stdout
