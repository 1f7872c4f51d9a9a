"""YOLOv3 against a naive one that is written out box by box, COCO's average precision against pycocotools."""

import math

import pytest
import torch
from by_heart import losses_of
from torch.nn import functional as F

from xbench.models.detection import ANCHORS, STRIDES, anchors, boxes
from xbench.tasks import CLASSES, find_task
from xbench.tasks.building import build_for
from xbench.tasks.detection import AveragePrecision, Detection, assign, find_boxes, yolo_loss

SIZE = (96, 160)


def targets_of(*pictures: list[tuple[float, ...]]) -> torch.Tensor:
    """[B, objects, 6] of (x₁, y₁, x₂, y₂, class, crowd) for each object of each picture."""
    most = max(map(len, pictures))
    empty = (0.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    return torch.tensor([[*picture, *[empty] * (most - len(picture))] for picture in pictures], dtype=torch.float32)


PICTURES = targets_of(
    [(10, 12, 30, 44, 2, 0), (11, 13, 31, 45, 1, 0), (100, 20, 158, 90, 0, 0), (0, 0, 4, 6, 3, 0)],
    [(20, 20, 90, 80, 1, 1), (130, 60, 160, 96, 2, 0)],
    [],
)


def naive_loss(raw: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of one picture, by loops and numbers alone."""
    scale = math.sqrt(SIZE[0] * SIZE[1]) / 320
    cells = []  # (x, y, width, height, stride) of every anchor
    for stride, sizes in zip(STRIDES, ANCHORS, strict=True):
        for row in range(math.ceil(SIZE[0] / stride)):
            for col in range(math.ceil(SIZE[1] / stride)):
                cells += [(col * stride, row * stride, w * scale, h * scale, stride) for w, h in sizes]
    owners: dict[int, int] = {}
    for number, (x1, y1, x2, y2, label, crowd) in enumerate(targets.tolist()):
        if label < 0 or crowd:
            continue
        w, h = x2 - x1, y2 - y1
        overlap = []
        for sizes in ANCHORS:
            for aw, ah in sizes:
                common = min(w, aw * scale) * min(h, ah * scale)
                overlap.append(common / (w * h + aw * ah * scale**2 - common))
        best = overlap.index(max(overlap))
        stride = STRIDES[best // 3]
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        corner = (int(cx // stride) * stride, int(cy // stride) * stride)
        w_, h_ = (side * scale for side in ANCHORS[best // 3][best % 3])
        place = next(i for i, cell in enumerate(cells) if cell == (*corner, w_, h_, stride))
        owners[place] = number
    total = torch.zeros(())
    for place, (cx, cy, aw, ah, stride) in enumerate(cells):
        tx, ty, tw, th, to, *tc = raw[place]
        if place in owners:
            x1, y1, x2, y2, label, _ = targets[owners[place]].tolist()
            small = 2 - (x2 - x1) * (y2 - y1) / (SIZE[0] * SIZE[1])
            for t, want in ((tx, ((x1 + x2) / 2 - cx) / stride), (ty, ((y1 + y2) / 2 - cy) / stride)):
                for share, said in ((want, t.sigmoid()), (1 - want, 1 - t.sigmoid())):
                    total = total + small * (share * torch.log(share / said) if share else 0)
            for t, side, anchor in ((tw, x2 - x1, aw), (th, y2 - y1, ah)):
                total = total + small * (t - math.log(side / anchor)) ** 2 / 2
            for number, t in enumerate(tc):
                total = total - torch.log(t.sigmoid() if number == label else 1 - t.sigmoid())
            total = total - torch.log(to.sigmoid())
            continue
        tx, ty, tw, th = raw[place, :4].detach()
        bx, by = float(tx.sigmoid() * stride + cx), float(ty.sigmoid() * stride + cy)
        bw, bh = float(aw * tw.exp()), float(ah * th.exp())
        ignored = False
        for x1, y1, x2, y2, label, crowd in targets.tolist():
            if label < 0:
                continue
            wide = min(bx + bw / 2, x2) - max(bx - bw / 2, x1)
            high = min(by + bh / 2, y2) - max(by - bh / 2, y1)
            common = max(wide, 0) * max(high, 0)
            ignored |= common / (bw * bh if crowd else bw * bh + (x2 - x1) * (y2 - y1) - common) > 0.5
        if not ignored:
            total = total - torch.log(1 - to.sigmoid())
    return total


def test_the_loss_is_the_papers_box_by_box():
    torch.manual_seed(0)
    raw = torch.randn(3, len(anchors(SIZE)), 5 + 4, dtype=torch.float64, requires_grad=True)
    expected = sum(naive_loss(own, truth) for own, truth in zip(raw, PICTURES, strict=True)) / 3
    found = yolo_loss(raw, PICTURES, SIZE)
    torch.testing.assert_close(found, expected.to(found), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, raw)[0] for loss in (found, expected)), rtol=1e-5, atol=1e-9, check_dtype=False
    )


def test_the_later_of_two_objects_of_an_anchor_is_learnt():
    places, learnt = assign(PICTURES, SIZE)
    assert places[0, 0] == places[0, 1]
    assert learnt.tolist() == [[False, True, True, True], [False, True, False, False], [False] * 4]


def test_what_was_assigned_is_found():
    """Outputs that say exactly what the loss asks for are decoded to the objects themselves."""
    at = anchors(SIZE)
    places, learnt = assign(PICTURES, SIZE)
    raw = torch.full((3, len(at), 5 + 4), -20.0)
    for picture, object_ in learnt.nonzero().tolist():
        x1, y1, x2, y2, label, _ = PICTURES[picture, object_]
        place = places[picture, object_]
        cx, cy, w, h, stride = at[place]
        raw[picture, place, :2] = torch.stack(((x1 + x2) / 2 - cx, (y1 + y2) / 2 - cy)).div(stride).logit()
        raw[picture, place, 2:4] = torch.stack(((x2 - x1) / w, (y2 - y1) / h)).log()
        raw[picture, place, 4] = raw[picture, place, 5 + int(label)] = 20.0
    for found, truth, wanted in zip(find_boxes(raw, SIZE), PICTURES, learnt, strict=True):
        own = truth[wanted]
        order = found["boxes"][:, 0].argsort()
        expected = own[own[:, 0].argsort()]
        torch.testing.assert_close(found["boxes"][order], expected[:, :4], atol=1e-3, rtol=1e-4)
        assert found["labels"][order].tolist() == expected[:, 4].long().tolist()


def test_average_precision_is_pycocotools():
    """COCO's own code, on random answers about random pictures, crowds among them."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    torch.manual_seed(1)
    outputs = torch.randn(12, len(anchors(SIZE)), 5 + 3)
    outputs[..., 4] -= 3
    corners = torch.rand(12, 5, 2, 2).sort(dim=2).values * torch.tensor([SIZE[1], SIZE[0]])
    truth = torch.cat((corners.flatten(2), torch.randint(-1, 3, (12, 5, 1)), torch.rand(12, 5, 1) < 0.1), dim=-1)
    # Some answers are nearly right, or all scores would be zero.
    at = anchors(SIZE)
    places, learnt = assign(truth, SIZE)
    for picture, object_ in learnt.nonzero().tolist()[::2]:
        x1, y1, x2, y2, label, _ = truth[picture, object_]
        place = places[picture, object_]
        cx, cy, w, h, stride = at[place]
        outputs[picture, place, :2] = torch.stack(((x1 + x2) / 2 - cx, (y1 + y2) / 2 - cy)).div(stride).logit()
        outputs[picture, place, 2:4] = torch.stack(((x2 - x1) / w, (y2 - y1) / h)).log() + 0.2 * torch.randn(2)
        outputs[picture, place, 4] = outputs[picture, place, 5 + int(label)] = 3 + torch.randn(())
    scorer = AveragePrecision(SIZE, "cpu")
    for half in (slice(0, 7), slice(7, 12)):
        scorer.update(outputs[half], truth[half])
    found = scorer.compute()

    annotations, answers = [], []
    for picture, (objects, own) in enumerate(zip(truth, find_boxes(outputs, SIZE), strict=True)):
        for x1, y1, x2, y2, label, crowd in objects.tolist():
            if label >= 0:
                box = [x1, y1, x2 - x1, y2 - y1]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": picture,
                        "category_id": int(label),
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": int(crowd),
                    }
                )
        for (x1, y1, x2, y2), score, label in zip(
            *(own[name].tolist() for name in ("boxes", "scores", "labels")), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            answers.append({"image_id": picture, "category_id": label, "bbox": box, "score": score})
    reference = coco.COCO()
    reference.dataset = {
        "images": [{"id": i} for i in range(12)],
        "annotations": annotations,
        "categories": [{"id": i} for i in range(3)],
        "info": {},
    }
    reference.createIndex()
    judge = COCOeval(reference, reference.loadRes(answers), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert 5 < found["ap"] < 95
    assert [found["ap"], found["ap50"], found["ap75"]] == pytest.approx((100 * judge.stats[:3]).tolist(), abs=1e-3)
    assert found["objects"] == sum(not one["iscrowd"] for one in annotations)


@pytest.mark.parametrize("img_size", [(320, 320), (416, 416), (100, 212)])
def test_a_detector_says_as_much_as_it_has_anchors(img_size):
    model = build_for("detect", "identity", None, img_size=img_size, num_classes=3, size="xxs").eval()
    with torch.no_grad():
        raw = model(torch.randn(2, 3, *img_size))
    assert raw.shape == Detection().output_shape(2, img_size, 3)
    assert boxes(raw, anchors(img_size)).shape == (2, raw.shape[1], 4)


def test_it_is_as_large_as_the_paper_says():
    """6.3 M parameters are stated, of COCO's 80 classes; 6.24 M by the reconstruction."""
    with torch.device("meta"):
        model = build_for("detect", "xfa", None, img_size=(320, 320), num_classes=CLASSES["detect"])
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(6.24e6, rel=0.001)


def test_a_handful_of_pictures_is_learnt_by_heart():
    torch.manual_seed(0)
    task = find_task("detect")
    model = build_for("detect", "xfa", None, img_size=(64, 64), num_classes=2, size="xxs")
    truth = targets_of([(5, 5, 30, 40, 0, 0)], [(20, 10, 60, 60, 1, 0), (2, 40, 20, 62, 0, 0)], [])
    images = torch.zeros(3, 3, 64, 64)
    for image, objects in zip(images, truth, strict=True):
        for x1, y1, x2, y2, label, _ in objects.long().tolist():
            if label >= 0:
                image[label, y1:y2, x1:x2] = 2.0
    losses = losses_of(task, model, images, truth, 120)
    assert losses[-1] < 0.05 * losses[0]
    scorer = task.scorer(2, (64, 64), "cpu")
    scorer.update(model(images).detach(), truth)
    assert scorer.compute()["ap50"] > 99


def test_the_loss_of_no_object_is_that_of_objectness_alone():
    raw = torch.randn(2, len(anchors(SIZE)), 9)
    expected = F.binary_cross_entropy_with_logits(raw[..., 4], torch.zeros(2, raw.shape[1]), reduction="sum") / 2
    for empty in (torch.zeros(2, 0, 6), targets_of([], [(0, 0, 0, 0, -1, 0)])):
        torch.testing.assert_close(yolo_loss(raw, empty, SIZE), expected)
