"""WebDataset shards as a set of pictures by number.

Format: tars in which the files of a sample share their name up to the first dot ("0001.jpg", "0001.cls"), see
https://github.com/webdataset/webdataset. Read as a stream, the order would depend on how many processes read, and an
image might be seen twice or not at all in an evaluation that several share. So the headers are read once, and every
picture is then read from its place, which needs shards on this machine.
"""

import io
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xbench.data.chance import fingerprint
from xbench.errors import UserError

PICTURES = ("jpg", "jpeg", "png", "webp")
LABEL = "cls"


class Shards:
    """The samples of some shards: a picture (.jpg, .jpeg, .png or .webp) and a class number (.cls) each.

    Raises:
        UserError: a shard that cannot be read, or one without any such sample.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        shards, places, lengths, labels = [], [], [], []
        for shard, path in enumerate(paths):
            found = _samples(path)
            if not found:
                raise UserError(f"'{path}' holds no sample with a picture ({', '.join(PICTURES)}) and a '.{LABEL}'.")
            for place, length, label in found:
                shards.append(shard)
                places.append(place)
                lengths.append(length)
                labels.append(label)
        self.shards, self.labels = np.array(shards), np.array(labels)
        self.places, self.lengths = np.array(places), np.array(lengths)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        with open(self.paths[self.shards[index]], "rb") as shard:
            content = os.pread(shard.fileno(), int(self.lengths[index]), int(self.places[index]))
        return Image.open(io.BytesIO(content)), int(self.labels[index])

    def name(self, index: int) -> str:
        path = self.paths[self.shards[index]]
        with open(path, "rb") as shard:
            # A member's header lies before its content.
            header = os.pread(shard.fileno(), tarfile.BLOCKSIZE, int(self.places[index]) - tarfile.BLOCKSIZE)
        return f"{path.name}: {tarfile.TarInfo.frombuf(header, tarfile.ENCODING, 'surrogateescape').name}"

    def fingerprint(self) -> str:
        arrays = [array.astype("<i8").tobytes() for array in (self.shards, self.places, self.lengths, self.labels)]
        return fingerprint([[path.name for path in self.paths], *arrays])


def _samples(path: Path) -> list[tuple[int, int, int]]:
    """Place and length of the picture, and the class, of every sample of a shard, in its order."""
    parts: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                stem, _, suffix = file.partition(".")
                sample = parts.setdefault(f"{folder}/{stem}", {})
                if suffix.lower() in PICTURES and member.isfile():
                    sample["picture"] = (member.offset_data, member.size)
                elif suffix == LABEL:
                    sample["label"] = int(tar.extractfile(member).read())  # type: ignore[union-attr]
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"'{path}' cannot be read as a WebDataset shard: {error}.") from error
    return [(*sample["picture"], sample["label"]) for sample in parts.values() if len(sample) == 2]


def shards_of(root: Path, split: str) -> list[Path]:
    """The tars of a split, by name: those in ``root/split``, or those in ``root`` with the word in their name."""
    folder = root / split
    if folder.is_dir():
        return _tars(folder)
    return [tar for tar in _tars(root) if split in re.split("[^a-z]+", tar.stem.lower())]


def _tars(folder: Path) -> list[Path]:
    """Hidden ones are what a system left, such as ``._train.tar``."""
    return sorted(tar for tar in folder.glob("*.tar") if not tar.name.startswith("."))
