"""timm models as arms: built without a network, at the size that is asked for."""

import socket

import pytest
import torch

from xbench.errors import UserError
from xbench.models.baselines import BASELINES, build_baseline


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


def test_size_that_a_model_cannot_be_built_for():
    with pytest.raises(UserError, match=r"xcit_nano_12_p16_224.*250×250.*patch_size"):
        build_baseline("xcit_nano_12_p16_224", img_size=250)
