"""How much an attention recalls: the transformer layers of a block are trained on ``data.recall`` until they are done.

Short runs lie here: an attention that will recall everything may still stand at guessing after hundreds of steps. So
the learning rate is chosen for each model, from the same few; training goes on until validation no longer rises; and
one that was stopped by its cap while it rose says so.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.data.recall import KEY_DIM, VALUES, Grids, draw, generator
from xbench.errors import UserError, unknown_name
from xbench.models import build_model
from xbench.models.alone import Layers, first_block
from xbench.parsing.axes import grid_of
from xbench.training.job import PLACE_HOLDER, digest, outside_attention

HELD = 90.0  # % of right answers from which a number of pairs counts as recalled
RISE = 0.5  # points by which validation has to rise to count as rising
COMPLETE = 99.8  # % from which there is nothing left to learn


@dataclass(frozen=True)
class RecallRecipe:
    """How the layers are trained.

    Attributes:
        batch: grids per step; their number of pairs changes from step to step.
        rates: learning rates that are tried, each for ``trial`` steps; the best by validation goes on.
        trial: steps of a trial; the learning rate rises in the first fifth of them.
        steps: the most that are made with the chosen rate.
        patience: steps without a rise of validation after which training is done.
        settle: steps at the end in which the learning rate falls to zero.
        weight_decay, clip_grad: as in ``Recipe``.
    """

    batch: int = 64
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    trial: int = 300
    steps: int = 4000
    patience: int = 1000
    settle: int = 300
    weight_decay: float = 0.01
    clip_grad: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch", 1, 65536),
            ("trial", 1, 10**7),
            ("steps", 1, 10**8),
            ("patience", 1, 10**8),
            ("settle", 1, 10**7),
            ("weight_decay", 0, 10),
            ("clip_grad", 0, 1e9),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} of the recipe must lie between {low:g} and {high:g}.")
        if not self.rates or not all(0 < rate <= 10 for rate in self.rates):
            raise UserError("rates of the recipe are learning rates above 0 and at most 10, such as rates=0.001,0.004.")

    def changed(self, settings: Sequence[str] = ()) -> "RecallRecipe":
        """The recipe with some settings replaced, each written as "name=value"; ``rates`` as "rates=0.001,0.004".

        Raises:
            UserError: not of that form, an unknown name, or a value that cannot be.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                raise UserError(f"a setting of the recipe is written name=value, not '{setting}'.")
            if name not in {field.name for field in fields(self)}:
                raise unknown_name("setting of the recipe", name, [field.name for field in fields(self)])
            kind = type(getattr(self, name))
            try:
                changes[name] = tuple(map(float, text.split(","))) if kind is tuple else kind(text)
            except ValueError:
                raise UserError(f"{name} of the recipe is a {kind.__name__}, not '{text[:40]}'.") from None
        return replace(self, **changes)


@dataclass(frozen=True)
class RecallJob:
    """One training: ``attn`` in layers of XFormer's ``size``, on grids of ``tokens`` with each of the ``pairs``."""

    attn: str
    size: str
    tokens: int
    pairs: tuple[int, ...]
    recipe: RecallRecipe
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    @property
    def name(self) -> str:
        """Of the model, as in tables."""
        return self.attn

    @property
    def place(self) -> str:
        """What else it belongs to, as a part of a folder's name."""
        return f"n{self.tokens}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = {**asdict(self), "pairs": list(self.pairs)}
        values["recipe"]["rates"] = list(self.recipe.rates)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RecallJob":
        """The inverse of ``as_dict``."""
        recipe = RecallRecipe(**{**values["recipe"], "rates": tuple(values["recipe"]["rates"])})
        return cls(**{**values, "pairs": tuple(values["pairs"]), "recipe": recipe})

    def build(self) -> "RecallModel":
        """The model, with weights that the seed alone decides; outside the attention they are the same for all."""
        torch.manual_seed(self.seed)
        model = RecallModel(self.attn, self.size, self.tokens)
        torch.manual_seed(self.seed)
        model.load_state_dict(
            outside_attention(RecallModel(PLACE_HOLDER, self.size, self.tokens).state_dict()), strict=False
        )
        return model


class RecallModel(nn.Module):
    """Keys [B, N, KEY_DIM] and values [B, N] → scores of the values, [B, N, VALUES]."""

    def __init__(self, attn: str, size: str, tokens: int):
        super().__init__()
        self.layers = Layers(first_block(build_model(attn, size=size, num_classes=0)), grid_of(tokens))
        width = self.layers.norm.normalized_shape[0]
        self.key = nn.Linear(KEY_DIM, width)
        self.value = nn.Embedding(VALUES + 1, width)
        self.head = nn.Linear(width, VALUES)

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        return self.head(self.layers(self.key(keys) + self.value(values)))


@dataclass(eq=False)
class _Run:
    """A model on its way, with all that its next step depends on."""

    model: RecallModel
    optimizer: torch.optim.Optimizer
    luck: torch.Generator
    rate: float
    steps: int = 0


