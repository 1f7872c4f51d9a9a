"""The registry: names, spec strings, and that looking costs no torch."""

import subprocess
import sys

import pytest
from torch import nn

from xbench.attention import register_attention, registry
from xbench.attention.registry import catalogue, catalogue_in_full
from xbench.attention.spec import attention_class, build_attention, parse_attention
from xbench.errors import UserError

WIDTHS = {"embed_dim": 24, "qkv_dim": 16, "num_heads": 4}
PLUGIN = """
from torch import nn

class Halve(nn.Module):
    def __init__(self, *, embed_dim, qkv_dim, num_heads, factor: float = 0.5, causal: bool = False):
        super().__init__()
        self.factor, self.causal = factor, causal

    def forward(self, x, grid):
        return self.factor * x

class NotAModule:
    pass
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package `halving` with one attention, announced as an entry point when `announce` is called."""
    (tmp_path / "halving.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)

    def announce(name):
        info = tmp_path / "halving-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[xbench.attention]\n{name} = halving:Halve\n")

    yield announce
    sys.modules.pop("halving", None)


def test_built_in_attentions_are_described():
    known = catalogue()
    assert {"mhsa", "mhsa-sdpa", "separable", "xfa"} <= set(known)
    readings = {"context": "tokens", "scale": "mean", "temperature": "head", "order": "auto", "feature": "auto"}
    assert known["xfa"].options == {"rank": 1, "kernel": 3, **readings}
    assert (known["mhsa-sdpa"].computes, known["mhsa-sdpa"].memory) == ("mhsa", "O(N)")
    assert (known["mhsa"].cost, known["xfa"].cost) == ("O(N²)", "O(N)")
    assert all(info.summary and "arXiv" in info.paper for name, info in known.items() if ":" not in name)


@pytest.mark.process
def test_looking_imports_no_torch():
    look = (
        "import sys, xbench.models, xbench.models.baselines; from xbench.attention.spec import parse_attention;"
        "from xbench.attention.registry import catalogue;"
        "catalogue(); parse_attention('xfa:rank=4'); print({'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("text", "canonical", "options"),
    [
        ("xfa", "xfa", {}),
        ("xfa:rank=4", "xfa:rank=4", {"rank": 4}),
        ("xfa:rank=4,kernel=5", "xfa:kernel=5,rank=4", {"rank": 4, "kernel": 5}),
        ("mhsa:num_heads=2", "mhsa:num_heads=2", {"num_heads": 2}),
        ("xfa:order=plain,context=grid", "xfa:context=grid,order=plain", {"order": "plain", "context": "grid"}),
        ("attention_variants.xfa:CrossFeatureAttention", "attention_variants.xfa:CrossFeatureAttention", {}),
        (
            "attention_variants.xfa:CrossFeatureAttention:rank=2",
            "attention_variants.xfa:CrossFeatureAttention:rank=2",
            {"rank": 2},
        ),
    ],
)
def test_spec_strings(text, canonical, options):
    spec = parse_attention(text)
    assert str(spec) == canonical
    assert dict(spec.options) == options
    assert parse_attention(canonical) == spec
    built = build_attention(spec, **WIDTHS)
    assert all(getattr(built, name) == value for name, value in options.items() if name != "kernel")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xfaa", "unknown attention 'xfaa'. Did you mean 'xfa'\\?.*mhsa-sdpa"),
        ("xfa:rnak=4", "Did you mean 'rank'\\?"),
        ("xfa:rank=four", "rank must be a whole number, not 'four'"),
        ("xfa:rank=4.5", "rank must be a whole number"),
        ("xfa:rank=4,kernel", "write options as name=value.*'kernel'"),
        ("no.such.module:Thing", "importing 'no.such.module' failed"),
        ("halving:Half", "Did you mean 'Halve'\\?"),
        ("halving:Halve:causal=maybe", "causal must be true or false"),
    ],
)
def test_wrong_spec_strings(plugin, text, message):
    with pytest.raises(UserError, match=message):
        parse_attention(text)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xfa:kernel=2", "kernel must be odd"),
        ("xfa:rank=0", "rank must be at least 1"),
        ("mhsa:num_heads=3", "does not divide into 3 heads"),
        ("halving:NotAModule", "not a torch.nn.Module"),
    ],
)
def test_refused_by_the_variant(plugin, spec, message):
    with pytest.raises(UserError, match=message):
        build_attention(spec, **WIDTHS)


def test_option_values_take_the_type_of_their_default(plugin):
    built = build_attention("halving:Halve:factor=2,causal=true", **WIDTHS)
    assert (built.factor, type(built.factor), built.causal) == (2.0, float, True)


def test_class_in_place_of_a_spec(plugin):
    import halving

    assert isinstance(build_attention(halving.Halve, **WIDTHS), halving.Halve)


def test_entry_point_of_an_installed_package(plugin):
    plugin("halve")
    assert catalogue()["halve"].target == "halving:Halve"
    assert build_attention("halve", **WIDTHS).factor == 0.5
    assert build_attention("halve:factor=0.25", **WIDTHS).factor == 0.25


def test_entry_point_cannot_take_a_name_that_exists(plugin):
    plugin("xfa")
    assert catalogue()["xfa"].target == "attention_variants.xfa:CrossFeatureAttention"
    with pytest.warns(UserWarning, match=r"the one of halving 1.0 is halving:Halve"):
        assert type(build_attention("xfa", **WIDTHS)).__name__ == "CrossFeatureAttention"
    (row,) = [info for info in catalogue_in_full() if info.owner]
    assert (row.name, row.owner) == ("xfa", "halving 1.0")
    assert "name this one halving:Halve" in row.problem


def test_duplicate_registration_raises(monkeypatch):
    monkeypatch.setattr(registry, "registered", {})

    class First(nn.Module):
        pass

    class Second(nn.Module):
        pass

    register_attention("twice", paper="", cost="")(First)
    register_attention("twice", paper="", cost="")(First)
    with pytest.raises(ValueError, match=r"'twice' is already registered by .*First"):
        register_attention("twice", paper="", cost="")(Second)


def test_registered_class_cannot_take_a_built_in_name(monkeypatch):
    monkeypatch.setattr(registry, "registered", {})

    class Impostor(nn.Module):
        pass

    register_attention("mhsa", paper="", cost="")(Impostor)
    with pytest.raises(UserError, match="two attentions are called 'mhsa'"):
        catalogue()


def test_facts_are_the_same_read_and_imported():
    """What is read from a file without running it is what the class says of itself once it is imported."""
    for name, info in registry.built_in().items():
        assert attention_class(name).attention_info == info


def test_computing_an_attention_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setattr(registry, "registered", {})

    class Faster(nn.Module):
        pass

    register_attention("faster", paper="", cost="", computes="mhsaa")(Faster)
    with pytest.raises(UserError, match=r"which 'faster' computes: 'mhsaa'\. Did you mean 'mhsa'\?"):
        catalogue()
