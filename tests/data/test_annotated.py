"""Pictures with boxes and masks: drawn, in COCO's and Cityscapes' layouts, in folders; and what can be wrong with them.

Boxes are held to masks, masks to what is drawn, and COCO's files to pycocotools.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes

from xbench.data import Augmentation, open_data
from xbench.data.annotated.pictures import AnnotatedTransforms, Mask, Objects
from xbench.data.annotated.scenes import Scenes
from xbench.data.names import SceneOptions
from xbench.errors import UserError

SIZE = (40, 60)  # height and width of a picture on disk
NOBODY = [0, 0, 0, 0, -1, 0]


def opened(spec, task, img_size=SIZE, batch=2, **rest):
    return open_data(spec, task=task, img_size=img_size, batch=batch, seed=0, **rest)


def all_of(data, split):
    parts = list(data.evaluate(split))
    return torch.cat([images for images, _ in parts]), [target for _, targets in parts for target in targets]


# Scenes


def test_a_scenes_boxes_are_those_of_its_mask():
    scenes = Scenes("detect", "test", SceneOptions(), AnnotatedTransforms((96, 128)))
    seen = 0
    for index in range(40):
        picture, objects, mask = scenes.draw(index)
        assert picture.size == (128, 96) == mask.size
        for (x1, y1, x2, y2), label in zip(objects.boxes.astype(int), objects.labels, strict=True):
            inside = mask.classes[y1:y2, x1:x2] == label + 1
            # Some of a sign is seen in the first and the last row and column of its box.
            assert all(inside[edge].any() for edge in (0, -1))
            assert all(inside[:, edge].any() for edge in (0, -1))
            seen += 1
        counted = {int(one) for one in np.unique(mask.classes)} - {0}
        assert counted == {label + 1 for label in objects.labels.tolist()}
    assert seen > 80


def test_scenes_are_the_same_everywhere_and_those_of_training_new_in_every_epoch():
    def drawn(split, index, epoch=0, seed=0):
        scenes = Scenes("detect", split, SceneOptions(), AnnotatedTransforms((64, 64)), seed)
        return np.asarray(scenes.draw(index, epoch)[0]).tobytes()

    assert drawn("train", 3, 1) == drawn("train", 3, 1)
    others = [drawn("train", 4), drawn("train", 3, 1), drawn("train", 3, 0, 1), drawn("val", 3), drawn("test", 3)]
    assert len({drawn("train", 3), *others}) == 6
    assert drawn("test", 3, 0, 0) == drawn("test", 3, 5, 1)


def test_every_process_gets_its_share_of_scenes():
    whole = opened("scenes:train=8,val=4,test=4", "detect", batch=4)
    shares = [opened("scenes:train=8,val=4,test=4", "detect", batch=4, rank=rank, world=2) for rank in (0, 1)]
    together = torch.cat([images for data in shares for images, _ in data.train(1)])
    expected = torch.cat([images for images, _ in whole.train(1)])
    assert sorted(image.sum().item() for image in together) == sorted(image.sum().item() for image in expected)


# What moves with the pixels


def sample():
    """A picture that is red in a box and green elsewhere, with its box and its mask."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[..., 1] = 255
    pixels[8:30, 10:50] = (255, 0, 0)
    mask = (pixels[..., 0] > 0).astype(np.uint8)
    objects = Objects(np.array([[10, 8, 50, 30]], np.float32), np.array([3]), np.array([False]))
    return Image.fromarray(pixels), objects, Mask(mask)


@pytest.mark.parametrize("img_size", [SIZE, (80, 120), (60, 60), (100, 40)])
@pytest.mark.parametrize(
    "augmentation", [Augmentation(), Augmentation(hflip=1.0), Augmentation(scale=(0.3, 0.9), hflip=0.5)], ids=str
)
def test_boxes_and_masks_go_where_the_pixels_go(img_size, augmentation):
    transforms = AnnotatedTransforms(img_size, augmentation)
    picture, objects, mask = sample()
    luck = [("picture", number) for number in range(8)]
    images, targets = transforms.apply([(picture, objects)] * 8, luck)
    _, masks = transforms.apply([(picture, mask)] * 8, luck)
    red, green = (images[:, channel] * std + mean for channel, mean, std in ((0, 0.485, 0.229), (1, 0.456, 0.224)))
    shown = red > green + 0.2
    assert images.shape == (8, 3, *img_size)
    for own, target in zip(shown, targets, strict=True):
        if not own.any():
            continue
        rows, cols = torch.nonzero(own.any(1)).flatten(), torch.nonzero(own.any(0)).flatten()
        around = torch.stack([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]).float()
        torch.testing.assert_close(target[0, :4], around, atol=2.0, rtol=0)
        assert target[0, 4:].tolist() == [3, 0]
    if augmentation.scale or img_size in (SIZE, (80, 120)):  # else masks are stretched, where boxes are fitted
        assert ((masks == 1) == shown).float().mean() > 0.97


