"""Training on a task until validation no longer rises, and the test."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.probing.job import ProbeJob
from xbench.probing.model import build_probe
from xbench.probing.recipe import HELD
from xbench.probing.tasks import TASKS, Grids, generator
from xbench.training.job import digest, outside_attention

RISE = 0.5  # points by which validation has to rise to count as rising
COMPLETE = 98.0  # % from which more steps are not worth waiting for
LOOKS, TRIAL_LOOKS = 100, 25  # steps between two validations
VALIDATED, TESTED = 128, 512  # grids for each number of pairs

Told = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Score:
    """Right answers in % by number of pairs, and the mean loss."""

    by_pairs: tuple[float, ...]
    loss: float

    @property
    def mean(self) -> float:
        """Over the numbers of pairs, each counting alike."""
        return math.fsum(self.by_pairs) / len(self.by_pairs)


def probe(job: ProbeJob, stepped: Told = lambda step: None) -> dict[str, Any]:
    """Trains, and tests on grids that were in neither training nor validation.

    Args:
        stepped: is told about once a second how far it is.

    Returns:
        "score", the mean over the numbers of pairs of right answers in %, and "by_pairs" of each; "capacity", the
        largest number of pairs answered at 90 % or more, 0 for none; "steps" at the chosen "rate", and "steps_to_held",
        by which validation was at 90 %, or None; "finished", whether it no longer rose; "trials", the loss in
        validation of each rate; "history", "parameters", "shared_weights", "images" (grids tested) and "job".

    Raises:
        FloatingPointError: the loss is not finite at any of the rates.
        UserError: see ``build_model``, and the task's ``draw``.
    """
    torch.set_num_threads(job.threads)
    recipe = job.recipe
    looks = _Looks(job, stepped)
    validation = _sets(job, "val", VALIDATED)
    tried: list[tuple[Score, _Run]] = []
    for rate in recipe.rates:
        run = _Run(job, rate, looks)
        while run.steps < recipe.trial and run.advance(min(TRIAL_LOOKS, recipe.trial - run.steps)):
            score = run.look(validation)
        if run.finite:
            tried.append((score, run))
    if not tried:
        raise FloatingPointError("the loss is not finite at any of the learning rates")
    best, run = min(tried, key=lambda found: found[0].loss)
    finished = run.train(best, validation)
    run.settle()
    run.look(validation)
    found = run.score(_sets(job, "test", TESTED))
    by_pairs = dict(zip(job.pairs, found.by_pairs, strict=True))
    return {
        "score": found.mean,
        "by_pairs": {str(number): share for number, share in by_pairs.items()},
        "capacity": max((number for number, share in by_pairs.items() if share >= HELD), default=0),
        "steps": run.steps,
        "rate": run.rate,
        "steps_to_held": next((entry["step"] for entry in run.history if entry["score"] >= HELD), None),
        "finished": finished,
        "trials": {f"{tried_run.rate:g}": score.loss for score, tried_run in tried},
        "history": run.history,
        "parameters": sum(weight.numel() for weight in run.model.parameters()),
        "shared_weights": digest(outside_attention(build_probe(job).state_dict())),
        "images": TESTED * len(job.pairs),
        "job": job.as_dict(),
    }


class _Run:
    """A model on its way at one learning rate."""

    def __init__(self, job: ProbeJob, rate: float, looks: "_Looks"):
        self.job = job
        self.rate = rate
        self.steps = 0
        self.finite = True
        self.history: list[dict[str, Any]] = []
        self.model = build_probe(job).to(job.device).train()
        decayed = [weight for weight in self.model.parameters() if weight.ndim > 1]
        plain = [weight for weight in self.model.parameters() if weight.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": job.recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=rate)
        self._luck = generator(job.task, "train", job.seed)
        self._looks = looks

    def train(self, best: Score, validation: Sequence[Grids]) -> bool:
        """Goes on until validation, ``best`` so far, no longer rises: whether it came to that."""
        recipe = self.job.recipe
        risen_at, top = self.steps, best.mean
        while self.steps < recipe.steps and self.steps - risen_at < recipe.patience and top < COMPLETE:
            if not self.advance(min(LOOKS, recipe.steps - self.steps)):
                return False
            score = self.look(validation)
            if score.mean >= top + RISE:
                risen_at, top = self.steps, score.mean
        return top >= COMPLETE or self.steps - risen_at >= recipe.patience

    def settle(self) -> None:
        """Lets the learning rate fall to 0; without effect where that diverges."""
        before = copy.deepcopy(self.model.state_dict())
        if not self.advance(math.ceil(self.job.recipe.settle * self.steps), falling=True):
            self.model.load_state_dict(before)

    def advance(self, steps: int, *, falling: bool = False) -> bool:
        """Makes steps; False where the loss has come to be no number."""
        recipe = self.job.recipe
        loss = torch.zeros(())
        for number in range(steps):
            share = 1 - number / steps if falling else min(1.0, (self.steps + 1) / max(1, recipe.trial // 5))
            for group in self._optimizer.param_groups:
                group["lr"] = self.rate * share
            grids = self._batch()
            loss = _loss(self.model(grids.keys, grids.values), grids.answers)
            self._optimizer.zero_grad()
            loss.backward()
            if recipe.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_grad)
            self._optimizer.step()
            self.steps += 1
            self._looks.at(loss.detach())
        self.finite = bool(loss.isfinite())
        return self.finite

    def _batch(self) -> Grids:
        """Grids with each of the numbers of pairs, equally many but for what does not divide, which goes by turns.

        All are in every batch, because batch norms must not learn another average in each.
        """
        job = self.job
        rows, cols = job.grid
        number, rest = divmod(job.recipe.batch, len(job.pairs))
        parts = [
            TASKS[job.task].draw(grids, pairs, rows * cols, self._luck)
            for i, pairs in enumerate(job.pairs)
            if (grids := number + ((i - self.steps) % len(job.pairs) < rest))
        ]
        return Grids(*(torch.cat([getattr(one, field.name) for one in parts]) for field in fields(Grids))).to(
            job.device
        )

    def look(self, validation: Sequence[Grids]) -> Score:
        """The score in validation, kept in the history."""
        score = self.score(validation)
        by_pairs = {str(number): share for number, share in zip(self.job.pairs, score.by_pairs, strict=True)}
        self.history.append({"step": self.steps, "score": score.mean, "by_pairs": by_pairs})
        return score

    @torch.no_grad()
    def score(self, sets: Sequence[Grids]) -> Score:
        """Of the answers that count, for each set of grids."""
        self.model.eval()
        shares, losses = [], []
        for grids in sets:
            scores = torch.cat(
                [self.model(*part) for part in zip(grids.keys.split(64), grids.values.split(64), strict=True)]
            )
            right = scores.argmax(dim=-1) == grids.answers
            shares.append(100 * float(right[grids.counted].double().mean()))
            losses.append(float(_loss(scores[grids.counted], grids.answers[grids.counted])))
        self.model.train()
        return Score(tuple(shares), math.fsum(losses) / len(losses))


def _loss(scores: Tensor, answers: Tensor) -> Tensor:
    return F.cross_entropy(scores.flatten(0, -2), answers.flatten())


def _sets(job: ProbeJob, split: str, grids: int) -> list[Grids]:
    """For each number of pairs so many grids."""
    rows, cols = job.grid
    luck = generator(job.task, split, job.seed)
    return [TASKS[job.task].draw(grids, pairs, rows * cols, luck).to(job.device) for pairs in job.pairs]


class _Looks:
    """Tells how far a training is."""

    def __init__(self, job: ProbeJob, tell: Told):
        self._recipe = job.recipe
        self._tell = tell
        self._began = self._last = time.monotonic()
        self._made = count(1)

    def at(self, loss: Tensor) -> None:
        made, now = next(self._made), time.monotonic()
        if now - self._last < 1.0:
            return
        self._last = now
        recipe, speed = self._recipe, made / (now - self._began)
        most = recipe.most_steps
        self._tell(
            {
                "epoch": 1,
                "epochs": 1,
                "step": made,
                "steps": most,
                "loss": float(loss),
                "images_per_second": speed * recipe.batch,
                "seconds_left": (most - made) / speed,
            }
        )
