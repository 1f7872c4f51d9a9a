"""The tasks hold what they say: softmax layers written down by hand solve them, and guesses are worth what they are."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from xbench.attention.spec import build_attention
from xbench.probing.job import ProbeJob
from xbench.probing.model import OfPictures, build_probe
from xbench.probing.recipe import ProbeRecipe
from xbench.probing.tasks import ASKS, KEY_DIM, LINKS, NOT_ASKED, TASKS, VALUES, generator, guessing

SHARP = 8.0  # on keys of length 4: another key at an angle of 45° weighs e⁻³⁷ as much
KEY, SECOND, WORTH, FETCHED = (slice(a, a + 16) for a in (0, 16, 32, 50))
WIDTH = FETCHED.stop


def drawn(task, pairs, grids=64, split="test", seed=0, tokens=64):
    return TASKS[task].draw(grids, pairs, tokens, generator(task, split, seed))


def softmax_by_hand(asks: slice, of: slice, into: slice, fetches: list[slice]):
    """One head of mhsa: a token asks by what it has in ``asks`` for those that have it in ``of``."""
    attn = build_attention("mhsa", embed_dim=WIDTH, qkv_dim=WIDTH, num_heads=1)
    q, k, v = torch.zeros(3, WIDTH, WIDTH)
    q[:16, asks], k[:16, of] = SHARP * WIDTH**0.5 * torch.eye(16), torch.eye(16)
    for fetch in fetches:
        v[:16, fetch] += torch.eye(16)
    out = torch.zeros(WIDTH, WIDTH)
    out[into, :16] = torch.eye(16)
    attn.qkv.weight.data, attn.proj.weight.data = torch.cat([q, k, v]), out
    attn.qkv.bias.data.zero_()
    attn.proj.bias.data.zero_()
    return attn


def laid_side_by_side(grids):
    """Tokens [B, N, WIDTH]: first key, second key, value as one of 18, and room for what is fetched."""
    room = torch.zeros(*grids.values.shape, 16)
    return torch.cat([grids.keys.flatten(2), F.one_hot(grids.values, VALUES + 2), room], dim=-1)


@torch.no_grad()
def right(x, grids):
    """Right answers in %, of all that are counted."""
    return 100 * float((x[..., FETCHED].argmax(-1) == grids.answers)[grids.counted].double().mean())


@pytest.mark.parametrize("pairs", [1, 4, 32, 63])
def test_one_softmax_layer_by_hand_solves_recall(pairs):
    grids = drawn("recall", pairs)
    x = laid_side_by_side(grids)
    assert right(x + softmax_by_hand(KEY, KEY, FETCHED, [WORTH])(x, (8, 8)), grids) == 100


@pytest.mark.parametrize("pairs", [2, 4, 16, 32])
def test_two_hops_take_two_softmax_layers(pairs):
    grids = drawn("two_hop", pairs)
    x = laid_side_by_side(grids)
    # One look answers who asks by the second key, which is taught and not counted.
    at_once = x + softmax_by_hand(KEY, KEY, FETCHED, [WORTH])(x, (8, 8))
    near = (grids.values == ASKS) & ~grids.counted
    assert (at_once[..., FETCHED].argmax(-1) == grids.answers)[near].all()
    assert right(at_once, grids) < 25
    # Links fetch the value of where they lead; everybody else asks for nothing and gets an average, which is left out.
    links = (grids.values == LINKS)[..., None]
    y = x + links * softmax_by_hand(SECOND, KEY, FETCHED, [WORTH])(x, (8, 8))
    both = softmax_by_hand(KEY, KEY, FETCHED, [WORTH, FETCHED])
    assert right(both(y, (8, 8)), grids) == 100


@pytest.mark.parametrize("task", TASKS)
def test_a_grid_is_what_it_says(task):
    grids = drawn(task, 8)
    telling = grids.answers == NOT_ASKED
    assert (telling.sum(1) == 8).all()
    assert ((grids.values == ASKS) == ~telling).all()
    assert not grids.counted[telling].any()
    assert ((grids.values == LINKS).sum(1) == (4 if task == "two_hop" else 0)).all()
    torch.testing.assert_close(grids.keys[:, :, 0].norm(dim=-1), torch.full((64, 64), KEY_DIM**0.5))
    assert (grids.keys[:, :, 1].norm(dim=-1) > 0).equal(grids.values == LINKS)
    # Anywhere: no place tells more often than chance has it (8 of 64, so 8 ± 2.6 of 64 grids).
    assert telling.sum(0).max() < 22


@pytest.mark.parametrize("task", TASKS)
def test_training_validation_and_test_share_no_grid_and_a_seed_has_its_own(task):
    sets = [drawn(task, 4, split=split, seed=seed).keys for split in ("train", "val", "test") for seed in (0, 1)]
    keys = torch.cat([keys[:, :, 0].flatten(0, 1).unique(dim=0) for keys in sets])
    assert len(keys.unique(dim=0)) == len(keys)
    assert drawn(task, 4).keys.equal(drawn(task, 4).keys)


@pytest.mark.parametrize(("task", "pairs"), [("recall", 8), ("recall", 32), ("two_hop", 4), ("two_hop", 32)])
def test_guessing_is_what_a_guesser_reaches(task, pairs):
    grids = drawn(task, pairs, grids=4000)
    told = [row[row < VALUES] for row in grids.values]
    commonest = torch.stack([row.mode().values for row in told])
    reached = 100 * float((grids.answers == commonest[:, None])[grids.counted].double().mean())
    blind, common = guessing(task, pairs)
    assert blind == 100 / 16
    assert reached == pytest.approx(common, abs=0.7)


def test_the_commonest_of_eight_throws_by_simulation():
    throws = np.random.default_rng(0).integers(16, size=(200_000, 8))
    most = np.stack([(throws == value).sum(1) for value in range(16)]).max(0)
    assert guessing("recall", 8)[1] == pytest.approx(100 * most.mean() / 8, abs=0.05)


@pytest.mark.parametrize(("task", "pairs"), [("recall", 0), ("recall", 64), ("two_hop", 7), ("two_hop", 64)])
def test_grids_that_cannot_be(task, pairs):
    with pytest.raises(ValueError, match="cannot hold"):
        drawn(task, pairs)


def job(attn, level="layer", **fields):
    where = {"tokens": 64} if level == "layer" else {"img_size": (64, 96)}
    return ProbeJob("recall", attn, "xxs", level, (4,), ProbeRecipe(), **{**where, **fields})


def test_arms_start_from_the_same_weights_outside_the_attention():
    models = [build_probe(job(attn)).state_dict() for attn in ("mhsa", "xfa:rank=4", "identity")]
    shared = [{k: v for k, v in weights.items() if ".attn." not in k} for weights in models]
    assert shared[0].keys() == shared[1].keys() == shared[2].keys()
    assert all(shared[0][key].equal(other[key]) for other in shared[1:] for key in shared[0])


def test_a_picture_holds_its_grid():
    model = build_probe(job("identity", "model"))
    assert isinstance(model, OfPictures)
    grids = TASKS["two_hop"].draw(3, 4, 24, generator("two_hop", "val", 0))
    pictures = model.draw(grids.keys, grids.values)
    assert pictures.shape == (3, 3, 64, 96)
    squares = F.avg_pool2d(pictures, 4).unfold(2, 4, 4).unfold(3, 4, 4).flatten(2, 3)  # [B, 3, N, 4, 4]
    assert not squares[..., 2:].any()
    assert not squares[..., 2:, :].any()
    colours = F.normalize(grids.keys[..., :3], dim=-1) * 3**0.5
    links, asks = grids.values == LINKS, grids.values == ASKS
    for square in (squares[..., 0, 0], squares[..., 0, 1]):
        torch.testing.assert_close(square.mT, colours[:, :, 0])
    for square in (squares[..., 1, 0], squares[..., 1, 1]):
        torch.testing.assert_close(square.mT[links], colours[:, :, 1][links])
        assert (square.mT[asks] == torch.tensor([0.0, 0, 1])).all()
    signs = torch.cat([squares[:, :2, :, 1, 0], squares[:, :2, :, 1, 1]], dim=1).mT > 0  # [B, N, 4]
    told = ~links & ~asks
    assert (signs * torch.tensor([1, 2, 4, 8])).sum(-1)[told].equal(grids.values[told])
    assert model(grids.keys, grids.values).shape == (3, 24, VALUES)