def test_a_picture_of_another_shape_is_fitted_onto_grey():
    images, targets = AnnotatedTransforms((60, 60)).apply([sample()[:2]])
    assert targets[0, 0, :4].tolist() == [10, 18, 50, 40]
    assert images[0, :, :9].abs().max() < 0.02


def test_what_boxes_cannot_follow_is_refused():
    with pytest.raises(UserError, match=r"mixup of the recipe changes pictures and not their boxes or masks"):
        opened("scenes", "detect", augmentation=Augmentation(mixup=0.2))


# COCO's layout


def coco(root, split="train2017", pictures=3, **changes):
    """A folder as COCO has it, of which an annotation's or a picture's facts may be changed."""
    folder = root / split
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(pictures):
        Image.fromarray(np.full((*SIZE, 3), 40 * number + (split < "u"), np.uint8)).save(folder / f"{number}.png")
        images.append({"id": 10 + number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        for own in range(number):  # the first picture has none
            annotations.append(
                {
                    "id": 100 * number + own,
                    "image_id": 10 + number,
                    "category_id": (90, 7)[own],
                    "bbox": [5 + own, 6, 20, 10],
                    "iscrowd": 0,
                    "area": 200,
                }
            )
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 7, "name": "train"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for path, value in changes.items():
        kind, index, key = path.split("__")
        content[kind][int(index)][key] = value
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return content


@pytest.fixture
def coco_folder(tmp_path):
    coco(tmp_path)
    coco(tmp_path, "val2017")
    return tmp_path


def test_coco_is_read_as_pycocotools_reads_it(coco_folder, capsys):
    tools = pytest.importorskip("pycocotools.coco")
    data = opened(f"coco:{coco_folder}", "detect")
    images, targets = all_of(data, "val")
    reference = tools.COCO(str(coco_folder / "annotations" / "instances_val2017.json"))
    numbers = {category: number for number, category in enumerate(sorted(reference.getCatIds()))}
    assert data.num_classes == 2
    assert data.facts()["categories"] == ["train", "toothbrush"]
    for target, image in zip(targets, sorted(reference.getImgIds()), strict=True):
        own = reference.loadAnns(reference.getAnnIds(imgIds=image))
        expected = [[x, y, x + w, y + h, numbers[one["category_id"]], 0] for one in own for x, y, w, h in [one["bbox"]]]
        rows = target[target[:, 4] >= 0]
        assert sorted(rows.tolist()) == sorted(map(list, expected))
        assert target[len(rows) :].tolist() == [NOBODY] * (len(target) - len(rows))
    assert len(images) == 3


def test_boxes_that_are_none_are_left_out_and_counted(tmp_path):
    coco(tmp_path, "val")
    coco(
        tmp_path,
        "train",
        pictures=3,
        annotations__0__bbox=[5, 6, 0, 10],
        annotations__1__bbox=[100, 100, 10, 10],
        annotations__2__bbox=[50, 30, 30, 30],
    )
    data = opened(f"coco:{tmp_path}", "detect")
    facts = data.facts()["splits"]["train"]
    assert facts["boxes_without_area"] == {"number": 1, "first": [100]}
    assert facts["boxes_outside"] == {"number": 1, "first": [200]}
    assert facts["boxes_cut"] == {"number": 1, "first": [201]}
    kept = [target for _, targets in data.train(0) for target in targets.flatten(0, 1).tolist() if target[4] >= 0]
    assert kept in ([[50, 30, 60, 40, 0, 0]], [])  # the third picture may be in the batch that is left out


def test_a_crowd_is_told(tmp_path):
    coco(tmp_path, "val", annotations__0__iscrowd=1)
    coco(tmp_path, "train")
    _, targets = all_of(opened(f"coco:{tmp_path}", "detect"), "val")
    assert [target[0, 5].item() for target in targets if len(target) and target[0, 4] >= 0] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations__1__image_id": 4}, r"instances_train.json': annotation 200 is of image 4, which is not among"),
        ({"annotations__1__category_id": 8}, r"annotation 200 is of category 8, which is not among the categories"),
        ({"annotations__1__bbox": [1, 2, 3]}, r"annotation 200 has the box \[1, 2, 3\], not four numbers"),
        ({"annotations__1__bbox": [1, 2, float("nan"), 3]}, r"annotation 200 has the box"),
        ({"annotations__1__bbox": "12"}, r"annotation 200 has the box '12', not four numbers"),
        ({"annotations__1__id": 100}, r"two of the annotations have the id 100"),
        ({"images__1__id": 10}, r"two of the images have the id 10"),
    ],
)
def test_what_coco_would_not_say_is_refused_by_name(tmp_path, changes, message):
    coco(tmp_path, "train", **changes)
    coco(tmp_path, "val")
    with pytest.raises(UserError, match=message):
        opened(f"coco:{tmp_path}", "detect")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n"annotations": [}', r"instances_train.json', line 2, is no JSON"),
        ("[]", r"there is no list of categories|there is no list of images"),
        ('{"images": 3}', r"there is no list of images"),
        ('{"images": [{"id": 1}]}', r"number 0 of the images has no file_name"),
    ],
)
def test_a_file_that_is_not_cocos_is_refused_with_its_line(tmp_path, text, message):
    coco(tmp_path, "train")
    coco(tmp_path, "val")
    (tmp_path / "annotations" / "instances_train.json").write_text(text)
    with pytest.raises(UserError, match=message):
        opened(f"coco:{tmp_path}", "detect")


