"""Epochs: what they yield depends on nothing but what it should, and processes share it without loss."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from xbench.data import Augmentation, open_data
from xbench.data.chance import borrowed_generators, share
from xbench.data.pictures import make_transforms
from xbench.errors import UserError

EVERYTHING = Augmentation(
    auto_augment="rand-m9-mstd0.5",
    random_erasing=0.5,
    hflip=0.5,
    scale=(0.5, 1.0),
    mixup=0.8,
    cutmix=1.0,
    label_smoothing=0.1,
)
JITTER = Augmentation(color_jitter=0.4, hflip=0.5)
CANVAS = "canvas:train=64,val=20,test=12"


def opened(spec="digits", img_size=(32, 40), batch=16, seed=1, **arguments):
    return open_data(spec, img_size=img_size, batch=batch, seed=seed, **arguments)


def epoch_of(data, epoch=0, steps=3):
    return [pair for pair, _ in zip(data.train(epoch), range(steps), strict=False)]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("spec", ["digits", CANVAS])
@pytest.mark.parametrize("augmentation", [Augmentation(), JITTER, EVERYTHING], ids=["plain", "jitter", "everything"])
def test_an_epoch_is_a_function_of_its_arguments(spec, augmentation):
    first = epoch_of(opened(spec, augmentation=augmentation))
    torch.manual_seed(99), random.seed(99), np.random.seed(99)
    meanwhile = []
    for pair, _ in zip(opened(spec, augmentation=augmentation).train(0), range(3), strict=False):
        meanwhile.append(pair)
        # What dropout in a model would do between two batches.
        torch.rand(7), random.random(), np.random.rand()
    assert same(first, meanwhile)
    assert not same(first, epoch_of(opened(spec, augmentation=augmentation), epoch=1))
    assert not same(first, epoch_of(opened(spec, augmentation=augmentation, seed=2)))


@pytest.mark.parametrize("spec", ["digits", CANVAS])
def test_reading_leaves_the_global_generators_alone(spec):
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    epoch_of(opened(spec, augmentation=EVERYTHING))
    assert states() == before


@pytest.mark.parametrize("spec", ["digits", CANVAS])
def test_two_processes_see_the_joint_batch_of_one(spec):
    whole = epoch_of(opened(spec, augmentation=EVERYTHING))
    parts = [epoch_of(opened(spec, augmentation=EVERYTHING, rank=rank, world=2)) for rank in range(2)]
    for step, joint in enumerate(whole):
        for i in range(2):
            shared = torch.empty_like(joint[i])
            for rank in range(2):
                shared[share(16, rank, 2)] = parts[rank][step][i]
            assert torch.equal(shared, joint[i])


def test_pictures_go_the_way_that_timm_would_send_them():
    shape = {"input_size": (40, 56), "interpolation": "bicubic"}
    colours = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    augmentation = Augmentation(auto_augment="rand-m9-mstd0.5", hflip=0.5, scale=(0.5, 1.0))
    transforms = make_transforms((40, 56), augmentation, **colours, crop=0.9)
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (60 + i, 70, 3), dtype=np.uint8)) for i in range(3)]

    plain = create_transform(**shape, **colours, crop_pct=0.9)
    assert torch.allclose(transforms.apply(pictures), torch.stack([plain(p) for p in pictures]), atol=1e-5)

    changing = create_transform(
        **shape,
        **colours,
        is_training=True,
        scale=(0.5, 1.0),
        hflip=0.5,
        color_jitter=None,
        auto_augment="rand-m9-mstd0.5",
    )
    luck = [("picture", i) for i in range(3)]
    theirs = []
    with borrowed_generators() as start_from:
        for key, picture in zip(luck, pictures, strict=True):
            start_from(*key)
            theirs.append(changing(picture))
    assert torch.allclose(transforms.apply(pictures, luck), torch.stack(theirs), atol=1e-5)

    erasing = make_transforms((40, 56), replace(augmentation, random_erasing=1.0), **colours, crop=0.9)
    changed = (erasing.apply(pictures, luck) != transforms.apply(pictures, luck)).any(dim=1).float().mean((1, 2))
    assert (changed > 0.01).all()
    assert (changed < 0.4).all()


@pytest.mark.process
def test_workers_change_nothing():
    alone, helped = opened(augmentation=EVERYTHING), opened(augmentation=EVERYTHING, workers=2)
    assert same(epoch_of(alone), epoch_of(helped))
    # The same workers go on, also where an epoch was left before its end.
    assert same(list(alone.evaluate("val")), list(helped.evaluate("val")))
    assert same(epoch_of(alone, epoch=1), epoch_of(helped, epoch=1))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("spec", "split", "size"), [("digits", "val", 269), (CANVAS, "test", 12)])
def test_evaluation_shows_every_image_once_and_plain(spec, split, size, world):
    plain = [opened(spec, batch=12, rank=rank, world=world) for rank in range(world)]
    seen = [image for data in plain for images, _ in data.evaluate(split) for image in images]
    assert len(seen) == size
    alone = torch.cat([images for images, _ in opened(spec, batch=12, augmentation=EVERYTHING).evaluate(split)])
    assert sorted(image.double().sum().item() for image in seen) == sorted(alone.double().sum((1, 2, 3)).tolist())


@pytest.mark.parametrize(("batch", "world"), [(16, 1), (16, 4), (12, 3), (6, 2), (5, 1), (9, 3)])
def test_shares_are_equal_and_make_the_joint_batch(batch, world):
    shares = [share(batch, rank, world) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(batch))
    assert {len(places) for places in shares} == {batch // world}
    if batch % (2 * world) == 0:
        for places in shares:
            assert (places + places[::-1] == batch - 1).all(), "the partner in mixup is in the same share"


def test_every_image_is_met_once_in_an_epoch_but_for_the_incomplete_batch():
    data = opened(img_size=(32, 32), batch=100)
    batches = list(data.train(0))
    assert len(batches) == data.steps == data.train_size // 100
    images = torch.cat([images for images, _ in batches])
    assert images.dtype == torch.float32
    assert -1.2 < images.min() < -0.9
    assert 0.9 < images.max() < 1.2
    met = {image.numpy().tobytes() for image in images}
    assert len(met) == data.steps * 100


def test_targets_are_soft_where_images_are_mixed():
    (_, hard), (_, soft) = (
        epoch_of(opened(augmentation=augmentation), steps=1)[0]
        for augmentation in (Augmentation(label_smoothing=0.1), Augmentation(mixup=0.8, label_smoothing=0.1))
    )
    assert hard.dtype == torch.int64
    assert soft.shape == (16, 10)
    assert soft.sum(dim=1).allclose(torch.ones(16))
    assert soft.min() == pytest.approx(0.01)


def test_facts_tell_sets_apart():
    facts = opened("canvas", img_size=(32, 32)).facts()
    assert facts["splits"]["test"]["images"] == 2048
    prints = [split["fingerprint"] for split in facts["splits"].values()]
    prints += [opened("canvas:digits=8").facts()["splits"]["test"]["fingerprint"]]
    assert all(a != b for a, b in pairwise(sorted(prints)))
    assert "Resize" in opened().facts()["transforms"]["training"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spec": "digit"}, "Did you mean 'digits'"),
        ({"spec": "canvas:digit=8"}, "Did you mean 'digits'"),
        ({"spec": "canvas:digits=eight"}, "whole number"),
        ({"spec": "digits:/data"}, "no folder"),
        ({"spec": "folder:/no/such/place"}, "not a folder"),
        ({"spec": "folder"}, "needs a folder"),
        ({"spec": "torch/cifar11:/data"}, "Did you mean 'cifar10'"),
        ({"spec": "torch/cifar10:/no/such/place"}, "cannot be opened"),
        ({"batch": 2000}, "cannot be drawn"),
        ({"batch": 9, "world": 2}, "shared out"),
        ({"batch": 9, "augmentation": EVERYTHING}, "in pairs"),
        ({"augmentation": Augmentation(auto_augment="round-m9")}, "round-m9"),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(UserError, match=words):
        opened(**arguments)


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="Allowed: test, val"):
        next(opened().evaluate("train"))
