"""The canvas: what its label rests on, that its pixels repeat, and that boxes and masks lie where the digits are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from xbench.data.canvas.dataset import Canvases
from xbench.data.canvas.drawing import draw, glyph_cover
from xbench.data.canvas.scene import Scenery, Scenes
from xbench.data.digits import digit_splits
from xbench.data.names import CanvasOptions
from xbench.errors import UserError

FEW = np.arange(40)


def scenes(split="test", shape=(1, 1), **options):
    return Scenery(CanvasOptions(**options), digit_splits()[split], shape).set(FEW, split)


def halves(values):
    """[n, d, ...] → those at one end and those of their partners at the other, [n, d/2, ...] each."""
    return np.split(values, 2, axis=1)


@pytest.mark.parametrize("digits", [6, 12, 20])
def test_only_the_colours_of_pairs_decide(digits):
    drawn = scenes(digits=digits)
    one, other = halves(drawn.classes)
    assert (one == other).all()
    assert all(len(set(row)) == digits // 2 for row in one), "every digit once at each end"
    tiles, partners = halves(drawn.colours[:, -2 * digits : -digits])  # the digits are white
    alike = (tiles == partners).all(axis=-1)
    assert (alike.sum(axis=1) == 1).all(), "one pair of the same colour"
    assert (one[alike] == drawn.labels).all(), "and it is the label"
    assert (np.sort(tiles, axis=1) == np.sort(partners, axis=1)).all(), "the same colours at both ends"
    gaps = np.linalg.norm(tiles[:, :, None] - tiles[:, None], axis=-1)[:, *np.triu_indices(digits // 2, 1)]
    assert gaps.min() > 0.8 / digits


@pytest.mark.parametrize(
    ("shape", "digits", "apart"),
    [((1, 1), 6, 1 / 3), ((1, 1), 20, 1 / 3), ((32, 256), 6, 0.75), ((256, 32), 6, 0.75), ((32, 384), 6, 0.45)],
)
def test_partners_lie_at_the_two_ends_of_the_longer_side_and_nothing_overlaps(shape, digits, apart):
    drawn = scenes(shape=shape, digits=digits, clutter=1.0)
    long = int(shape[1] >= shape[0])
    centres = drawn.centres[:, :-digits]  # of clutter and tiles
    one, other = halves(centres[:, -digits:, long])
    size = drawn.sizes[0, 0, long] * 1.2
    assert (other.min(axis=1) - one.max(axis=1)).min() > apart + size / 2
    for canvas in centres:
        gaps = np.abs(canvas[:, None] - canvas[None]) / drawn.sizes[0, 0]
        assert gaps.max(axis=-1)[np.triu_indices(len(canvas), 1)].min() > 0.7
    assert ((drawn.centres > 0) & (drawn.centres < 1)).all()


def test_a_split_is_drawn_with_its_own_digits_only():
    splits = digit_splits()
    for name, digits in splits.items():
        own = {image.tobytes() for image in digits.images}
        drawn = scenes(name).glyphs[:, -10:].reshape(-1, 8, 8)
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


@pytest.mark.parametrize(("top", "left"), [(8, 8), (5, 11), (10, 4)])
def test_a_glyph_is_enlarged_as_pillow_does_it(top, left):
    wide = np.zeros((1, 24, 24), np.float32)
    wide[:, top : top + 8, left : left + 8] = np.random.default_rng(0).random((8, 8))
    centre, size = np.array([[[top + 4, left + 4]]]) / 24, np.full((1, 1, 2), 1 / 3)
    scene = Scenes(*[np.zeros((1, 0))] * 3, wide[:, None, top : top + 8, left : left + 8], centre, size, *[centre] * 2)
    enlarged = Image.fromarray(wide[0]).resize((80, 48), Image.Resampling.BICUBIC)
    assert glyph_cover(scene, 0, (48, 80))[0].numpy() == pytest.approx(np.clip(enlarged, 0, 1), abs=1e-5)


def test_what_is_drawn_later_covers_what_lies_there():
    drawn = scenes(shape=(48, 64))
    bare = replace(drawn, glyphs=drawn.glyphs[:, :0])
    painted = draw(bare, (48, 64))
    for piece in range(drawn.glyphs.shape[1]):
        cover = glyph_cover(drawn, piece, (48, 64))[:, None]
        painted = (1 - cover) * painted + cover * torch.tensor(drawn.colours[:, piece, :, None, None]).float()
    assert torch.allclose(draw(drawn, (48, 64)), painted, atol=1e-5)


def test_a_canvas_shows_the_same_at_any_resolution():
    small, large = (Canvases("test", CanvasOptions(), (size, size)).read([0, 1], None)[0] for size in (64, 256))
    shrunk = interpolate(large, size=(64, 64), mode="area")
    assert (shrunk - small).abs().mean() < 0.02
    assert small.std() > 0.2


def test_boxes_and_masks_lie_on_the_digits():
    canvases = Canvases("val", CanvasOptions(clutter=0.0), (96, 128))
    for index in range(5):
        canvas = canvases.draw(index)
        assert canvas.masks.shape == (10, 96, 128)
        assert canvas.masks.sum(dim=0).max() == 1, "digits do not overlap"
        inked = canvas.masks.any(dim=0)
        assert canvas.image.amin(0)[inked].mean() > 3 * canvas.image.amin(0)[~inked].mean(), "white is the digits' own"
        for (x1, y1, x2, y2), mask in zip(canvas.boxes.int().tolist(), canvas.masks, strict=True):
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
            assert all(edge.any() for edge in (mask[y1, :], mask[y2 - 1, :], mask[:, x1], mask[:, x2 - 1]))


def test_only_training_shows_some_of_the_pairs():
    for split, partial, fewest in (("train", 0.6, 1), ("train", 0.0, 5), ("val", 0.6, 5), ("test", 0.6, 5)):
        canvases = Canvases(split, CanvasOptions(partial=partial), (32, 32))
        shown = [canvases.draw(index) for index in range(100)]
        some = np.mean([len(canvas.classes) < 10 for canvas in shown])
        assert 0.4 <= some <= 0.6 if fewest == 1 else some == 0, split  # a tenth of the partial ones show all pairs
        assert {len(canvas.classes) for canvas in shown} == {2 * pairs for pairs in range(fewest, 6)}, split
        assert all((canvas.classes == canvas.label).sum() == 2 for canvas in shown)


@pytest.mark.parametrize(
    ("options", "words"), [({"digits": 7}, "even"), ({"digits": 4}, "from 6"), ({"clutter": 2.0}, "between")]
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        CanvasOptions(**options)