@pytest.mark.parametrize("how", ["stop", "skip"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "2.png"),
        (lambda path: path.unlink(), "No such file"),
        (lambda path: Image.new("RGB", (50, 40)).save(path), "it has 50 by 40 pixels, and its annotation 60 by 40"),
    ],
    ids=["truncated", "missing", "another size"],
)
def test_a_picture_that_does_not_fit_its_annotation_is_named(coco_folder, spoil, why, how):
    spoil(coco_folder / "train2017" / "2.png")

    def look():
        return opened(f"coco:{coco_folder}", "detect", inspected=("train", "val"), unreadable=how)

    if how == "stop":
        with pytest.raises(UserError, match=why):
            look()
    else:
        assert look().facts()["splits"]["train"]["unreadable"]["left_out"] == 1


def test_other_categories_in_validation_are_refused(tmp_path):
    coco(tmp_path, "train")
    coco(tmp_path, "val", categories__0__name="cat")
    with pytest.raises(UserError, match=r"'val' has other categories than 'train'"):
        opened(f"coco:{tmp_path}", "detect")


# Masks


def cityscapes(root, labels=(7, 24, 0, 255)):
    for split in ("train", "val"):
        for number in range(2):
            picture = root / "leftImg8bit" / split / "ulm" / f"ulm_{number}_leftImg8bit.png"
            mask = root / "gtFine" / split / "ulm" / f"ulm_{number}_gtFine_labelIds.png"
            for path in (picture, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*SIZE, 3), 50 * number + (split == "val"), np.uint8)).save(picture)
            ids = np.resize(np.array(labels, np.uint8), SIZE[0] * SIZE[1]).reshape(SIZE)
            Image.fromarray(ids).save(mask)


def test_cityscapes_label_ids_become_its_training_ids(tmp_path):
    every = [label for label in Cityscapes.classes if label.id >= 0]
    cityscapes(tmp_path, [label.id for label in every])
    data = opened(f"cityscapes:{tmp_path}", "segment")
    _, (target, _) = all_of(data, "val")
    expected = [label.train_id if label.train_id in range(19) else 255 for label in every]
    assert data.num_classes == 19
    assert target.flatten()[: len(every)].tolist() == expected
    assert sorted(set(expected)) == [*range(19), 255]


