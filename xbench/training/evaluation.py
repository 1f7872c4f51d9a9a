"""Top-1 accuracy of a model on images that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from xbench.data import Data
from xbench.errors import UserError
from xbench.statistics.proportions import wilson
from xbench.training.checkpoint import read_job, read_weights
from xbench.training.distributed import start
from xbench.training.job import Job

CALIBRATION = 4  # batches of validation, for a model that is deployed


@dataclass(frozen=True)
class Accuracy:
    """So many of so many images were classified as they should."""

    correct: int
    images: int

    @property
    def top1(self) -> float:
        """Percent."""
        return 100 * self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, percent: what other images of the same kind would give, for these very weights."""
        low, high = wilson(self.correct, self.images)
        return 100 * low, 100 * high


@torch.inference_mode()
def accuracy(model: nn.Module, data: Data, split: str, fabric: Fabric) -> Accuracy:
    """Of ``model``, [B, 3, H, W] → [B, classes], on a split of the data: "val" or "test". All processes share the work.

    Raises:
        UserError: the split has no images.
    """
    was_training = model.training
    model.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=fabric.device)
    with fabric.autocast():
        for images, targets in data.evaluate(split):
            scores = model(images.to(fabric.device))
            counts[0] += (scores.argmax(dim=1) == targets.to(fabric.device)).sum()
            counts[1] += len(targets)
    model.train(was_training)
    correct, images_seen = (int(count) for count in fabric.all_reduce(counts, reduce_op="sum"))
    if not images_seen:
        raise UserError(f"the {split} images of {data.name} are none.")
    return Accuracy(correct, images_seen)


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
    deploy: Callable[[nn.Module, list[Tensor]], nn.Module] | None = None,
) -> tuple[Job, Accuracy, dict[str, Any]]:
    """Top-1 of weights that ``train`` left in ``folder``; on other data, resolution or patch size where given.

    Images that cannot be read are dealt with as in training, unless ``unreadable`` says otherwise. The last part of
    what is returned are the facts of the split. ``deploy`` makes of the model, and of some batches of validation, what
    is tested in its place.

    Raises:
        UserError: the folder holds no training run; weights that do not fit the model; other data with another number
            of classes; an image size or a patch size that the model cannot take.
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
    found = accuracy(model, opened, split, fabric)
    return job, found, opened.facts()["splits"][split]
