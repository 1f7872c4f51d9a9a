"""What a training run leaves in its folder: weights.safetensors and config.json, and while it lasts resume.pt.

weights.safetensors holds the weights that are evaluated, config.json the job and what is known of the run. resume.pt
holds everything that the next epoch depends on; it is replaced as a whole, so that a run killed at any moment goes on
from its last whole epoch. All are read without running code that a file could bring along.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from pydantic import FiniteFloat, TypeAdapter, ValidationError
from pydantic_core import to_json
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from xbench.data.names import check_task
from xbench.errors import UserError, unknown_name
from xbench.files.reading import read_json
from xbench.files.run_folders import drop_unused
from xbench.files.writing import write_file
from xbench.models.sizes import find_size
from xbench.parsing.axes import MAX_IMG_SIZE, TASKS, one_of, parse_img_size, whole
from xbench.records.schema import explain
from xbench.signals import held
from xbench.tasks import SCORES
from xbench.training.job import Job

WEIGHTS, CONFIG, RESUME = "weights.safetensors", "config.json", "resume.pt"
DIGEST = "weights_sha256"  # in config.json
MADE_BY = {"made_by": "xbench"}  # in the file of weights
OF_TEST = ("low", "high", "correct", "images", *(score for scores in SCORES.values() for score in scores))
# By task what is there once the run has ended.
ENDED = {task: (*scores, "images") for task, scores in SCORES.items()} | {
    "classify": ("top1", "low", "high", "correct", "images")
}


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
        if (folder / CONFIG).exists() and read_job(folder) != job:
            raise UserError(f"{folder} holds another training run; choose another folder.")
        return None
    if not path.is_file():
        raise UserError(f"{path} is no file; remove it to begin again.")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        # What torch says advises to load it with the code that it may bring along.
        raise UserError(f"{path} is no whole state of a training run; remove it to begin again.") from error
    kinds = {"job": dict, "model": dict, "optimizer": dict, "history": list, "data_order": str}
    for name, kind in kinds.items():
        if not isinstance(state, dict) or not isinstance(state.get(name), kind):
            raise UserError(f"{path} is no state of a training run: {name} is missing; remove it to begin again.")
    # By way of a job, so that what an older version did not write has its default.
    began = _parse_job(path, state["job"]).as_dict()
    if began != job.as_dict():
        differs = sorted(key for key, value in job.as_dict().items() if began[key] != value)
        raise UserError(
            f"{folder} holds the training of another job: {', '.join(differs)} differ; choose another folder."
        )
    _check_history(path, state["history"], job)
    return state


def _check_history(path: Path, history: list[Any], job: Job) -> None:
    """Raises: UserError: these are not the first epochs of the job, in their order, in plain numbers."""
    try:
        epochs = [entry["epoch"] for entry in HISTORY.validate_python(history, strict=True)]
    except (ValidationError, KeyError):
        epochs = []
    if not epochs or epochs != list(range(1, len(epochs) + 1)) or len(epochs) > job.recipe.epochs:
        raise UserError(f"{path} does not hold the first epochs of this training; remove it to begin again.")


def save_weights(folder: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Replaces the weights, then config.json.

    Raises:
        UserError: no room, or no permission.
    """
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    packed = save(plain, MADE_BY)
    write_file(folder / WEIGHTS, packed)
    config = {**config, DIGEST: hashlib.sha256(packed).hexdigest()}
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
    if not path.exists():
        raise UserError(f"{folder} holds no training run: there is no {CONFIG} in it.")
    config = read_json(path, "the configuration")
    if not isinstance(config, dict) or not isinstance(config.get("job"), dict):
        raise UserError(f"{path} is not the configuration of a training run: it has no job.")
    for name in OF_TEST:
        if type(config.get(name, 0)) not in (int, float):
            raise UserError(f"{path}: {name} must be a number.")
    return config


def read_ended(folder: Path) -> dict[str, Any] | None:
    """What config.json says of a run that has ended; None where there is none, or it has not.

    Raises:
        UserError: see ``read_config``; or it says how the run ended, and not all of it.
    """
    if not (folder / CONFIG).exists():
        return None
    config = read_config(folder)
    ended = ENDED.get(config["job"].get("task", "classify"), ("images",))
    if ended[0] not in config:
        return None
    try:
        tested = config["data"]["splits"]["test"]
        whole = config.keys() >= {*ended} and isinstance(tested, dict)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{folder / CONFIG} does not say all of how the training ended; choose another folder.")
    config.pop(DIGEST, None)
    return config


def read_job(folder: Path) -> Job:
    """What was trained into the folder. Nothing that it names is looked for.

    Raises:
        UserError: see ``read_config``; or it names a field that this version does not know, or a value that cannot be.
    """
    return _parse_job(folder / CONFIG, read_config(folder)["job"])


def _parse_job(path: Path, asked: dict[str, Any]) -> Job:
    for name in asked:
        if name not in FIELDS:
            raise UserError(f"{path} is not of this version of xbench: {unknown_name('field of job', name, FIELDS)}")
    try:
        job = JOB.validate_json(to_json(asked), strict=True)
        _check_job(job)
    except ValidationError as error:
        raise UserError(f"{path} is not of this version of xbench: {explain(error, 'job')}.") from error
    except (ValueError, UserError) as error:
        raise UserError(f"{path}: {error}") from error
    return job


JOB = TypeAdapter(Job)
HISTORY = TypeAdapter(list[dict[str, int | FiniteFloat | None]])
FIELDS = [field.name for field in fields(Job)]


def _check_job(job: Job) -> None:
    """Raises: UserError: a value of the job cannot be."""
    if bool(job.attn) == bool(job.baseline):
        raise UserError("job names no model, or two: attn or baseline.")
    parse_img_size(job.img_size)
    one_of("task", job.task, TASKS)
    check_task(job.data, job.task)
    find_size(job.size)
    whole("patch size", job.patch_size, 1, MAX_IMG_SIZE)
    whole("seed", job.seed, 0, 2**63 - 1)


def check_weights(folder: Path) -> None:
    """Whether the weights are whole, and those that config.json was written for, as far as it says so.

    Raises:
        UserError: they are not.
    """
    path, known = folder / WEIGHTS, read_config(folder).get(DIGEST)
    try:
        with safe_open(path, framework="pt") as weights:
            weights.keys()
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot read the weights {path}: {error}.") from error
    if known is not None and known != _digest(path):
        raise UserError(f"{path} are not the weights that {CONFIG} was written for; train's command goes on from them.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights by name, on the CPU.

    Raises:
        UserError: they cannot be read.
    """
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot read the weights {folder / WEIGHTS}: {error}.") from error
