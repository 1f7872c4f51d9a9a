"""A look at every picture before any figure is made of it: which cannot be read, and which are trained and tested on.

A file that is found broken on the way has been shown to some arm, or counted by some process, and not by another. So
all are decoded once, which takes about as long as reading one epoch: what is left out is known before the order is
drawn, the same in every process and for every arm, and a run that is to stop does so before it has cost hours.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from xbench.data.epochs import Splits
from xbench.data.names import STOP
from xbench.data.pictures import NAMED, Pictures, UnreadableError
from xbench.errors import UserError

BATCH = 64
# Which split, how many of its pictures have been looked at, and of how many.
Tell = Callable[[str, int, int], None]


def inspect(
    splits: Splits,
    names: Sequence[str],
    *,
    unreadable: str,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    tell: Tell | None = None,
) -> None:
    """Looks at the splits of these names, where they lie in files; processes that train together share the work.

    With "skip", what cannot be read is left out of its split. Pictures of an evaluation that are also trained on, equal
    to the pixel, are told among its facts where training was looked at as well.

    Raises:
        UserError: with "stop", there are pictures that cannot be read; or a split has no others.
    """
    if not splits.files:
        return
    found: dict[str, _Found] = {}
    pictures: dict[str, Pictures] = {}
    for name in names:
        split = getattr(splits, name)
        # One of the set's own splits may stand for two.
        if isinstance(split, Pictures) and split not in pictures.values():
            pictures[name] = split
            found[name] = _look(split, name, rank, world, workers, tell)
    if unreadable == STOP and any(look.why for look in found.values()):
        raise UserError(_refusal(splits.name, pictures, found))
    for name, split in pictures.items():
        if found[name].why:
            split.leave_out(found[name].why)
        if not len(split):
            raise UserError(f"data '{splits.name}': none of the {name} images can be read.")
        if name != "train" and "train" in found:
            repeated = np.flatnonzero(np.isin(found[name].digests, found["train"].digests))
            readable = [number for number in repeated.tolist() if number not in found[name].why]
            if readable:
                split.repeats(readable)


@dataclass(frozen=True)
class _Found:
    """Of a split: why pictures cannot be read, by number; and a digest of the pixels of each of the others."""

    why: dict[int, str]
    digests: np.ndarray


@dataclass(frozen=True)
class _Look(Dataset):
    """By number, the digest of a picture, or why it cannot be read."""

    pictures: Pictures

    def __getitem__(self, number: int) -> tuple[int, int | str]:
        try:
            picture, _ = self.pictures.open(number)
        except UnreadableError as error:
            return number, error.why
        content = repr(picture.size).encode() + picture.tobytes()
        return number, int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _look(pictures: Pictures, name: str, rank: int, world: int, workers: int, tell: Tell | None) -> _Found:
    total = len(pictures)
    # Processes that were not started together see the whole each.
    joint = world > 1 and distributed.is_available() and distributed.is_initialized()
    mine = range(rank, total, world) if joint else range(total)
    loader: DataLoader = DataLoader(
        _Look(pictures),
        sampler=mine,
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=list,
        # Otherwise the loader would draw a number from the global one.
        generator=torch.Generator(),
    )
    seen: list[tuple[int, int | str]] = []
    for batch in loader:
        seen += batch
        if tell is not None:
            tell(name, len(seen), len(mine))
    if joint:
        shares: list[list[tuple[int, int | str]]] = [[] for _ in range(world)]
        distributed.all_gather_object(shares, seen)
        seen = [one for share in shares for one in share]
    digests = np.zeros(total, np.uint64)
    why: dict[int, str] = {}
    for number, what in seen:
        if isinstance(what, str):
            why[number] = what
        else:
            digests[number] = what
    return _Found(why, digests)


def _refusal(data: str, pictures: dict[str, Pictures], found: dict[str, _Found]) -> str:
    parts = []
    for name, look in found.items():
        if look.why:
            first = [f"{pictures[name].pictures.name(n)} ({look.why[n]})" for n in sorted(look.why)[:NAMED]]
            more = f" and {len(look.why) - NAMED:,} more" if len(look.why) > NAMED else ""
            parts.append(f"{len(look.why):,} of {len(pictures[name]):,} {name} images: {', '.join(first)}{more}")
    return (
        f"data '{data}' holds images that cannot be read. {'; '.join(parts)}. Mend or remove them, or leave them out "
        "of every figure: --unreadable skip."
    )