def probe(job: RecallJob, stepped: Callable[[dict[str, Any]], None] = lambda step: None) -> dict[str, Any]:
    """Trains, and tests on grids that were in neither training nor validation.

    Args:
        stepped: is told now and then how far it is.

    Returns:
        "recall", the mean over the numbers of pairs of right answers in %, and "by_pairs" of each; "held", the largest
        number answered at 90 % or more, 0 for none; "steps", of the chosen "rate", and "steps_to_held", by which the
        mean was at 90 % in validation, or None; "risen", whether it had stopped rising; "trials", the validation of
        each rate; "history", "parameters", "shared_weights", "images" (grids tested) and "job".

    Raises:
        FloatingPointError: the loss is not finite at any of the rates.
        UserError: see ``build_model``.
    """
    torch.set_num_threads(job.threads)
    recipe, pairs = job.recipe, job.pairs
    looked = _Looks(job, stepped)
    validation = [draw(128, number, job.tokens, generator("val", job.seed)).to(job.device) for number in pairs]
    tried: dict[float, tuple[float, _Run]] = {}
    for rate in recipe.rates:
        run = _begin(job, rate)
        if _advance(run, job, recipe.trial, looked):
            tried[rate] = _mean(_answers(run.model, validation)), run
    if not tried:
        raise FloatingPointError("the loss is not finite at any of the learning rates")
    best, run = max(tried.values(), key=lambda found: found[0])
    every = max(1, min(100, recipe.patience // 4))
    history = [_entry(run, pairs, _answers(run.model, validation))]
    risen_at, top = run.steps, best
    while run.steps < recipe.steps and run.steps - risen_at < recipe.patience and top < COMPLETE:
        if not _advance(run, job, min(every, recipe.steps - run.steps), looked):
            break
        found = _answers(run.model, validation)
        history.append(_entry(run, pairs, found))
        if _mean(found) >= top + RISE:
            risen_at, top = run.steps, _mean(found)
    done = top >= COMPLETE or run.steps - risen_at >= recipe.patience
    kept = copy.deepcopy(run.model.state_dict())
    if not _advance(run, job, recipe.settle, looked, falling=True):
        run.model.load_state_dict(kept)
    history.append(_entry(run, pairs, _answers(run.model, validation)))
    test = [draw(512, number, job.tokens, generator("test", job.seed)).to(job.device) for number in pairs]
    by_pairs = dict(zip(pairs, _answers(run.model, test), strict=True))
    held = next((entry["step"] for entry in history if entry["recall"] >= HELD), None)
    return {
        "recall": _mean(list(by_pairs.values())),
        "by_pairs": {str(number): share for number, share in by_pairs.items()},
        "held": max((number for number, share in by_pairs.items() if share >= HELD), default=0),
        "steps": run.steps,
        "rate": run.rate,
        "steps_to_held": held,
        "risen": done,
        "trials": {f"{rate:g}": share for rate, (share, _) in tried.items()},
        "history": history,
        "parameters": sum(weight.numel() for weight in run.model.parameters()),
        "shared_weights": digest(outside_attention(job.build().state_dict())),
        "images": 512 * len(pairs),
        "job": job.as_dict(),
    }


def _begin(job: RecallJob, rate: float) -> _Run:
    model = job.build().to(job.device).train()
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    plain = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": job.recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return _Run(model, torch.optim.AdamW(groups, lr=rate), generator("train", job.seed), rate)


def _advance(run: _Run, job: RecallJob, steps: int, looked: "_Looks", *, falling: bool = False) -> bool:
    """Makes steps, the numbers of pairs in turn; with a learning rate that falls to zero if asked. False: it diverged."""
    recipe = job.recipe
    loss = torch.zeros(())
    for number in range(steps):
        rising = min(1.0, (run.steps + 1) / max(1, recipe.trial // 5))
        share = 1 - number / steps if falling else rising
        for group in run.optimizer.param_groups:
            group["lr"] = run.rate * share
        grids = draw(recipe.batch, job.pairs[run.steps % len(job.pairs)], job.tokens, run.luck).to(job.device)
        scores = run.model(grids.keys, grids.values)
        loss = F.cross_entropy(scores.flatten(0, 1), grids.answers.flatten())
        run.optimizer.zero_grad()
        loss.backward()
        if recipe.clip_grad:
            nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip_grad)
        run.optimizer.step()
        run.steps += 1
        looked.at(run, loss)
    return bool(loss.isfinite())


@torch.no_grad()
def _answers(model: RecallModel, sets: Sequence[Grids]) -> list[float]:
    """Right answers in % for each set of grids."""
    model.eval()
    found = []
    for grids in sets:
        asked = grids.values == VALUES
        right = model(grids.keys, grids.values).argmax(dim=-1) == grids.answers
        found.append(100 * float(right[asked].double().mean()))
    model.train()
    return found


def _mean(shares: Sequence[float]) -> float:
    return math.fsum(shares) / len(shares)


def _entry(run: _Run, pairs: Sequence[int], shares: Sequence[float]) -> dict[str, Any]:
    by_pairs = {str(number): share for number, share in zip(pairs, shares, strict=True)}
    return {"step": run.steps, "recall": _mean(shares), "by_pairs": by_pairs}


class _Looks:
    """Tells, about once a second, how far a training is."""

    def __init__(self, job: RecallJob, tell: Callable[[dict[str, Any]], None]):
        self._recipe = job.recipe
        self._tell = tell
        self._began = self._last = time.monotonic()
        self._made = 0

    def at(self, run: _Run, loss: Tensor) -> None:
        self._made += 1
        now = time.monotonic()
        if now - self._last < 1.0:
            return
        self._last = now
        speed = self._made / (now - self._began)
        most = self._recipe.trial * (len(self._recipe.rates) - 1) + self._recipe.steps + self._recipe.settle
        self._tell(
            {
                "epoch": 1,
                "epochs": 1,
                "step": self._made,
                "steps": most,
                "loss": float(loss),
                "images_per_second": speed * self._recipe.batch,
                "seconds_left": (most - self._made) / speed,
            }
        )
