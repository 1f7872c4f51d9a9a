"""What a training run leaves in its folder: weights.safetensors and config.json, and while it lasts resume.pt.

weights.safetensors holds the weights that are evaluated, config.json the job and what is known of the run. resume.pt
holds everything that the next epoch depends on; it is replaced as a whole, so that a run killed at any moment goes on
from its last whole epoch. All are read without running code that a file could bring along.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from xbench.errors import UserError
from xbench.interrupts import held
from xbench.leavings import drop_unused
from xbench.training.job import Job
from xbench.writing import write_file

WEIGHTS, CONFIG, RESUME = "weights.safetensors", "config.json", "resume.pt"
MADE_BY = {"made_by": "xbench"}  # in the file of weights


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps a second process from training into the same folder. One that the training left empty is gone afterwards.

    Raises:
        UserError: one is at it, or the folder cannot be written, or holds what is not of a training run.
    """
    foreign = [name for name in (WEIGHTS, CONFIG, RESUME) if (folder / name).exists()]
    if foreign and not _is_ours(folder):
        raise UserError(f"{folder} holds a {foreign[0]} that is not of a training run; choose another folder.")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(f"cannot train into {folder}: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"another process is training into {folder}.") from None
    finally:
        if made:
            with held():
                drop_unused(folder)
        os.close(lock)


def _is_ours(folder: Path) -> bool:
    """Whether a training run made what lies there; config.json comes last, so a killed run may lack it."""
    try:
        if (folder / CONFIG).exists():
            return "job" in read_config(folder)
        if (folder / RESUME).exists():
            return True
        with safe_open(folder / WEIGHTS, framework="pt") as weights:
            return (weights.metadata() or {}).items() >= MADE_BY.items()
    except (UserError, TypeError, OSError, SafetensorError):
        return False


def save_resume(folder: Path, state: dict[str, Any]) -> None:
    """Replaces resume.pt.

    Raises:
        UserError: no room, or no permission; the older one is still whole.
    """
    packed = BytesIO()
    torch.save(state, packed)
    write_file(folder / RESUME, packed.getvalue())


def load_resume(folder: Path, job: Job) -> dict[str, Any] | None:
    """What the last whole epoch of this job left; None where there is none.

    Raises:
        UserError: the folder holds another job's, or a file that cannot be read.
    """
    path = folder / RESUME
    if not path.exists():
        if (folder / CONFIG).exists() and read_config(folder)["job"] != job.as_dict():
            raise UserError(f"{folder} holds another training run; choose another folder.")
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise UserError(f"{path} cannot be read; remove it to begin again. ({error})") from error
    if state["job"] != job.as_dict():
        differs = sorted(key for key, value in job.as_dict().items() if state["job"].get(key) != value)
        raise UserError(
            f"{folder} holds the training of another job: {', '.join(differs)} differ; choose another folder."
        )
    return state


def save_weights(folder: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Replaces the weights, then config.json.

    Raises:
        UserError: no room, or no permission.
    """
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    write_file(folder / WEIGHTS, save(plain, MADE_BY))
    write_file(folder / CONFIG, json.dumps(config, indent=1) + "\n")


def drop_resume(folder: Path) -> None:
    """The run has ended: nothing is to be gone on from."""
    (folder / RESUME).unlink(missing_ok=True)


def read_config(folder: Path) -> dict[str, Any]:
    """``{"job": …, "history": …, …}``.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = folder / CONFIG
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder} holds no training run: cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path} is not a configuration of a training run: {error}.") from error


def read_job(folder: Path) -> Job:
    """What was trained into the folder.

    Raises:
        UserError: see ``read_config``; or another version of xbench wrote it.
    """
    config = read_config(folder)
    try:
        return Job.from_dict(config["job"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} is not of this version of xbench: {error}.") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights by name, on the CPU.

    Raises:
        UserError: they cannot be read.
    """
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the weights {folder / WEIGHTS}: {error}.") from error
