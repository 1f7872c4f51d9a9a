"""timm models as arms: built without a network, at the size that is asked for."""

import socket
import tomllib
from pathlib import Path

import pytest
import torch

from xbench.errors import UserError
from xbench.models.baselines import BASELINES, build_baseline, check_takes, own_size
from xbench.models.published import published_top1

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a baseline asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", BASELINES)
def test_named_baselines_at_a_size_that_is_not_their_own(name):
    with torch.device("meta"):
        model = build_baseline(name, img_size=(64, 96), num_classes=7, in_chans=1).eval()
        assert model(torch.empty(2, 1, 64, 96)).shape == (2, 7)


def test_published_accuracies_are_timms_of_the_weights_it_loads():
    assert published_top1("mobilenetv2_100", (224, 224)) == (72.91, "mobilenetv2_100.ra_in1k")
    with pytest.raises(UserError, match=r"no top-1 accuracy of mobilenetv2_100.ra_in1k at 256×256"):
        published_top1("mobilenetv2_100", (256, 256))
    with (ROOT / "studies/light_models.toml").open("rb") as file:
        models = tomllib.load(file)["model"]
    assert all(published_top1(name, own_size(name))[0] > 60 for name in models)


def test_unknown_name_lists_the_closest():
    with pytest.raises(
        UserError, match=r"'mobilevit'\. Closest: mobilevit_s.* Named by the source: mobilenetv2_100"
    ) as e:
        build_baseline("mobilevit", img_size=256)
    assert len(str(e.value)) < 400


@pytest.mark.parametrize("name", ["hf-hub:timm/mobilevit_s", "timm/mobilevit_s", "zzz"])
def test_only_names_of_the_registry(name):
    with pytest.raises(UserError, match="unknown timm model"):
        build_baseline(name, img_size=256)


# By what timm's own code asserts: levit's biases fit multiples of 16, botnet's position embedding multiples of 32.
@pytest.mark.parametrize(
    ("name", "size", "takes"),
    [
        ("levit_128s", 100, "takes 96×96 and 112×112"),
        ("botnet26t_256", 250, "takes 224×224 and 256×256"),
        ("efficientformer_l1", 250, "takes 224×224"),
        ("maxvit_nano_rw_256", 100, "takes 96×96 and 128×128"),
        ("xcit_nano_12_p16_224", 250, "takes 240×240 and 256×256"),
    ],
)
def test_a_size_that_a_model_cannot_take_is_refused_with_those_it_takes(name, size, takes):
    made_for = name.rpartition("_")[2] if name.endswith(("224", "256")) else "224"
    with pytest.raises(UserError) as refusal:
        check_takes(name, (size, size))
    assert str(refusal.value) == (
        f"timm model '{name}' cannot take images of {size}×{size}: it is made for {made_for}×{made_for}, "
        f"and of the sizes near it that were tried {takes}."
    )


def test_a_size_that_a_model_takes_and_one_that_it_cannot_even_be_built_for():
    check_takes("mobilevit_s", (100, 250))
    check_takes("vit_tiny_patch16_224", (100, 100))
    with pytest.raises(UserError, match=r"'xcit_nano_12_p16_224' cannot take images of 250×250"):
        build_baseline("xcit_nano_12_p16_224", img_size=250)
