"""The canvas: what its label rests on, that its pixels repeat, and that boxes and masks lie where the digits are."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from xbench.data.canvas import Canvases
from xbench.data.digits import digit_splits
from xbench.data.names import CanvasOptions
from xbench.data.scene import Scenery
from xbench.errors import UserError

FEW = np.arange(40)


def scenes(split="test", **options):
    return Scenery(CanvasOptions(**options), digit_splits()[split]).set(FEW, split)


@pytest.mark.parametrize("digits", [6, 8, 14])
def test_only_the_pairs_decide(digits):
    drawn = scenes(digits=digits)
    pairs = drawn.classes.reshape(len(FEW), -1, 2)
    for label, canvas in zip(drawn.labels, pairs, strict=True):
        assert [a for a, b in canvas if a == b] == [label], "one pair of equals, and it is the label"
        assert (np.unique(canvas, return_counts=True)[1] == 2).all(), "every digit occurs twice"


def test_partners_share_a_colour_that_no_one_else_has_and_lie_apart():
    options = CanvasOptions(digits=8)
    drawn = Scenery(options, digit_splits()["test"]).set(FEW, "test")
    colours = drawn.colours[:, -16:-8].reshape(len(FEW), 4, 2, 3)  # of the tiles; the digits are white
    assert (colours[:, :, 0] == colours[:, :, 1]).all()
    gaps = np.linalg.norm(colours[:, :, None, 0] - colours[:, None, :, 0], axis=-1)[:, *np.triu_indices(4, 1)]
    assert gaps.min() > 0.1
    centres = drawn.centres[:, -8:].reshape(len(FEW), 4, 2, 2)
    apart = np.abs(centres[:, :, 0] - centres[:, :, 1]).max(axis=-1)
    assert apart.min() > 1.5 / options.cells


def test_a_split_is_drawn_with_its_own_digits_only():
    splits = digit_splits()
    for name, digits in splits.items():
        own = {image.tobytes() for image in digits.images}
        drawn = scenes(name).glyphs[:, -6:].reshape(-1, 8, 8)
        assert {image.tobytes() for image in drawn.astype(np.float32)} <= own
        for other in splits.keys() - {name}:
            assert not own & {image.tobytes() for image in splits[other].images}


def test_a_canvas_is_the_same_alone_and_in_any_batch():
    canvases = Canvases("train", CanvasOptions(), (48, 64), seed=3)
    images, labels = canvases.read([5, 0, 9], epoch=2)
    again, _ = canvases.read([9], epoch=2)
    assert images.shape == (3, 3, 48, 64)
    assert torch.equal(images[2:], again)
    drawn = canvases.draw(0, epoch=2)
    assert torch.allclose(drawn.image, images[1] * 0.5 + 0.5, atol=1e-6)
    assert drawn.label == labels[1]
    for other in (canvases.read([5], epoch=3), Canvases("train", CanvasOptions(), (48, 64), seed=4).read([5], epoch=2)):
        assert not torch.equal(images[:1], other[0])


def test_a_canvas_shows_the_same_at_any_resolution():
    small, large = (Canvases("test", CanvasOptions(), (size, size)).read([0, 1], None)[0] for size in (64, 256))
    shrunk = interpolate(large, size=(64, 64), mode="area")
    assert (shrunk - small).abs().mean() < 0.02
    assert small.std() > 0.2


def test_boxes_and_masks_lie_on_the_digits():
    canvases = Canvases("val", CanvasOptions(clutter=0.0), (96, 128))
    for index in range(5):
        canvas = canvases.draw(index)
        assert canvas.masks.shape == (6, 96, 128)
        assert canvas.masks.sum(dim=0).max() == 1, "digits do not overlap"
        inked = canvas.masks.any(dim=0)
        assert canvas.image.amin(0)[inked].mean() > 3 * canvas.image.amin(0)[~inked].mean(), "white is the digits' own"
        for (x1, y1, x2, y2), mask in zip(canvas.boxes.int().tolist(), canvas.masks, strict=True):
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
            assert all(edge.any() for edge in (mask[y1, :], mask[y2 - 1, :], mask[:, x1], mask[:, x2 - 1]))


def test_only_training_shows_pairs_alone():
    for split, fewest, most in (("train", 0.3, 0.7), ("val", 0.0, 0.0), ("test", 0.0, 0.0)):
        canvases = Canvases(split, CanvasOptions(), (32, 32))
        alone = [len(canvases.draw(index).classes) == 2 for index in range(100)]
        assert fewest <= np.mean(alone) <= most, split
    pair = next(
        canvas for i in range(100) if len((canvas := Canvases("train", CanvasOptions(), (64, 64)).draw(i)).classes) == 2
    )
    assert pair.classes.tolist() == [pair.label] * 2


@pytest.mark.parametrize(
    ("options", "words"), [({"digits": 7}, "even"), ({"digits": 4}, "from 6"), ({"clutter": 2.0}, "between")]
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        CanvasOptions(**options)
