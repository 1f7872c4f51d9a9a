"""The optimizer and the schedule of a recipe, and the state that an optimizer goes on from."""

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn

from xbench.parsing.axes import one_of
from xbench.training.recipe import Recipe

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
# The optimizers of which torch has a fused kernel, and what each keeps of a weight.
FUSED = {"adam": MOMENTS, "adamw": MOMENTS, "sgd": {"momentum_buffer"}}


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """timm's, with torch's fused kernel where it has one.

    In fp16 that kernel would itself divide by the scale of the loss, and gradients could not be clipped before.

    Raises:
        UserError: there is no such optimizer.
    """
    one_of("optimizer", recipe.optimizer, [str(name) for name in list_optimizers()])
    fused: dict[str, Any] = {"fused": True} if recipe.optimizer in FUSED and recipe.dtype != "fp16" else {}
    return create_optimizer_v2(model, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, **fused)


def make_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    """timm's, in steps: a linear warm-up within the epochs, then what ``recipe.schedule`` says."""
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=recipe.schedule,
        num_epochs=recipe.epochs,
        warmup_epochs=recipe.warmup * recipe.epochs,  # type: ignore[arg-type]
        warmup_lr=recipe.lr * recipe.warmup_lr,
        min_lr=recipe.lr * recipe.min_lr,
        step_on_epochs=False,
        updates_per_epoch=steps,
    )
    return scheduler


def take_up(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads what a file holds of this optimizer, unless it is of another one.

    A fused kernel writes as many numbers as the weight has, however long what it writes to is: a file must not decide
    that.

    Raises:
        ValueError: it has other settings, or keeps something else of a weight; torch's own errors besides.
    """
    own = _settings(optimizer)
    optimizer.load_state_dict(state)
    if _settings(optimizer) != own:
        raise ValueError("its optimizer has other settings")
    if not optimizer.defaults.get("fused"):
        return
    for weight, kept in optimizer.state.items():
        if set(kept) != FUSED[type(optimizer).__name__.lower()]:
            raise ValueError("its optimizer keeps something else")
        for name, value in kept.items():
            if not _is_like(value, weight.new_zeros(()) if name == "step" else weight):
                raise ValueError(f"{name} of its optimizer has another shape than its weight")


def scale_of(fabric: Fabric) -> dict[str, Any]:
    """What fp16 multiplies the loss by and how that changes, as a part of a run's state; nothing for other dtypes."""
    scale = fabric.strategy.precision.state_dict()
    return {"scale": scale} if scale else {}


def take_up_scale(fabric: Fabric, state: dict[str, Any]) -> None:
    """Goes on with the scale that ``scale_of`` wrote.

    Raises:
        ValueError, KeyError: the state holds none, or one that is none.
    """
    own = scale_of(fabric)
    if not own:
        return
    scale = state["scale"]
    if scale.keys() != own["scale"].keys() or not all(
        type(value) in (int, float) and 0 <= value < math.inf for value in scale.values()
    ):
        raise ValueError("its scale of the loss is none")
    fabric.strategy.precision.load_state_dict(scale)


def _settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Of each group of weights what it was given, or the kind of it where training changes it.

    That is the learning rate, and where there is no fused kernel more of what an optimizer keeps in its groups.
    """
    fixed = optimizer.defaults.keys() - {"lr"} if optimizer.defaults.get("fused") else set()
    return [
        {name: group[name] if name in fixed else type(group[name]) for name in optimizer.defaults if name in group}
        for group in optimizer.param_groups
    ]


def _is_like(value: Any, weight: Tensor) -> bool:
    """Whether each of the weight's numbers has a place of its own, where a kernel looks for it."""
    if not isinstance(value, Tensor):
        return False
    return (value.shape, value.stride(), value.dtype) == (weight.shape, weight.stride(), weight.dtype)
