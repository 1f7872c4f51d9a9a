"""scikit-learn's handwritten digits: 1,797 real ones of 8 × 8, split once and for all.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi 10.24432/C50P49. They come with scikit-learn, so nothing is downloaded.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from xbench.data.chance import fingerprint

NUM_CLASSES = 10
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True, eq=False)
class Digits:
    """The digits of one split, as a data set of pictures.

    Attributes:
        images: [n, 8, 8] float32, ink from 0 to 1.
        labels: [n] int64, sorted.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        grey = Image.fromarray((self.images[index] * 255).round().astype(np.uint8))
        return grey.convert("RGB"), int(self.labels[index])

    def name(self, index: int) -> str:
        return f"of digit {index}"

    def fingerprint(self) -> str:
        return fingerprint([self.images.tobytes(), self.labels.tobytes()])


@cache
def digit_splits() -> dict[str, Digits]:
    """Train, val and test with 70, 15 and 15 % of every class; no digit is in two of them.

    Within a class the digits are ordered by the hash of their pixels: an order that no library's generator decides,
    and in which copies of one digit are neighbours.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    members: dict[str, list[int]] = {split: [] for split in SHARES}
    for label in range(NUM_CLASSES):
        found = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: fingerprint([images[i].tobytes()]))
        train = round(SHARES["train"] * len(found))
        val = train + round(SHARES["val"] * len(found))
        for split, part in zip(SHARES, (found[:train], found[train:val], found[val:]), strict=True):
            members[split] += part
    return {split: Digits(images[chosen], labels[chosen].astype(np.int64)) for split, chosen in members.items()}
