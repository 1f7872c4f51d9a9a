"""Attentions from outside: a file, an import string, an installed package; and the README followed literally."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile

import pytest
import torch
from here import run_here
from places import ROOT

from xbench.attention import loading as plugins
from xbench.attention.spec import attention_origin, attention_sources, build_attention, parse_attention
from xbench.errors import UserError
from xbench.runner.cache_key import forget_sources, source_hash

README = (ROOT / "README.md").read_text()
SECTION = README.partition("## Add your attention in one file")[2].partition("\n## ")[0]
WIDTHS = {"embed_dim": 24, "qkv_dim": 16, "num_heads": 4}

MINE = """
from torch import nn
from beside import FACTOR

class Mine(nn.Module):
    def __init__(self, *, embed_dim, qkv_dim, num_heads, factor: float = FACTOR):
        super().__init__()
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.factor = factor

    def forward(self, x, grid):
        return self.factor * self.proj(x)

class MixesTheBatch(Mine):
    def forward(self, x, grid):
        return self.proj(x) + x.mean(dim=0, keepdim=True)
"""


def blocks(language):
    """The code blocks of the README's section, with the indentation of a list taken off."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", SECTION, flags=re.M | re.S)
    return ["".join(line.removeprefix(indent) for line in text.splitlines(keepends=True)) for indent, text in found]


def xbench(*args, cwd, path):
    """Runs the command line as a user does, with ``path`` on Python's search path."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }
    command = [sys.executable, "-P", "-m", "xbench", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that a user stands in, with a file of his own."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("FACTOR = 0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    forget_sources()
    yield tmp_path
    sys.modules.pop("beside", None)


# A file


def test_a_file_by_relative_and_absolute_path_with_options(folder):
    for place in ("./mine.py", "mine.py", str(folder / "mine.py")):
        assert build_attention(f"{place}:Mine", **WIDTHS).factor == 0.5
        spec = parse_attention(f"{place}:Mine:factor=2")
        assert str(spec) == f"{place}:Mine:factor=2.0"
        assert build_attention(spec, **WIDTHS).factor == 2.0


def test_a_file_named_like_a_library_hides_nothing(folder):
    (folder / "torch.py").write_text(MINE)
    assert build_attention("./torch.py:Mine", **WIDTHS).factor == 0.5
    assert sys.modules["torch"] is torch


def test_an_edited_file_is_read_again_and_has_another_hash(folder):
    before, origin = source_hash("./mine.py:Mine"), attention_origin("./mine.py:Mine")
    (folder / "mine.py").write_text(MINE.replace("self.factor *", "2 * self.factor *"))
    forget_sources()
    attention = build_attention("./mine.py:Mine", **WIDTHS)
    x = torch.randn(1, 4, 24)
    torch.testing.assert_close(attention(x, (2, 2)), attention.proj(x))
    assert source_hash("./mine.py:Mine") != before
    assert attention_origin("./mine.py:Mine") != origin


def test_the_hash_sees_what_the_file_imports_from_beside_it(folder):
    assert {path.name for path in attention_sources("./mine.py:Mine")} == {"mine.py", "beside.py"}
    before = source_hash("./mine.py:Mine")
    (folder / "beside.py").write_text("FACTOR = 0.25\n")
    forget_sources()
    assert source_hash("./mine.py:Mine") != before


def test_the_hash_of_an_import_string_sees_its_package(folder):
    package = folder / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "factors.py").write_text("FACTOR = 0.5\n")
    text = MINE.replace("from beside", "from .factors").replace("nn.Module)", "XFA)")
    (package / "attention.py").write_text(f"from attention_variants.xfa import CrossFeatureAttention as XFA\n{text}")
    names = {path.name for path in attention_sources("some_package.attention:Mine")}
    assert names == {"attention.py", "factors.py", "xfa.py"}
    (origin,) = attention_origin("some_package.attention:Mine").items()
    assert origin[0] == "attention.py"
    assert origin[1].startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./gone.py:Mine", "there is no file '.*gone.py'"),
        ("./mine.py", r"name the class too, as in ./mine.py:MyAttention; it has Mine, MixesTheBatch"),
        ("./mine.py:Mien", "Did you mean 'Mine'"),
        ("./broken.py:Mine", "importing './broken.py' failed: SyntaxError"),
        ("./exits.py:Mine", "importing './exits.py' failed: SystemExit"),
        ("./mine.py:Mine:fcator=1", "Did you mean 'factor'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, name, message):
    (folder / "broken.py").write_text("def (:\n")
    (folder / "exits.py").write_text("import sys; sys.exit(3)\n")
    with pytest.raises(UserError, match=message):
        parse_attention(name)


# An installed package


def install(name, version, files, entry_points, target):
    """Makes a wheel by hand, which needs no build tool and no network, and has pip install it into ``target``."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in contents) + f"{info}/RECORD,,\n"
    wheel = target.parent / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with installed packages: the README's, and one that fails to import."""
    target = tmp_path_factory.mktemp("packages") / "site"
    (announced,) = tomllib.loads(blocks("toml")[0])["project"]["entry-points"].values()
    lines = "".join(f"{name} = {place}\n" for name, place in announced.items())
    files = {"my_package/__init__.py": "", "my_package/attention.py": blocks("python")[0]}
    install("my_package", "1.2", files, f"[xbench.attention]\n{lines}xfa = my_package.attention:MyAttention\n", target)
    broken = {"broken_package.py": "import no_such_library\n"}
    install("broken_package", "0.3", broken, "[xbench.attention]\nhalf-made = broken_package:Thing\n", target)
    return target


