"""The all-MLP segmenter: its score by counting pixels, its windows by hand, and that it learns."""

import pytest
import torch
from by_heart import losses_of
from torch import nn
from torch.nn import functional as F

from xbench.models.segmentation import Segmenter
from xbench.tasks import find_task
from xbench.tasks.building import build_for
from xbench.tasks.segmentation import IGNORED, ByWindows, MeanIoU


def test_miou_is_a_count_of_pixels():
    torch.manual_seed(0)
    outputs, targets = torch.randn(6, 5, 9, 7), torch.randint(3, (6, 9, 7))
    outputs[:, 4] = -9  # a class that occurs neither in truth nor in answers
    targets[torch.rand(targets.shape) < 0.2] = IGNORED
    scorer = MeanIoU(5, "cpu")
    for half in (slice(0, 2), slice(2, 6)):
        scorer.update(outputs[half], targets[half])
    answers, counted = outputs.argmax(dim=1), targets != IGNORED
    shares = []
    for label in range(4):
        both = ((answers == label) & (targets == label) & counted).sum()
        either = (((answers == label) | (targets == label)) & counted).sum()
        shares.append(float(both / either))
    assert scorer.compute() == {"miou": pytest.approx(100 * sum(shares) / 4), "images": 6}


def test_the_loss_is_the_mean_over_the_pixels_that_count():
    outputs, targets = torch.randn(2, 4, 5, 5), torch.randint(4, (2, 5, 5))
    targets[0, :3] = IGNORED
    task = find_task("segment")
    expected = F.cross_entropy(outputs.movedim(1, -1)[targets != IGNORED], targets[targets != IGNORED])
    torch.testing.assert_close(task.loss(outputs, targets, (5, 5), 0.0), expected)
    assert task.loss(outputs, torch.full_like(targets, IGNORED), (5, 5), 0.0) == 0


class Position(nn.Module):
    """Says of each pixel the mean of what the model sees, so that windows show."""

    def forward(self, x):
        return x.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 1, *x.shape[-2:])


def test_windows_overlap_and_are_averaged():
    x = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 3, 4, 8)
    found = ByWindows(Position(), (4, 4))(x)[0, 0, 0]
    # Windows begin at columns 0, 2 and 4: their means are 1.5, 3.5 and 5.5.
    assert found.tolist() == [1.5, 1.5, 2.5, 2.5, 4.5, 4.5, 5.5, 5.5]
    whole = ByWindows(Position(), (4, 8))(x)
    torch.testing.assert_close(whole, Position()(x))


def test_the_last_window_ends_with_the_picture():
    seen = []
    model = nn.Identity()
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0][0, 0, 0, 0].item()))
    x = torch.arange(11.0).view(1, 1, 1, 11).expand(1, 2, 4, 11)
    torch.testing.assert_close(ByWindows(model, (4, 4))(x), x.contiguous())
    assert seen == [0, 2, 4, 6, 7]


@pytest.mark.parametrize("arm", [("xfa", None), (None, "mobilenetv3_small_050")])
@pytest.mark.parametrize("img_size", [(64, 64), (100, 70)])
def test_every_pixel_gets_scores(arm, img_size):
    model = build_for("segment", *arm, img_size=img_size, num_classes=5, size="xxs").eval()
    assert isinstance(model, Segmenter)
    with torch.no_grad():
        assert model(torch.randn(2, 3, *img_size)).shape == find_task("segment").output_shape(2, img_size, 5)


def test_the_head_is_segformers_with_its_maps_side_by_side():
    torch.manual_seed(0)
    model = build_for("segment", "mhsa", None, img_size=(64, 96), num_classes=5, size="xxs").double().eval()
    x = torch.randn(2, 3, 64, 96, dtype=torch.double)
    maps = model.backbone(x)
    finest = maps[0].shape[-2:]
    wide = [
        F.interpolate(embed(found), size=finest, mode="bilinear", align_corners=False)
        for embed, found in zip(model.embed, maps, strict=True)
    ]
    scores = model.classifier(model.norm(model.mix(torch.cat(wide, dim=1))))
    expected = F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)
    own, stated = (torch.autograd.grad(out.square().sum(), model.mix.weight)[0] for out in (model(x), expected))
    torch.testing.assert_close(own, stated, rtol=1e-9, atol=1e-9)


def test_a_handful_of_pictures_is_learnt_by_heart():
    torch.manual_seed(0)
    task = find_task("segment")
    model = build_for("segment", "xfa", None, img_size=(64, 64), num_classes=3, size="xxs")
    truth = torch.zeros(3, 64, 64, dtype=torch.long)
    truth[0, 10:40, 5:30], truth[1, 32:60, 20:60], truth[2, :8] = 1, 2, IGNORED
    images = torch.stack([(truth == label).float() for label in (0, 1, 2)], dim=1) * 2
    losses = losses_of(task, model, images, truth, 60)
    assert losses[-1] < 0.1 * losses[0]
    scorer = task.scorer(3, (64, 64), "cpu")
    scorer.update(model.eval()(images).detach(), truth)
    assert scorer.compute()["miou"] > 85
