"""Files that are no pictures, or half of one: named, counted, and never another picture in their place."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_public import CLASSES, make_folder, opened, picture, shard_samples, write_shard

from xbench.errors import UserError

ALL = ("train", "val", "test")


def noise(seed):
    """A picture whose file is so long that a half of it is certainly not whole."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def halve(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture
def half_cut(tmp_path):
    """16 dark or bright test pictures, of which 8 are cut in half, and one of the others lies in the wrong class."""
    for split in ALL:
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(8):
                rng = np.random.default_rng([ALL.index(split), label, number])
                bright = 150 if (split, label, number) == ("test", 0, 7) else 150 * label
                pixels = rng.integers(0, 60, (40, 50, 3)) + bright
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")
    for name in ("dark", "light"):
        for number in range(4):
            halve(tmp_path / "test" / name / f"{number}.jpg")
    return tmp_path


def judge(data, split="test"):
    """(correct, images) of a judge who knows that light pictures are light."""
    correct = images = 0
    for pictures, targets in data.evaluate(split):
        correct += int(((pictures.mean((1, 2, 3)) > 0).long() == targets).sum())
        images += len(targets)
    return correct, images


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_in_neither_number(half_cut, workers):
    data = opened(f"folder:{half_cut}", inspected=ALL, unreadable="skip", workers=workers)
    assert judge(data) == (7, 8)
    told = data.facts()["splits"]["test"]["unreadable"]
    assert (told["left_out"], told["of"]) == (8, 16)
    assert told["first"][0].startswith("test/dark/0.jpg (")
    halves = [opened(f"folder:{half_cut}", rank=rank, world=2, inspected=ALL, unreadable="skip") for rank in range(2)]
    assert tuple(map(sum, zip(*map(judge, halves), strict=True))) == (7, 8)


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_or_it_ends_the_run(half_cut, workers):
    halve(half_cut / "train" / "light" / "3.jpg")
    with pytest.raises(UserError) as error:
        opened(f"folder:{half_cut}", inspected=ALL, workers=workers)
    for words in ("1 of 16 train images: train/light/3.jpg (", "8 of 16 test images: test/dark/0.jpg (", "skip"):
        assert words in str(error.value)
    # One that breaks, or is looked at for the first time, on the way.
    with pytest.raises(UserError, match=r"^the image train/light/3.jpg cannot be read: .*[Tt]runcated"):
        list(opened(f"folder:{half_cut}", workers=workers).train(0))


@pytest.mark.process
def test_training_does_without_it_alike_in_every_process(half_cut):
    for number in (1, 5, 6):
        halve(half_cut / "train" / "dark" / f"{number}.jpg")
    whole = opened(f"folder:{half_cut}", inspected=ALL, unreadable="skip")
    assert (whole.train_size, whole.steps) == (13, 3)
    parts = [
        opened(f"folder:{half_cut}", rank=rank, world=2, workers=rank, inspected=ALL, unreadable="skip")
        for rank in range(2)
    ]
    seen = []
    for (images, targets), *shares in zip(whole.train(0), *(part.train(0) for part in parts), strict=True):
        assert ((images.mean((1, 2, 3)) > 0).long() == targets).all()
        seen += [image.numpy().tobytes() for image in images]
        assert sorted(seen[-4:]) == sorted(image.numpy().tobytes() for share, _ in shares for image in share)
    assert len(set(seen)) == 12


@pytest.mark.process
def test_processes_that_train_together_share_the_look(half_cut):
    """Each sees half of the files, and both know of all."""
    count = """
import sys
from torch import distributed
from xbench.data import open_data
from xbench.data.disk import inspection
distributed.init_process_group("gloo")
rank, seen = distributed.get_rank(), []
data = open_data(sys.argv[1], img_size=(32, 32), batch=4, seed=0, rank=rank, world=2, inspected=("test",),
    unreadable="skip", tell=lambda *told: seen.append(told))
# In one write, so that two processes' lines do not mix.
sys.stdout.write(f"{rank} {seen[-1]} {data.facts()['splits']['test']['images']}\\n")
sys.stdout.flush()
distributed.destroy_process_group()
"""
    (half_cut / "count.py").write_text(count)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29547"]
    told = subprocess.check_output([*torchrun, half_cut / "count.py", f"folder:{half_cut}"], text=True)
    assert sorted(told.splitlines()) == [f"{rank} ('test', 8, 8) 8" for rank in range(2)]


def test_nothing_readable_is_an_error(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1), "val": (0, 1)})
    for path in (root / "val").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the val images can be read"):
        opened(f"folder:{root}", inspected=("val",), unreadable="skip")