@pytest.mark.process
def test_a_plug_in_that_is_broken_or_takes_a_name_is_a_row_that_says_so(tmp_path, site):
    done = xbench("list", cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"\s+", " ", done.stdout)
    assert "my-attention" in text
    assert "The widths come from the skeleton" in text
    assert "half-made of broken_package 0.3 cannot be used" in text
    assert "No module named 'no_such_library'" in text
    taken = (
        "xfa of my_package 1.2 cannot be used: 'xfa' is attention_variants.xfa:CrossFeatureAttention; name this one "
    )
    assert f"{taken}my_package.attention:MyAttention." in text
    assert len(re.findall(r" xfa ", text)) >= 2


@pytest.mark.process
def test_plug_ins_run_beside_each_other_and_leave_their_version_in_the_record(tmp_path, folder, site):
    names = ["my-attention", "half-made", "half-made:rank=2", "./mine.py:MixesTheBatch", "timm.layers:Attention"]
    asked = ["--res", "32", "--size", "xxs", "--metrics", "macs", "--threads", "1", "--out", "run"]
    done = xbench("compare", "--attn", *names, *asked, cwd=folder, path=site)
    assert done.returncode == 3, done.stderr
    records = {r["case"]["arm"]: r for r in map(json.loads, (folder / "run/records.jsonl").open()) if r["case"]}

    assert records["my-attention"]["status"] == "ok"
    assert records["my-attention"]["versions"]["my_package"] == "1.2"
    for broken in ("half-made", "half-made:rank=2"):
        assert records[broken]["status"] == "unsupported"
        assert "broken_package 0.3 cannot be used" in records[broken]["reason"]
        assert "No module named 'no_such_library'" in records[broken]["reason"]
    assert records["./mine.py:MixesTheBatch"]["versions"]["./mine.py"].startswith("sha256:")
    assert "timm" in records["timm.layers:Attention"]["versions"]

    # What fails the quick checks is marked wherever its figures stand, and what was adapted is said, once.
    assert "batch independence" in records["./mine.py:MixesTheBatch"]["detail"]["unverified"]
    assert "unverified" not in records["my-attention"]["detail"]
    report = (folder / "run/report.md").read_text()
    for text in (done.stdout, report):
        assert "./mine.py:MixesTheBatch †" in text
        assert "my-attention †" not in text
    assert "† ./mine.py:MixesTheBatch failed checks" in report
    assert done.stderr.count("timm.layers:Attention is adapted: dim ← embed_dim") == 1


@pytest.mark.process
def test_a_plug_in_that_nobody_asked_for_breaks_nothing(tmp_path, site):
    code = "from xbench.attention.spec import *; build_attention('mhsa', embed_dim=24, qkv_dim=16, num_heads=4)"
    code += "; import sys; assert not {'my_package', 'broken_package'} & set(sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=env, check=True)


def test_two_packages_that_claim_one_name_are_told_apart(monkeypatch):
    points = [plugins.EntryPoint("twin", f"package_{n}:Twin", plugins.ENTRY_POINT_GROUP) for n in (1, 2)]
    monkeypatch.setattr(plugins, "installed", lambda: {"twin": points})
    with pytest.raises(UserError, match=r"two packages claim this name: package_1:Twin of .* and package_2:Twin of"):
        build_attention("twin", **WIDTHS)


# The README


def test_the_readme_followed_literally(tmp_path, monkeypatch, workers_here):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    verify, compare = map(shlex.split, blocks("bash")[0].splitlines())
    code, out, errors = run_here(verify[1:], monkeypatch)
    assert code == 0, out + errors
    assert "✓        reference" in out
    assert "none failed" in out
    code, out, errors = run_here(compare[1:], monkeypatch)
    assert code == 0, errors
    assert "./mine.py:MyAttention" in out
    assert "†" not in out


@pytest.mark.process
def test_the_readmes_option_and_its_test_module(tmp_path, monkeypatch, site):
    monkeypatch.syspath_prepend(site)
    (option,) = re.findall(r"`\./mine\.py(:MyAttention:\S+=\S+)`", SECTION)
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    assert build_attention(f"{tmp_path}/mine.py{option}", **WIDTHS).gate.bias is None
    (tmp_path / "test_mine.py").write_text(blocks("python")[1])
    names = [shlex.split(line) for line in blocks("bash")[1].splitlines()]
    with pytest.warns(
        UserWarning, match="'xfa' is attention_variants.xfa:CrossFeatureAttention; the one of my_package"
    ):
        assert [parse_attention(name) for name in names[0][3:6]]
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(pytest_run, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout
    assert re.search(r"1[678] passed, [12] skipped", done.stdout)
