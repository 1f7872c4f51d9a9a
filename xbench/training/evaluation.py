"""Scores of a model on images that it was not trained on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from xbench.data import Data
from xbench.errors import UserError
from xbench.parsing.axes import show_img_size
from xbench.tasks import find_task
from xbench.tasks.segmentation import ByWindows
from xbench.training.checkpoint import read_job, read_weights
from xbench.training.distributed import start
from xbench.training.job import Job

CALIBRATION = 4  # batches of validation, for a model that is deployed


@torch.inference_mode()
def score(model: nn.Module, data: Data, split: str, fabric: Fabric, job: Job) -> dict[str, float]:
    """What the task's ``Scorer`` says of ``model`` on a split of the data, "val" or "test". Processes share it.

    Raises:
        UserError: the split has no images.
    """
    was_training = model.training
    model.eval()
    scorer = find_task(job.task).scorer(data.num_classes, job.img_size, fabric.device)
    with fabric.autocast():
        for images, targets in data.evaluate(split):
            scorer.update(model(images.to(fabric.device)), targets.to(fabric.device))
    model.train(was_training)
    found = scorer.compute()
    if not found["images"]:
        raise UserError(f"the {split} images of {data.name} are none.")
    return found


def evaluate(
    folder: Path,
    *,
    split: str = "test",
    data: str | None = None,
    img_size: tuple[int, int] | None = None,
    patch_size: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    unreadable: str | None = None,
    window: tuple[int, int] | None = None,
    deploy: Callable[[nn.Module, list[Tensor]], nn.Module] | None = None,
) -> tuple[Job, dict[str, float], dict[str, Any]]:
    """The scores of weights that ``train`` left in ``folder``; on other data, resolution or patch size where given.

    Images that cannot be read are dealt with as in training, unless ``unreadable`` says otherwise. The last part of
    what is returned are the facts of the split. A segmenter may see large images by windows of (height, width), each
    overlapping the next by a half. ``deploy`` makes of the model, and of some batches of validation, what is tested in
    its place.

    Raises:
        UserError: the folder holds no training run; a window for another task, or larger than the images; weights that
            do not fit the model; other data with another number of classes; an image size or a patch size that the
            model cannot take.
    """
    trained = read_job(folder)
    job = replace(
        trained,
        data=data or trained.data,
        img_size=img_size or trained.img_size,
        patch_size=patch_size or trained.patch_size,
        device=device,
        threads=threads,
        unreadable=unreadable or trained.unreadable,
    )
    if window is not None:
        check_window(job, window)
    torch.set_num_threads(threads)
    # A CPU computes what was trained in fp16 in the precision that its weights have.
    fabric = start(device, "fp32" if (device, job.recipe.dtype) == ("cpu", "fp16") else job.recipe.dtype)
    opened = job.open_data(fabric.global_rank, fabric.world_size, inspected=(split, *(["val"] if deploy else [])))
    model = job.build(opened.num_classes)
    try:
        model.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise UserError(f"the weights in {folder} do not fit {job.name} on {job.data}: {lines[-1].strip()}") from error
    model = model.eval().requires_grad_(False).to(fabric.device)
    if deploy is not None:
        model = deploy(model, [images for images, _ in islice(opened.evaluate("val"), CALIBRATION)])
    if window is not None:
        model = ByWindows(model, window)
    found = score(model, opened, split, fabric, job)
    return job, found, opened.facts()["splits"][split]


def check_window(job: Job, window: tuple[int, int]) -> None:
    """Refuses windows that images cannot be seen by.

    Raises:
        UserError: they are for another task, or larger than the images.
    """
    if job.task != "segment":
        raise UserError(f"windows are for segmentation; {job.name} was trained to {job.task}.")
    if any(own > whole for own, whole in zip(window, job.img_size, strict=True)):
        raise UserError(
            f"windows of {show_img_size(window)} pixels are larger than images of {show_img_size(job.img_size)}."
        )
