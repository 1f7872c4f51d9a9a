"""Order and chance: who is shown what, and the luck each image meets, from whole numbers and words alone.

Nothing here leaves a global generator moved, so an epoch is the same whatever the model drew before it, and every
process can tell its share of a joint batch without asking the others.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from xbench.errors import UserError

Key = str | int


def seed_of(*key: Key) -> int:
    """A whole number under 2⁶⁴ for a key: the same everywhere, and unrelated for keys that differ at all."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")


@contextmanager
def borrowed_generators() -> Iterator[Callable[..., None]]:
    """Gives what starts the generators of Python, NumPy and torch's CPU from a key; at the end they are as they were.

    The random transforms of timm and torchvision draw from all three.
    """
    python, numpy, torch_ = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield _start_generators
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)


def _start_generators(*key: Key) -> None:
    seed = seed_of(*key)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed % 2**63)


def joint_batches(images: int, batch: int, *key: Key) -> np.ndarray:
    """An epoch's order, [steps, batch]: the numbers below ``images`` shuffled by the key, as far as
    they fill batches."""
    order = np.random.Generator(np.random.PCG64(seed_of("order", *key))).permutation(images)
    steps = images // batch
    return order[: steps * batch].reshape(steps, batch)


def share(batch: int, rank: int, world: int) -> np.ndarray:
    """The places in a joint batch that belong to one of ``world`` processes, [batch / world].

    A share is a stretch of the first half and its mirror image in the second. Mixup blends place i with place
    batch − 1 − i: both ends of every such pair lie in one share, in mirrored order again.

    Raises:
        UserError: the batch does not divide by the processes.
    """
    if batch % world:
        raise UserError(f"a joint batch of {batch} cannot be shared out among {world} processes.")
    if batch % (2 * world):
        return np.arange(rank, batch, world)
    half = batch // (2 * world)
    first = np.arange(rank * half, (rank + 1) * half)
    return np.concatenate([first, batch - 1 - first[::-1]])


def fingerprint(parts: Sequence[object]) -> str:
    """A short hash of anything whose ``repr`` says what it is."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()[:16]
