"""Verbs about single models: train, evaluate."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from xbench.cli.app import app
from xbench.cli.arguments import ManyValues
from xbench.cli.options import (
    ACCURACY,
    OUTPUT,
    Data,
    Device,
    Epochs,
    Json,
    Recipe,
    Task,
    ThreadCount,
    Unreadable,
    Workers,
    option,
    spread,
)
from xbench.cli.streams import output, progress, put
from xbench.cli.trust import Trust, allow
from xbench.errors import UserError
from xbench.files.writing import check_target, write_file
from xbench.parsing.axes import ENGINES
from xbench.signals import InterruptedRunError
from xbench.tasks import SCORES
from xbench.wording.scores import SHORT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xbench.training.loop import Step

CARD = "README.md"  # where the hub looks for it
TRAINED, EVALUATED = "What is trained", "What is evaluated"


@app.command(
    cls=ManyValues, epilog="Exit code: 0 trained · 1 the loss is not finite · 2 bad input · 128 + n ended by signal n."
)
@spread
def train(
    attn: Annotated[
        str | None,
        option(
            TRAINED, "Attention in the XFormer skeleton, as in compare --attn. Required: this or --model.", takes="NAME"
        ),
    ] = None,
    model: Annotated[str | None, option(TRAINED, "A whole timm model instead: mobilevit_s, …", takes="NAME")] = None,
    task: Task = "classify",
    res: Annotated[
        str, option(TRAINED, "Image size in pixels: 64, or 64x128 for height x width.", takes="PIXELS")
    ] = "64",
    patch: Annotated[int, option(TRAINED, "Patch size of the XF blocks.", takes="SIDE")] = 2,
    size: Annotated[str, option(TRAINED, "XFormer's size: s, xs or xxs.", takes="SIZE")] = "s",
    data: Data = None,
    start: Annotated[
        Path | None,
        option(
            ACCURACY,
            "Where train left weights of the same model to begin from, such as a classifier's.",
            takes="FOLDER",
        ),
    ] = None,
    epochs: Epochs = None,
    recipe: Recipe = None,
    seed: Annotated[int, option(ACCURACY, "Decides weights and pixels.", takes="N")] = 0,
    workers: Workers = 0,
    unreadable: Unreadable = "stop",
    device: Device = "cpu",
    threads: ThreadCount = None,
    out: Annotated[
        Path | None,
        option(OUTPUT, "Folder; a run killed there goes on. Default: new, in results/runs.", takes="FOLDER"),
    ] = None,
) -> None:
    """Trains one model by the recipe that compare uses, and tests it. On several processes or machines by torchrun.

    Weights, configuration, a model card and TensorBoard's log lie in the folder. Examples:

        xbench train --attn xfa --data digits --res 64 --out my-xfa

        xbench train --task detect --attn xfa --data coco:/data/coco --res 320 --start my-xfa --out my-detector

        torchrun --nproc-per-node 8 -m xbench train --attn xfa --data folder:/data/imagenet --res 256
            --device cuda --recipe dtype=bf16 --workers 8 --out my-imagenet
    """
    from xbench.training.request import make_job

    begin = str(start) if start else None
    job = make_job(
        attn,
        model,
        data,
        res,
        patch,
        size,
        epochs,
        recipe or [],
        seed,
        device,
        threads,
        workers,
        unreadable,
        task,
        begin,
    )
    from xbench.processes.child import keep_heap
    from xbench.training.loop import DivergedError
    from xbench.training.loop import train as train_job

    keep_heap()
    folder = out or Path("results", "runs", f"{time.strftime('%Y%m%d-%H%M%S')}-train")
    first = os.environ.get("RANK", "0") == "0"
    if first and (folder / CARD).exists():
        check_target(folder / CARD)
    with _Bar() if first else nullcontext() as bar:
        try:
            found = train_job(job, folder, bar)
        except KeyboardInterrupt:
            again = "The same command" if out else f"The same command with --out {folder}"
            raise InterruptedRunError(f"Interrupted. {again} goes on from the last whole epoch.") from None
        except DivergedError as error:
            progress().print(f"Training ended: {error}. The last whole epoch is kept in {folder}.")
            raise typer.Exit(1) from None
    if not first:
        return
    from xbench.exchange.model_card import model_card
    from xbench.training.checkpoint import read_config

    write_file(folder / CARD, model_card(read_config(folder), folder))
    left_out = _left_out(found["data"]["splits"]["test"])
    output().print(
        f"{job.name}: {_scores(job.task, found)} of {found['images']:,} test images of {job.data}{left_out}, "
        f"after {job.recipe.epochs} epochs. Weights: {folder}",
        soft_wrap=True,
        highlight=False,
    )


@app.command(epilog="Exit code: 0 evaluated · 2 bad input.")
@spread
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Where train left its weights.")],
    data: Annotated[str | None, option(EVALUATED, "Other data than it was trained on.", takes="DATA")] = None,
    res: Annotated[
        str | None, option(EVALUATED, "Another image size in pixels: 512, or 512x1024.", takes="PIXELS")
    ] = None,
    patch: Annotated[int | None, option(EVALUATED, "Another patch size.", takes="SIDE")] = None,
    split: Annotated[str, option(EVALUATED, "val or test.", takes="SPLIT")] = "test",
    unreadable: Annotated[
        str | None,
        option(
            EVALUATED,
            "Images that cannot be read: stop or skip, as in train. Default: as it was trained.",
            takes="WHAT",
        ),
    ] = None,
    mode: Annotated[
        str,
        option(EVALUATED, f"How it runs: eager, or exported, in fp32 or int8: {', '.join(ENGINES)}.", takes="MODE"),
    ] = "eager",
    window: Annotated[
        str | None,
        option(
            EVALUATED,
            "Segment large images by overlapping windows of so many pixels: 512, or 512x1024. Default: at once.",
            takes="PIXELS",
        ),
    ] = None,
    device: Device = "cpu",
    threads: ThreadCount = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Scores of trained weights; on request at another resolution, patch size, in another engine or on other data.

    For example:

        xbench evaluate my-xfa --res 128

        xbench evaluate my-xfa --mode onnxruntime_int8
    """
    import json

    from xbench.data.names import UNREADABLE, parse_data
    from xbench.parsing.axes import DEVICES, one_of, parse_img_size, thread_count, whole
    from xbench.training.request import check_cuda

    one_of("split", split, ("val", "test"))
    one_of("mode", mode, ("eager", *ENGINES))
    one_of("device", device, DEVICES)
    if unreadable is not None:
        one_of("unreadable", unreadable, UNREADABLE)
    check_cuda(device)
    if data is not None:
        parse_data(data)
    img_size = parse_img_size(res) if res is not None else None
    patch_size = whole("patch size", patch, 1, 4096) if patch is not None else None
    count = thread_count(threads)
    from xbench.training.checkpoint import CONFIG, check_weights, read_job
    from xbench.training.evaluation import evaluate as evaluate_folder

    trained = read_job(folder)
    check_weights(folder)
    allow([trained.attn] if trained.attn else [], folder / CONFIG, trust)
    with _engine(mode, device, count) as deploy:
        job, found, facts = evaluate_folder(
            folder,
            split=split,
            data=data,
            img_size=img_size,
            patch_size=patch_size,
            device=device,
            threads=count,
            unreadable=unreadable,
            window=parse_img_size(window) if window is not None else None,
            deploy=deploy,
        )
    if as_json:
        put(json.dumps({**found, "split": split, "facts": facts, "job": job.as_dict()}))
        return
    height, width = job.img_size
    output().print(
        f"{job.name} at {height}×{width} px, patch {job.patch_size}: {_scores(job.task, found)} of {found['images']:,} "
        f"{split} images of {job.data}{_left_out(facts)}.",
        soft_wrap=True,
        highlight=False,
    )


