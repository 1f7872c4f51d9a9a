"""What is typed, written in a file or called from Python is one request; former names of options still work."""

import shlex

import pytest
from typer.main import get_command
from typer.models import OptionInfo
from typer.testing import CliRunner
from typer.utils import get_params_from_function

from xbench import api
from xbench.cli import study
from xbench.cli.given import size_in_bytes
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.study.files import read_request
from xbench.study.request import StudyRequest

REQUESTS = [
    ("--attn xfa --res 64", 'attn = ["xfa"]\nres = [64]', {"attn": "xfa", "res": 64}),
    (
        "--attn xfa mhsa --res 1024 512x256 --reference mhsa --threads 1 --quick",
        'attn = ["xfa", "mhsa"]\nres = [1024, "512x256"]\nreference = "mhsa"\nthreads = [1]\nquick = true',
        {"attn": ["xfa", "mhsa"], "res": (1024, (512, 256)), "reference": "mhsa", "threads": 1, "quick": True},
    ),
    (
        "--model resnet18 --res 64 --metrics top1 --data canvas --epochs 2 --recipe lr=0.1 batch=8 --seeds 2",
        'model = ["resnet18"]\nres = [64]\nmetrics = ["top1"]\ndata = "canvas"\nepochs = 2\nseeds = 2\n'
        'recipe = ["lr=0.1", "batch=8"]',
        {"model": ["resnet18"], "res": ["64"], "metrics": ["top1"], "data": "canvas", "epochs": 2, "seeds": 2}
        | {"recipe": ["lr=0.1", "batch=8"]},
    ),
    (
        "--baseline resnet18 --attn xfa --against resnet18 --level op block --tokens 64 --res 64",
        'baseline = ["resnet18"]\nattn = ["xfa"]\nagainst = "resnet18"\nlevel = ["op", "block"]\ntokens = [64]\n'
        "res = [64]",
        {"baseline": "resnet18", "attn": "xfa", "against": "resnet18", "level": ["op", "block"], "tokens": "64"}
        | {"res": 64},
    ),
]


def typed(monkeypatch, verb, words):
    """The request that a command line makes."""
    asked = []
    monkeypatch.setattr(study, "_measure", lambda request, *rest: asked.append(request))
    done = CliRunner().invoke(app, [verb, *shlex.split(words)])
    assert done.exit_code == 0, done.output
    return asked[0]


@pytest.mark.parametrize(("words", "toml", "arguments"), REQUESTS)
def test_the_command_line_a_file_and_python_make_the_same_request(monkeypatch, tmp_path, words, toml, arguments):
    (tmp_path / "compare.toml").write_text(toml)
    called = []

    def make(request):
        called.append(request)
        raise UserError("no more is asked here")

    monkeypatch.setattr(api, "make_study", make)
    with pytest.raises(UserError, match="no more"):
        api.compare(**arguments)
    assert typed(monkeypatch, "compare", words) == read_request(tmp_path / "compare.toml") == called[0]
    assert typed(monkeypatch, "sweep", words).name == "sweep", "and nothing else is different"


def test_what_is_left_out_has_the_defaults_of_a_request(monkeypatch):
    assert typed(monkeypatch, "compare", "") == StudyRequest()


def test_no_option_is_called_as_typer_would_call_it():
    """Typer 0.27 takes an option's name from its metavar where the two are alike: --device became --DEVICE."""
    unnamed = [
        (verb.callback.__name__, name)
        for verb in app.registered_commands
        for name, parameter in get_params_from_function(verb.callback).items()
        if isinstance(parameter.default, OptionInfo) and parameter.default.metavar and not parameter.default.param_decls
    ]
    assert unnamed == []


def test_an_argument_that_there_is_not_names_the_closest():
    with pytest.raises(UserError, match=r"'referenc'. Did you mean 'reference'"):
        api.compare("xfa", 64, referenc="xfa")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--baseline resnet18 resnet34 --res 64", "--baseline is now --model."),
        ("--baseline=resnet18 --baseline=resnet34 --res=64", "--baseline is now --model."),
        ("--model resnet18 resnet34 --res 64", ""),
    ],
)
def test_a_former_name_works_and_is_said_once(monkeypatch, words, said):
    asked = []
    monkeypatch.setattr(study, "_measure", lambda request, *rest: asked.append(request))
    done = CliRunner().invoke(app, ["compare", *words.split()])
    assert done.stderr.strip() == said
    assert done.stdout == ""
    assert asked == [StudyRequest(res=[64], model=["resnet18", "resnet34"])]


def test_train_takes_a_model_by_either_name(monkeypatch):
    for name in ("--model", "--baseline"):
        done = CliRunner().invoke(app, ["train", "--attn", "xfa", name, "resnet18"])
        assert isinstance(done.exception, UserError)
        assert "--attn or --model" in str(done.exception)
        assert done.stderr.strip() == ("--baseline is now --model." if name == "--baseline" else "")


@pytest.mark.parametrize(
    ("words", "file", "switch", "study_file"),
    [
        (["--json", "x.json"], "x.json", False, None),
        (["--json=x.json"], "x.json", False, None),
        (["--json-file", "x.json", "--json"], "x.json", True, None),
        (["--json"], None, True, None),
        (["--json", "--force"], None, True, None),
        (["--json", "studies/ci.toml"], None, True, "studies/ci.toml"),
        (["--json", "--", "x.json"], None, True, "x.json"),
    ],
)
def test_json_of_check_is_a_switch_and_was_a_file(words, file, switch, study_file):
    given = get_command(app).commands["check"].make_context("check", words).params
    # As text or as a path: versions of typer make one of the other at different times.
    assert [path and str(path) for path in (given["json_file"], given["study_file"])] == [file, study_file]
    assert given["as_json"] == switch


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4", 4 * 2**30),
        ("4GiB", 4 * 2**30),
        ("4 GB", 4 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5tb", 1.5e12),
        ("2e3mb", 2e9),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert size_in_bytes("--memory-limit", text) == size
