"""Defaults that a project's pyproject.toml sets, and what a shell completes."""

import pytest
from here import run_here

from xbench.cli.defaults import with_defaults
from xbench.errors import UserError

OPTIONS = {"compare": {"attn": "many", "threads": "many", "seeds": "one", "quick": "nothing"}, "list": {}}


def given(tmp_path, monkeypatch, text, *words):
    (tmp_path / "pyproject.toml").write_text(text)
    below = tmp_path / "below"
    below.mkdir(exist_ok=True)
    monkeypatch.chdir(below)
    return with_defaults(words, lambda: OPTIONS)[0]


def test_what_is_typed_goes_before_the_verbs_own_and_that_before_the_projects(tmp_path, monkeypatch):
    text = "[tool.xbench]\nthreads = [1, 2]\nseeds = 5\n[tool.xbench.compare]\nseeds = 1\nquick = true\n"
    found = given(tmp_path, monkeypatch, text, "compare", "--attn", "xfa")
    assert found == ["compare", "--attn", "xfa", "--threads=1", "--threads=2", "--seeds=1", "--quick"]
    typed = given(tmp_path, monkeypatch, text, "compare", "--threads=4", "--quick", "--", "--seeds")
    assert typed == ["compare", "--threads=4", "--quick", "--seeds=1", "--", "--seeds"]
    assert given(tmp_path, monkeypatch, text, "list") == ["list"]
    for other in ("[tool.other]\nthreads = 1\n", "# [tool.xbench]\n", "[tool.xbench-more]\nthreads = 1\n", "not toml"):
        assert given(tmp_path, monkeypatch, other, "compare") == ["compare"]
    assert given(tmp_path, monkeypatch, "[tool]\nxbench.seeds = 2\n", "compare") == ["compare", "--seeds=2"]
    sly = given(tmp_path, monkeypatch, '[tool.xbench]\nthreads = ["--trust"]\n', "compare")
    assert sly == ["compare", "--threads=--trust"], "a value stays one"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.xbench]\nthread = 1\n", "Did you mean 'threads'"),
        ('[tool.xbench]\nattn = ["./evil.py:A"]\n', "unknown default"),
        ('[tool.xbench.compare]\nout = "/"\n', "unknown default"),
        ("[tool.xbench.compair]\nthreads = 1\n", "Did you mean 'compare'"),
        ("[tool.xbench]\nseeds = [1, 2]\n", "seeds takes one value"),
        ("[tool.xbench]\nthreads = []\n", "threads is to be a number"),
        ("[tool.xbench]\nthreads = \n", "cannot be read"),
        ('[tool.xbench]\nquick = "--attn=./evil.py:A"\n', "quick is true or false"),
        ("[tool.xbench]\nseeds = true\n", "seeds is to be a number"),
    ],
)
def test_what_cannot_be_a_default_is_refused_by_name(tmp_path, monkeypatch, text, said):
    with pytest.raises(UserError, match=said):
        given(tmp_path, monkeypatch, text, "compare")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("xbench compare --attn xf", ["xfa"]),
        ("xbench compare --attn xfa mh", ["mhsa", "mhsa-sdpa"]),
        ("xbench compare --attn xfa --mode eager onnxruntime_", ["onnxruntime_int8"]),
        ("xbench sum", ["summary"]),
    ],
)
def test_a_shell_completes_names(tmp_path, monkeypatch, words, completed):
    monkeypatch.chdir(tmp_path)
    environment = {"_XBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "_TYPER_COMPLETE_ARGS": words}
    for name, value in (environment | {"COMP_CWORD": str(len(words.split()) - 1)}).items():
        monkeypatch.setenv(name, value)
    _, out, _ = run_here([], monkeypatch)
    assert out.split() == completed
