"""What a user asks to train, checked and made a Job."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xbench.attention.spec import parse_attention
from xbench.data.names import DEFAULTS, STOP, UNREADABLE, check_task, parse_data
from xbench.errors import UserError
from xbench.models.baselines import check_baseline
from xbench.models.sizes import check_input, find_size
from xbench.parsing.axes import (
    DEVICES,
    MAX_IMG_SIZE,
    TASKS,
    one_of,
    parse_img_size,
    thread_count,
    whole,
)
from xbench.training.job import Job
from xbench.training.recipe import Recipe, recipe_for
from xbench.training.starts import start_of


def make_job(
    attn: str | None,
    model: str | None,
    data: str | None,
    res: str,
    patch: int,
    size: str,
    epochs: int | None,
    recipe: Sequence[str],
    seed: int,
    device: str,
    threads: int | None,
    workers: int,
    unreadable: str = STOP,
    task: str = "classify",
    start: str | None = None,
) -> Job:
    """Checks what the user asked to train and makes the Job.

    Raises:
        UserError: as ``make_study``; or not exactly one model.
    """
    if bool(attn) == bool(model):
        raise UserError("name one model to train: --attn or --model.")
    one_of("device", device, DEVICES)
    one_of("task", task, TASKS)
    find_size(size)
    data = DEFAULTS[task] if data is None else data
    check_task(data, task)
    one_of("unreadable", unreadable, UNREADABLE)
    if model:
        check_baseline(model)
    check_cuda(device)
    job = Job(
        data=str(parse_data(data)),
        img_size=parse_img_size(res),
        recipe=recipe_of(data, epochs, recipe, device, task),
        attn=str(parse_attention(attn)) if attn else None,
        baseline=model,
        size=size,
        patch_size=whole("patch size", patch, 1, MAX_IMG_SIZE),
        seed=whole("seed", seed, 0, 2**31 - 1),
        device=device,
        threads=thread_count(threads),
        workers=whole("workers", workers, 0, 256),
        unreadable=unreadable,
        task=task,
    )
    if start:
        begin = start_of(Path(start), job.attn, job.baseline, job.size, job.seed)
        job = replace(job, start=str(begin))
    if attn:
        check_input(job.img_size, job.patch_size)
    return job


def recipe_of(data: str, epochs: int | None, settings: Sequence[str], device: str, task: str) -> Recipe:
    """That of the data, as the user changed it.

    Raises:
        UserError: a setting that a recipe has not, or a value that it cannot have on that device or for that task.
    """
    usual = recipe_for(data)
    recipe = usual.changed(settings)
    if task != "classify":
        recipe.augmentation.check_followed()
    if (recipe.dtype, device) == ("fp16", "cpu"):
        raise UserError("dtype=fp16 of the recipe needs --device cuda; on the CPU: dtype=fp32, dtype=bf16.")
    if recipe.optimizer != usual.optimizer:
        from timm.optim import list_optimizers  # takes seconds

        one_of("optimizer", recipe.optimizer, [str(name) for name in list_optimizers()])
    return recipe if epochs is None else recipe.changed([f"epochs={epochs}"])


def cuda_is_here() -> bool:
    """Whether torch can use a GPU."""
    import torch

    return torch.cuda.is_available()


def check_cuda(device: str) -> None:
    """Refuses a GPU where there is none.

    Raises:
        UserError: torch finds no CUDA device.
    """
    if device == "cuda" and not cuda_is_here():
        raise UserError("no CUDA device is available to torch here. Allowed: --device cpu.")