def _scores(task: str, found: dict[str, Any]) -> str:
    """ "top-1 93.2 % (92.1–94.1)", or the scores of the task, of which no interval is known."""
    said = ", ".join(f"{SHORT[name]} {found[name]:.2f} %" for name in SCORES[task])
    return f"{said} ({found['low']:.2f}–{found['high']:.2f})" if "low" in found else said


def _left_out(facts: dict[str, Any]) -> str:
    """How many images of a split were left out, of how many, and which they were; nothing where all could be read."""
    if "unreadable" not in facts:
        return ""
    unread = facts["unreadable"]
    more = ", …" if unread["left_out"] > len(unread["first"]) else ""
    return f" ({unread['left_out']:,} of {unread['of']:,} could not be read: {', '.join(unread['first'])}{more})"


class _Bar:
    """Shows a training run on standard error: a bar on a terminal, a line per epoch everywhere."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=progress(), transient=True)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def inspected(self, split: str, seen: int, images: int) -> None:
        text = f"looking at every {split} image"
        self._progress.update(self._task, description=text, completed=seen, total=images)

    def stepped(self, step: "Step") -> None:
        done = (step.epoch - 1) * step.steps + step.step
        text = f"epoch {step.epoch} of {step.epochs} · loss {step.loss:.3f} · {step.images_per_second:,.0f} img/s"
        self._progress.update(self._task, description=text, completed=done, total=step.epochs * step.steps)

    def finished_epoch(self, entry: dict[str, Any]) -> None:
        self._progress.console.print(
            f"epoch {entry['epoch']}: loss {entry['loss']:.3f} · {_validated(entry)} · "
            f"{entry['images_per_second']:,.0f} img/s",
            highlight=False,
        )


def _validated(entry: dict[str, Any]) -> str:
    scores = {f"val_{name}": short for name, short in SHORT.items()}
    return ", ".join(f"validation {scores[key]} {value:.2f} %" for key, value in entry.items() if key in scores)


@contextmanager
def _engine(mode: str, device: str, threads: int) -> "Iterator[Callable[[nn.Module, list[Tensor]], nn.Module] | None]":
    """What puts a trained model into the engine of ``mode``; None for eager.

    Raises:
        UserError: the engine is not installed, or not for this device.
    """
    if mode == "eager":
        yield None
        return
    from xbench.engines.exports import Deployed
    from xbench.engines.sessions import check_installed
    from xbench.files.temporary import scratch

    check_installed(mode)
    if device != "cpu":
        raise UserError(f"mode '{mode}' is for the CPU, not for {device}.")
    with scratch() as folder:

        def deploy(model: "nn.Module", batches: "list[Tensor]") -> "nn.Module":
            alike = [images for images in batches if images.shape == batches[0].shape]
            made = Deployed(mode, model, alike, threads, folder)
            progress().print(f"{mode}: outputs are {made.off:.0e} of the largest off torch's.", highlight=False)
            return made

        yield deploy
