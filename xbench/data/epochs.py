"""Epochs: joint batches of any set, each process reading its own share of them, and mixing within it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from xbench.data import Augmentation
from xbench.data.chance import borrowed_generators, joint_batches, share
from xbench.errors import UserError, unknown_name


class Split(Protocol):
    """One split of a set: images by number."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int], epoch: int | None) -> tuple[Tensor, Tensor]:
        """Images [b, 3, H, W] and targets [b]: as training sees them in that epoch, or plain where there is none."""
        ...

    def facts(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Splits:
    """A set: its splits "train", "val" and "test", and what a record says of all of them.

    ``files`` is whether its pictures lie in files, which may be broken.
    """

    name: str
    num_classes: int
    train: Split
    val: Split
    test: Split
    facts: dict[str, Any] = field(default_factory=dict)
    files: bool = False


class Epochs:
    """The ``Data`` of any splits.

    timm's own loader draws order, augmentation and mixing from global generators, so that they depend on what the model
    drew before. Its datasets, transforms and mixing are used here; the order is ours.
    """

    in_chans = 3

    def __init__(
        self,
        splits: Splits,
        *,
        batch: int,
        seed: int,
        augmentation: Augmentation,
        rank: int,
        world: int,
        workers: int,
    ):
        self.splits = splits
        self.name, self.num_classes, self.train_size = splits.name, splits.num_classes, len(splits.train)
        if not 0 < batch <= self.train_size:
            raise UserError(f"a batch of {batch} cannot be drawn from the {self.train_size} images of '{self.name}'.")
        if augmentation.mixes and batch % (2 * world):
            raise UserError(
                f"mixup and cutmix blend images in pairs: a joint batch of {batch} must divide by {2 * world}."
            )
        self.batch, self.steps, self.seed = batch, self.train_size // batch, seed
        self.rank, self.world, self.workers = rank, world, workers
        self.places = share(batch, rank, world)
        self.augmentation = augmentation
        self._mixup = (
            Mixup(
                augmentation.mixup,
                augmentation.cutmix,
                label_smoothing=augmentation.label_smoothing,
                num_classes=splits.num_classes,
            )
            if augmentation.mixes
            else None
        )
        self._asked = _Asked()
        # One for all splits and epochs, so that its workers start once.
        self._loader: DataLoader = DataLoader(
            _Reader(self._named()),
            sampler=self._asked,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Otherwise the loader would draw a number from the global one.
            generator=torch.Generator(),
        )

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        batches = joint_batches(self.train_size, self.batch, self.seed, epoch)[:, self.places]
        for step, (images, targets) in enumerate(self._read("train", list(batches), epoch)):
            if self._mixup is not None:
                # One blend for a whole batch, and the same in every process.
                with borrowed_generators() as start_from:
                    start_from("mix", self.seed, epoch, step)
                    images, targets = self._mixup(images, targets)
            yield images, targets

    def evaluate(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        if split not in ("val", "test"):
            raise unknown_name("split", split, ("val", "test"))
        mine = np.arange(self.rank, len(self._named()[split]), self.world)
        yield from self._read(split, _stretches(mine, self.batch // self.world), None)

    def _read(self, split: str, batches: list[np.ndarray], epoch: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        self._asked.batches = [(split, epoch, batch.tolist()) for batch in batches]
        for read in self._loader:
            if isinstance(read, UserError):
                raise read
            yield read

    def facts(self) -> dict[str, Any]:
        sizes = {name: split.facts() for name, split in self._named().items()}
        return {
            "name": self.name,
            "classes": self.num_classes,
            "splits": sizes,
            "augmentation": asdict(self.augmentation),
            **self.splits.facts,
        }

    def _named(self) -> dict[str, Split]:
        return {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}


def _stretches(indices: np.ndarray, length: int) -> list[np.ndarray]:
    return [indices[start : start + length] for start in range(0, len(indices), length)]


# A split, an epoch (None: as for evaluation) and the numbers of the images.
Batch = tuple[str, int | None, list[int]]


class _Asked(Sampler[Batch]):
    """What the loader is to read next."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True)
class _Reader(Dataset):
    """Whole batches, so that a set may make a batch at once.

    What a user can mend is returned: raised in a worker, it would arrive with a traceback for a message.
    """

    splits: dict[str, Split]

    def __getitem__(self, batch: Batch) -> tuple[Tensor, Tensor] | UserError:
        split, epoch, indices = batch
        try:
            return self.splits[split].read(indices, epoch)
        except UserError as error:
            return UserError(str(error))
