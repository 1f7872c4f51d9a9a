"""Training: epochs of steps by the recipe, a validation after each, and after the last one the test.

All random numbers of an epoch follow from the seed and the epoch's number. So a run that was killed goes on from its
last whole epoch and ends, on a CPU with as many threads, in the very bits of one that was not.
"""

import hashlib
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from xbench.data import Data
from xbench.errors import UserError
from xbench.tasks import SCORES, find_task
from xbench.training.answers import draw_answers
from xbench.training.checkpoint import (
    drop_resume,
    exclusive,
    load_resume,
    read_ended,
    save_resume,
    save_weights,
)
from xbench.training.distributed import join_batch_norms, layout_of, start
from xbench.training.evaluation import score
from xbench.training.job import Job, digest, outside_attention
from xbench.training.names import ANSWERS
from xbench.training.optimizer import make_optimizer, make_scheduler, scale_of, take_up, take_up_scale
from xbench.training.start import begin_from

LOOKS_SECONDS = 1.0  # between two looks at the loss, each of which waits for the device


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Step:
    """How far a training run is."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float


class Watcher(Protocol):
    """Sees what a training run does while it does it."""

    def inspected(self, split: str, seen: int, images: int) -> None: ...

    def stepped(self, step: Step) -> None: ...

    def finished_epoch(self, entry: dict[str, Any]) -> None: ...


class Unwatched:
    """A watcher that does nothing."""

    def inspected(self, split: str, seen: int, images: int) -> None:
        pass

    def stepped(self, step: Step) -> None:
        pass

    def finished_epoch(self, entry: dict[str, Any]) -> None:
        pass


def train(job: Job, folder: Path, watcher: Watcher | None = None) -> dict[str, Any]:
    """Trains, or goes on where an earlier attempt ended, and returns what config.json then holds.

    Its keys: "job"; the task's scores in the test, and "images" of it; "history", an entry per epoch; "parameters",
    "shared_weights" and "data_order", by which arms are held to be equal; "data", the facts of the data set.

    Raises:
        UserError: bad input, another job's folder, a folder that cannot be written.
        DivergedError: the loss is not finite; the last whole epoch is kept.
    """
    torch.set_num_threads(job.threads)
    fabric = start(job.device, job.recipe.dtype)
    if fabric.global_rank:
        return Training(job, folder, fabric, Unwatched()).run()
    with exclusive(folder):
        return Training(job, folder, fabric, watcher or Unwatched()).run()


class Training:
    """One training run in one process; several of them, started together, train one model."""

    def __init__(self, job: Job, folder: Path, fabric: Fabric, watcher: Watcher):
        recipe = job.recipe
        if recipe.batch % fabric.world_size:
            raise UserError(f"a batch of {recipe.batch} does not divide among {fabric.world_size} processes.")
        self._job = job
        self._recipe = recipe
        self._folder = folder
        self._fabric = fabric
        self._watcher = watcher
        self._task = find_task(job.task)
        self._writes = fabric.global_rank == 0
        self._state = load_resume(folder, job)  # refused before every image is looked at
        self._data: Data = job.open_data(
            fabric.global_rank, fabric.world_size, inspected=("train", "val", "test"), tell=watcher.inspected
        )
        if not self._data.steps:
            raise UserError(
                f"{self._data.name} has {self._data.train_size} training images: no batch of {recipe.batch}."
            )
        self._model = job.build(self._data.num_classes)
        shared = digest(outside_attention(self._model.state_dict())) if job.attn else ""
        if job.start and self._state is None and read_ended(folder) is None:
            begin_from(self._model, job, Path(job.start))
        self._model = self._model.to(fabric.device)
        self._layout = layout_of(self._model, job.device)
        self._model = self._model.to(memory_format=self._layout)
        self._facts = {
            "parameters": sum(weight.numel() for weight in self._model.parameters()),
            "shared_weights": shared,
            "data": self._data.facts(),
        }
        # Averaged before the model is wrapped, so that its names are the model's own.
        self._ema = ModelEmaV3(self._model, decay=recipe.ema, use_warmup=True) if recipe.ema else None
        if fabric.world_size > 1:
            self._model = join_batch_norms(self._model, job.device)
        optimizer = make_optimizer(self._model, recipe)
        self._scheduler = make_scheduler(optimizer, recipe, self._data.steps)
        self._wrapped, self._optimizer = fabric.setup(self._model, optimizer)
        self._history: list[dict[str, Any]] = []
        self._data_order = ""
        self._looked = 0.0

    def run(self) -> dict[str, Any]:
        """Trains what is left to train, and tests."""
        if (held := self._held()) is not None:
            return held
        with self._board() as board:
            for epoch in range(len(self._history), self._recipe.epochs):
                entry = self._epoch(epoch)
                self._history.append(entry)
                self._keep(board, entry)
                self._watcher.finished_epoch(entry)
        config = {**self._config(), **score(self._evaluated, self._data, "test", self._fabric, self._job)}
        if self._writes:
            draw_answers(self._evaluated, self._data, self._job, self._fabric, self._folder / ANSWERS)
            save_weights(self._folder, self._evaluated.state_dict(), config)
            drop_resume(self._folder)
        return config

    def _board(self) -> Any:
        """TensorBoard's log; of nothing in all processes but the first."""
        if not self._writes:
            return nullcontext()
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(self._folder / "tensorboard")

    def _held(self) -> dict[str, Any] | None:
        """What the folder holds of a run that has ended; takes up one that has not."""
        state, self._state = self._state, None
        if state is None:
            return read_ended(self._folder)
        try:
            self._model.load_state_dict(state["model"])
            take_up(self._optimizer.optimizer, state["optimizer"])
            take_up_scale(self._fabric, state)
            if self._ema is not None:
                self._ema.module.load_state_dict(state["ema"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"the state in {self._folder} does not fit this training; remove resume.pt to begin again. "
                f"({str(error).splitlines()[0] if str(error) else error!r})"
            ) from error
        self._history, self._data_order = state["history"], state["data_order"]
        return None

    def _keep(self, board: Any, entry: dict[str, Any]) -> None:
        if not self._writes:
            return
        if board is not None:
            for name, value in entry.items():
                if name != "epoch" and value is not None:
                    board.add_scalar(name, value, entry["epoch"])
        state = {"job": self._job.as_dict(), "model": self._model.state_dict(), "history": self._history}
        state |= {"optimizer": self._optimizer.state_dict(), "data_order": self._data_order, **scale_of(self._fabric)}
        if self._ema is not None:
            state["ema"] = self._ema.module.state_dict()
        save_weights(self._folder, self._evaluated.state_dict(), self._config())
        save_resume(self._folder, state)

    def _config(self) -> dict[str, Any]:
        return {
            "job": self._job.as_dict(),
            **self._facts,
            "data_order": self._data_order,
            "processes": self._fabric.world_size,
            "history": self._history,
        }

    @property
    def _evaluated(self) -> nn.Module:
        """The model whose weights are evaluated and kept: the average where the recipe has one."""
        return self._ema.module if self._ema is not None else self._model

    def _epoch(self, epoch: int) -> dict[str, Any]:
        self._seed(epoch)
        self._wrapped.train()
        began = time.monotonic()
        total = torch.zeros((), device=self._fabric.device)
        order = hashlib.sha256()
        for step, (images, targets) in enumerate(self._data.train(epoch)):
            if not epoch:
                order.update(targets.numpy().tobytes() + (b"" if step else images.numpy().tobytes()))
            total += self._step(epoch * self._data.steps + step, images, targets)
            if self._worth_a_look(step):
                self._look(epoch, step + 1, float(total) / (step + 1), time.monotonic() - began)
        loss = self._mean(total / self._data.steps)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} after epoch {epoch + 1}")
        if not epoch:
            self._data_order = order.hexdigest()[:16]
        seconds = time.monotonic() - began
        watched = SCORES[self._job.task][0]
        return {
            "epoch": epoch + 1,
            "loss": loss,
            "lr": self._optimizer.param_groups[0]["lr"],
            f"val_{watched}": score(self._evaluated, self._data, "val", self._fabric, self._job)[watched],
            "images_per_second": self._data.steps * self._recipe.batch / seconds,
            "seconds": seconds,
        }

    def _step(self, number: int, images: Tensor, targets: Tensor) -> Tensor:
        """One update; the learning rate follows from its number."""
        self._scheduler.step_update(number)
        outputs = self._wrapped(images.to(self._fabric.device, non_blocking=True, memory_format=self._layout))
        targets = targets.to(self._fabric.device, non_blocking=True)
        loss = self._task.loss(outputs, targets, self._job.img_size, self._recipe.label_smoothing)
        self._fabric.backward(loss)
        if self._recipe.clip_grad:
            # An overflow is told by the loss, and fp16 meets one on purpose.
            self._fabric.clip_gradients(
                self._wrapped, self._optimizer, max_norm=self._recipe.clip_grad, error_if_nonfinite=False
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(self._model, step=number)
        return loss.detach()

    def _worth_a_look(self, step: int) -> bool:
        now = time.monotonic()
        due = step == 0 or now - self._looked >= LOOKS_SECONDS
        if due:
            self._looked = now
        return due

    def _look(self, epoch: int, done: int, loss: float, seconds: float) -> None:
        # All processes see it, each by its own share, so that none waits for one that has stopped.
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} in epoch {epoch + 1}, step {done}")
        steps, epochs = self._data.steps, self._recipe.epochs
        left = seconds / done * (steps - done) + (epochs - epoch - 1) * seconds / done * steps
        speed = done * self._recipe.batch / seconds
        self._watcher.stepped(Step(epoch + 1, epochs, done, steps, loss, speed, left))

    def _mean(self, value: Tensor) -> float:
        mean = self._fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def _seed(self, epoch: int) -> None:
        """Of whatever the model draws in this epoch. The data have their own, see ``xbench.data``."""
        rank = self._fabric.global_rank
        torch.manual_seed(int(np.random.SeedSequence([self._job.seed, epoch, rank]).generate_state(1)[0]))