def test_what_else_a_picture_can_fail_to_be(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1), "val": (0, 1)})
    folder = root / "val" / "ant"
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "text.jpg").write_text("a picture of an ant")
    Image.fromarray(np.ones((8, 8), np.float32)).save(folder / "range.tif")
    (folder / "folder.jpg").mkdir()
    facts = opened(f"folder:{root}", inspected=("val",), unreadable="skip").facts()["splits"]["val"]
    assert facts["images"] == 8
    why = [name.partition(" (") for name in facts["unreadable"]["first"]]
    assert [(name, reason.rstrip(")")) for name, _, reason in why] == [
        ("val/ant/empty.jpg", "not an image"),
        ("val/ant/gone.jpg", "No such file or directory"),
        (
            "val/ant/range.tif",
            "its pixels are floating-point numbers, of which no file says what is black and what is white",
        ),
        ("val/ant/text.jpg", "not an image"),
    ]


def test_no_user_means_these_to_be_classes(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1), "val": (0, 1)})
    plain = opened(f"folder:{root}").facts()["splits"]
    for split in ("train", "val"):
        for name in (".ipynb_checkpoints", "__MACOSX", "ant/.thumbnails"):
            (root / split / name).mkdir()
            picture(2, 0).save(root / split / name / "0.png")
        (root / split / "cow").mkdir()
        picture(2, 0).save(root / split / "stray.png")
        picture(2, 0).save(root / split / "ant" / "._0.png", "png")
        (root / split / "ant" / "Thumbs.db").write_bytes(b"x")
        # A way back into itself would be walked without end.
        (root / split / "ant" / "again").symlink_to(root / split)
    data = opened(f"folder:{root}", inspected=ALL)
    assert data.num_classes == 2
    found = data.facts()["splits"]["val"]
    assert found.pop("empty_folders") == {"number": 1, "first": ["cow"]}
    assert found.pop("files_not_read") == {"number": 2, "first": ["ant/Thumbs.db", "stray.png"]}
    found.pop("also_in_training")
    assert found == plain["val"]


def test_a_class_is_a_folder_and_all_below_it(tmp_path):
    """As torchvision's ImageFolder reads it; the order of numbers in names is the natural one."""
    for split in ("train", "val"):
        for name in ("10/left", "10/right", "9"):
            (tmp_path / split / name).mkdir(parents=True)
            for kind in ("png", "webp", "bmp", "gif", "tiff"):
                noise(len(name)).save(tmp_path / split / name / f"a.{kind}")
    data = opened(f"folder:{tmp_path}")
    assert data.num_classes == 2
    assert data.train_size == 15
    targets = torch.cat([targets for _, targets in data.evaluate("val")])
    assert targets.tolist() == [0] * 5 + [1] * 10
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(tmp_path / "val", is_valid_file=lambda path: True)
    assert sorted(os.path.relpath(path, tmp_path) for path, _ in theirs.samples) == sorted(
        data.splits.val.pictures.name(i) for i in range(15)
    )


def test_classes_of_training_and_evaluation_are_the_same(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1), "val": (0, 1), "test": (0,)})
    (root / "val" / "bee").rename(root / "val" / "Bee")
    with pytest.raises(UserError, match=r"does not: Bee\. Training has, and this has not: bee\."):
        opened(f"folder:{root}")
    (root / "val" / "Bee").rename(root / "val" / "bee")
    splits = opened(f"folder:{root}").facts()["splits"]
    assert [split.get("classes") for split in splits.values()] == [None, None, 1]


def test_a_broken_picture_in_a_shard_is_named(tmp_path):
    good, bad = shard_samples(6), shard_samples(6)
    bad[4][1]["png"] = bad[4][1]["png"][:60]
    write_shard(tmp_path / "train-0.tar", good)
    write_shard(tmp_path / "val-0.tar", bad)
    (tmp_path / "._val-0.tar").write_bytes(b"left by a system")
    with pytest.raises(UserError, match=r"1 of 6 val images: val-0.tar: 0004.png \("):
        opened(f"wds:{tmp_path}", inspected=ALL)
    data = opened(f"wds:{tmp_path}", inspected=ALL, unreadable="skip")
    assert data.facts()["splits"]["val"]["images"] == 5
    assert torch.cat([targets for _, targets in data.evaluate("val")]).tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("label", "words"),
    [("-1", "'val' holds images of class -1"), ("7", "'val' holds classes that training does not: 7")],
)
def test_numbers_that_are_no_class_are_refused(tmp_path, label, words):
    write_shard(tmp_path / "train.tar", shard_samples(6))
    strange = shard_samples(6)
    strange[2][1]["cls"] = label.encode()
    write_shard(tmp_path / "val.tar", strange)
    with pytest.raises(UserError, match=words):
        opened(f"wds:{tmp_path}")


def test_what_is_trained_and_tested_on_is_told(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1), "val": (0,), "test": (1,)}, count=3)
    # The same pixels in another file.
    for label, name in enumerate(CLASSES[:2]):
        for number in range(3):
            noise(10 * label + number).save(root / "train" / name / f"{number}.png")
    noise(0).save(root / "val" / "ant" / "0.png", compress_level=1)
    splits = opened(f"folder:{root}", inspected=ALL).facts()["splits"]
    assert splits["val"]["also_in_training"] == {"images": 1, "first": ["val/ant/0.png"]}
    assert "also_in_training" not in splits["test"]
