"""What a case runs: the model, its XF block or its attention alone, on which input, and what one step of it is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xbench.attention.spec import parse_attention
from xbench.data.photos import load_photos
from xbench.errors import UserError
from xbench.metrics.training_step import TrainingStep
from xbench.models import build_model, check_input
from xbench.models.alone import Alone, Layers, first_block
from xbench.models.layers import XFLayer
from xbench.models.sizes import find_size
from xbench.parsing.axes import ENGINES, OF_TOKENS, grid_of
from xbench.study.case import Case
from xbench.tasks import CLASSES, find_task
from xbench.tasks.building import build_for
from xbench.worker.engines import Engine, check_engine
from xbench.worker.modes import in_mode

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class InvalidOutputError(RuntimeError):
    """A model or an attention returned something of the wrong shape, or not finite."""


def build(case: Case) -> nn.Module:
    """The module that a case measures, on the current default device, with random weights.

    Shapes: model [B, 3, H, W] → what its task gives, of as many classes as ``CLASSES`` says; block [B, C, H/8, W/8] →
    the same; layer and op [B, N, C] → the same.

    Raises:
        UserError: the case makes no sense: see ``build_model``; a whole timm model has no block or attention of ours.
    """
    if case.arm.baseline and case.level != "model":
        raise UserError(f"a whole timm model cannot be measured at level '{case.level}'.")
    if case.level == "model":
        return build_for(
            case.task,
            parse_attention(case.arm.attn) if case.arm.attn else None,
            case.arm.baseline,
            img_size=case.img_size or (0, 0),
            num_classes=CLASSES[case.task],
            size=case.size,
            patch_size=case.patch_size,
        )
    assert case.arm.attn is not None
    block = first_block(build_model(parse_attention(case.arm.attn), size=case.size, patch_size=case.patch_size))
    if case.level == "block":
        return block
    if case.level == "layer":
        return Layers(block, grid_of(case.tokens or 1))
    layer = block.layers[0]
    assert isinstance(layer, XFLayer)
    return Alone(layer.attn, grid_of(case.tokens or 1))


def input_shape(case: Case, batch: int) -> tuple[int, ...]:
    """Of the input that ``build``'s module takes."""
    stage = next(stage for stage in find_size(case.size).stages if stage.depth)
    if case.level in OF_TOKENS:
        return batch, case.tokens or 1, stage.embed_dim
    height, width = case.img_size or (0, 0)
    if case.level == "block":
        return batch, stage.channels, -(-height // 8), -(-width // 8)
    return batch, 3, height, width


def check_possible(case: Case) -> None:
    """Refuses what is known to be impossible without building anything.

    Raises:
        UserError: an image too small for the skeleton or its patches; half-precision training on the CPU; what an
            engine is not run for.
    """
    if case.arm.mode in ENGINES:
        check_engine(case)
    if case.arm.attn and case.img_size:
        check_input(case.img_size, case.patch_size, 8 if case.level == "block" else 32)
    if (case.direction, case.dtype, case.device) == ("training", "fp16", "cpu"):
        raise UserError("training in fp16 needs CUDA; allowed on the CPU: fp32, bf16.")


def weights_dtype(case: Case) -> torch.dtype:
    """Of weights and inputs: in training fp32, whatever autocast computes in."""
    return torch.float32 if case.direction == "training" else DTYPES[case.dtype]


def training_step(
    case: Case, model: nn.Module, inputs: Tensor, forward: Callable[[Tensor], Tensor] | None = None
) -> TrainingStep:
    """A step of ``model`` on ``inputs``; ``forward`` is the model as it runs, where that is compiled."""
    loss = None
    if case.level == "model":
        task, size = find_task(case.task), case.img_size or (0, 0)
        with torch.device("cpu"):
            targets = task.example_targets(len(inputs), size, CLASSES[case.task])
        targets = targets.to(inputs.device)
        loss = partial(task.loss, targets=targets, img_size=size, smoothing=0.0)
    return TrainingStep(model, inputs, loss, DTYPES[case.dtype], forward=forward)


class Subject:
    """One case, built on its device and ready to run. Weights and inputs are the same in every process.

    ``batch`` is the case's own where none is given; ``exports`` is a folder that an engine needs. In training, weights
    stay fp32 and the dtype is autocast's; in inference, weights and inputs have the dtype.
    """

    def __init__(self, case: Case, photos: list[Path], batch: int | None = None, exports: Path | None = None):
        check_possible(case)
        self.case = case
        self.batch = batch or case.batch
        torch.set_num_threads(case.threads)
        torch.manual_seed(0)
        self.device = torch.device(case.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise UserError("no CUDA device is available to torch here; use --device cpu.")
        self.training = case.direction == "training"
        dtype = weights_dtype(case)
        self.inputs = self._inputs(photos).to(self.device, dtype)
        self.model: nn.Module
        self.run: Callable[[Tensor], Tensor]
        if case.arm.mode in ENGINES:
            assert exports is not None
            self.model, self.run = nn.Identity(), Engine(case, photos, exports)
        else:
            self.model = build(case).train(self.training).requires_grad_(self.training).to(self.device, dtype)
            self.model, self.inputs, self.run = in_mode(case.arm.mode, self.model, self.inputs)
        self.training_step: TrainingStep | None = None
        if self.training:
            self.training_step = training_step(case, self.model, self.inputs, self.run)

    def _inputs(self, photos: list[Path]) -> Tensor:
        """Photographs where the case sees them, else numbers of unit variance."""
        if self.case.sees_photos:
            return load_photos(photos, self.batch, self.case.img_size or (0, 0))
        return torch.randn(input_shape(self.case, self.batch), generator=torch.Generator().manual_seed(0))

    def forward(self, batch: int | None = None) -> Tensor:
        """The output for the first ``batch`` inputs; for all where none is given."""
        with torch.inference_mode():
            return self.run(self.inputs[:batch])

    def step(self, batch: int | None = None) -> Callable[[], Any]:
        """What is measured: a forward pass, or a training step of the whole batch."""
        return self.training_step.step if self.training_step else lambda: self.forward(batch)

    def check(self, output: Tensor) -> None:
        """Refuses what a step returned, an output or a loss, where it has the wrong shape or is not finite."""
        whole = tuple(self.inputs.shape)
        if self.case.level == "model":
            size, classes = self.case.img_size or (0, 0), CLASSES[self.case.task]
            whole = find_task(self.case.task).output_shape(self.batch, size, classes)
        expected = () if self.training else whole
        if tuple(output.shape) != expected:
            raise InvalidOutputError(f"the output has shape {tuple(output.shape)}, not {expected}")
        finite = output.isfinite()
        if not finite.all():
            what = "NaN" if output.isnan().any() else "infinite values"
            raise InvalidOutputError(f"the output has {what} in {int((~finite).sum())} of {output.numel()} places")


def watch_attention_shapes(model: nn.Module) -> None:
    """Makes an attention that does not return [B, N, C] fail by name, not as an addition somewhere else."""

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given, returned = tuple(args[0].shape), tuple(getattr(output, "shape", ()))
        if given != returned:
            raise InvalidOutputError(f"attention {type(module).__name__} returned {returned} for {given}, [B, N, C]")

    for layer in model.modules():
        if isinstance(layer, XFLayer):
            layer.attn.register_forward_hook(watch)
