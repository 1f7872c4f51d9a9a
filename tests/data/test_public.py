"""Sets from outside, on small ones made here: classes and pictures agree; what is missing is said in plain words."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from xbench.data import open_data
from xbench.errors import UserError

CLASSES = ("ant", "bee", "cow")


def picture(label, number):
    """A plain picture whose red tells its class and whose green tells its number."""
    return Image.new("RGB", (40, 50), (label * 80, number * 20, 0))


def label_of(images):
    """The class by the colour of normalised pixels."""
    red = images[:, 0, 16, 16] * 0.229 + 0.485
    return (red * 255 / 80).round().long()


def bytes_of(image, kind="png"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def make_folder(root, splits, count=4):
    for split, labels in splits.items():
        for label in labels:
            folder = root / split / CLASSES[label]
            folder.mkdir(parents=True)
            for number in range(count):
                picture(label, number).save(folder / f"{number}.png")
    return root


def opened(spec, batch=4, **arguments):
    return open_data(spec, img_size=(32, 32), batch=batch, seed=0, **arguments)


def check(data, sizes):
    """Pictures and targets belong together, nothing is lost, and two processes share it out."""
    facts = data.facts()["splits"]
    assert {split: facts[split]["images"] for split in facts} == sizes
    for batches in (data.train(0), data.evaluate("val"), data.evaluate("test")):
        for images, targets in batches:
            assert images.shape[1:] == (3, 32, 32)
            assert torch.equal(label_of(images), targets)
    halves = [opened(data.name, rank=rank, world=2) for rank in range(2)]
    assert sum(len(targets) for half in halves for _, targets in half.evaluate("val")) == sizes["val"]


def test_folders(tmp_path):
    root = make_folder(tmp_path, {"train": (0, 1, 2), "val": (0, 1, 2), "test": (1, 2)})
    data = opened(f"folder:{root}")
    assert data.num_classes == 3
    # Without the classes of training, "bee" alone would have become class 0.
    check(data, {"train": 12, "val": 12, "test": 8})
    assert opened("folder", root=root).facts()["splits"] == data.facts()["splits"]


def test_validation_stands_for_a_test_that_is_not_there(tmp_path):
    make_folder(tmp_path, {"train": (0, 1), "validation": (0, 1)})
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "unlabelled.png").write_bytes(bytes_of(picture(0, 0)))
    splits = opened(f"folder:{tmp_path}").facts()["splits"]
    assert splits["test"] == splits["val"]
    assert splits["test"]["own"] == "validation"


def test_a_fingerprint_changes_with_the_pictures_that_are_there(tmp_path):
    one, other = (
        opened(f"folder:{make_folder(tmp_path / str(count), {'train': (0, 1), 'val': (0, 1)}, count)}", batch=2)
        for count in (2, 3)
    )
    assert one.facts()["splits"]["train"]["fingerprint"] != other.facts()["splits"]["train"]["fingerprint"]


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": (0, 1), "val": (0, 2)}, "classes that training does not: cow"),
        ({"train": (0, 1)}, "one to evaluate on; found: train"),
        ({"val": (0, 1)}, "a split to train on"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, splits, words):
    with pytest.raises(UserError, match=words):
        opened(f"folder:{make_folder(tmp_path, splits)}")


def write_shard(path, samples):
    with tarfile.open(path, "w") as tar:
        for key, files in samples:
            for suffix, content in files.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def shard_samples(count, start=0):
    return [
        (
            f"{start + i:04}",
            {"png": bytes_of(picture(i % 3, i % 9)), "cls": str(i % 3).encode(), "json": b"{}"},
        )
        for i in range(count)
    ]


def test_shards(tmp_path):
    write_shard(tmp_path / "set-train-0000.tar", shard_samples(7))
    write_shard(tmp_path / "set-train-0001.tar", shard_samples(5, start=7))
    write_shard(tmp_path / "set-validation-0000.tar", shard_samples(5))
    data = opened(f"wds:{tmp_path}")
    assert data.num_classes == 3
    check(data, {"train": 12, "val": 5, "test": 5})


@pytest.mark.parametrize("content", [b"not a tar", None])
def test_what_is_wrong_with_a_shard_is_said(tmp_path, content):
    write_shard(tmp_path / "train.tar", shard_samples(4))
    if content is None:
        write_shard(tmp_path / "val.tar", [("0", {"txt": b"no picture"})])
    else:
        (tmp_path / "val.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"val\.tar"):
        opened(f"wds:{tmp_path}")


def test_torchvision(tmp_path):
    """MNIST in its own file format: big-endian sizes behind a magic number."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for word, count in (("train", 20), ("t10k", 10)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.repeat(labels * 25, 28 * 28)
        sizes = np.array([count], ">i4").tobytes(), np.array([count, 28, 28], ">i4").tobytes()
        (raw / f"{word}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + sizes[0] + labels.tobytes())
        (raw / f"{word}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes[1] + images.tobytes())
    data = opened(f"torch/mnist:{tmp_path}")
    assert (data.num_classes, data.train_size) == (10, 20)
    for images, targets in data.evaluate("test"):
        assert torch.equal(((images[:, 0, 16, 16] * 0.229 + 0.485) * 255 / 25).round().long(), targets)


def test_hugging_face(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    root = make_folder(tmp_path / "set", {"train": (0, 1, 2), "test": (0, 1, 2)})
    data = opened(f"hfds/{root}:{tmp_path / 'cache'}")
    assert data.num_classes == 3
    check(data, {"train": 12, "val": 12, "test": 12})
    with pytest.raises(UserError, match="no-such-split"):
        opened(f"hfds/{root}:{tmp_path / 'cache'}:val=no-such-split")