@pytest.mark.parametrize("how", ["stop", "skip"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda mask: Image.fromarray(np.full(SIZE, 77, np.uint8)).save(mask),
            "has the label 77, which does not exist",
        ),
        (lambda mask: Image.new("L", (10, 10)).save(mask), "60 by 40 pixels, and its mask 10 by 10"),
        (lambda mask: Image.new("RGB", (60, 40)).save(mask), "is RGB, and not one whole number a pixel"),
        (lambda mask: mask.write_bytes(b"no"), "cannot be read: not an image"),
    ],
    ids=["label", "size", "colours", "broken"],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, spoil, why, how):
    cityscapes(tmp_path)
    spoil(tmp_path / "gtFine" / "train" / "ulm" / "ulm_1_gtFine_labelIds.png")

    def look():
        return opened(f"cityscapes:{tmp_path}", "segment", batch=1, inspected=("train", "val"), unreadable=how)

    if how == "stop":
        with pytest.raises(UserError, match=rf"ulm_1_leftImg8bit.png.*{why}"):
            look()
    else:
        assert look().facts()["splits"]["train"]["unreadable"]["left_out"] == 1


def test_a_picture_without_a_mask_is_refused(tmp_path):
    cityscapes(tmp_path)
    (tmp_path / "gtFine" / "val" / "ulm" / "ulm_0_gtFine_labelIds.png").unlink()
    with pytest.raises(UserError, match=r"the picture leftImg8bit/val/ulm/ulm_0_leftImg8bit.png has no mask"):
        opened(f"cityscapes:{tmp_path}", "segment")


def pairs(root, above=True, numbers=(0, 1, 4, 9)):
    for split in ("train", "val"):
        places = [(kind, split) if above else (split, kind) for kind in ("images", "masks")]
        for place in places:
            (root / place[0] / place[1]).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            picture = Image.fromarray(np.full((*SIZE, 3), 50 * number + (split == "val"), np.uint8))
            picture.save(root.joinpath(*places[0], f"{number}.jpg"))
            mask = Image.fromarray(np.resize(np.array(numbers, np.uint8), SIZE[0] * SIZE[1]).reshape(SIZE), "P")
            mask.putpalette([value for grey in range(256) for value in (grey, 0, 255 - grey)])  # as Pascal's have one
            mask.save(root.joinpath(*places[1], f"{number}.png"))


@pytest.mark.parametrize("above", [True, False])
def test_folders_of_pairs_are_read(tmp_path, above):
    pairs(tmp_path, above)
    data = opened(f"masks:{tmp_path}:ignore=9", "segment")
    _, (target, _) = all_of(data, "test")
    assert data.num_classes == 5
    assert target.flatten()[:4].tolist() == [0, 1, 4, 255]
    assert opened(f"masks:{tmp_path}", "segment").num_classes == 10
    with pytest.raises(UserError, match=r"has the label 4, which does not exist"):
        all_of(opened(f"masks:{tmp_path}:classes=3,ignore=9", "segment"), "val")


# Names


@pytest.mark.parametrize(
    ("spec", "task", "message"),
    [
        ("digits", "detect", r"data 'digits' is not for --task detect; for that there are scenes, coco"),
        ("scenes", "classify", r"'scenes' is not for --task classify; for that there are digits, canvas, folder"),
        ("coco:/nowhere", "segment", r"is not for --task segment; for that there are scenes, cityscapes, masks"),
        ("coco", "detect", r"needs a folder: 'coco:/path'"),
        ("coco:/nowhere", "detect", r"'/nowhere' is not a folder"),
        ("scenes:objects=0", "detect", r"scenes: objects must be from 1"),
        ("scene", "detect", r"unknown data set 'scene'"),
    ],
)
def test_a_set_for_another_task_is_refused_with_those_for_it(spec, task, message):
    with pytest.raises(UserError, match=message):
        opened(spec, task)


def test_an_empty_folder_is_no_coco(tmp_path):
    with pytest.raises(UserError, match=r"there is no 'annotations/instances_….json'"):
        opened(f"coco:{tmp_path}", "detect")
    with pytest.raises(UserError, match=r"needs a split to train on and one to evaluate on; found: none"):
        opened(f"cityscapes:{tmp_path}", "segment")


def test_epochs_are_in_another_order(tmp_path):
    data = opened("scenes:train=6,val=2,test=2", "segment", batch=3)
    epochs = [torch.cat([images for images, _ in data.train(epoch)]) for epoch in range(3)]
    assert all(not torch.equal(one, other) for one, other in pairwise(epochs))
