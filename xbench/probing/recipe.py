"""How the models of a task are trained: the same for every arm, but for the learning rate, which each finds itself."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from xbench.errors import UserError, unknown_name
from xbench.parsing.options import check_limits, split_setting

HELD = 90.0  # % of right answers from which a number of pairs counts as mastered
LIMITS = {
    "batch": (1, 65536),
    "trial": (1, 10**7),
    "steps": (1, 10**8),
    "patience": (1, 10**8),
    "settle": (0.0, 10.0),
    "weight_decay": (0.0, 10.0),
    "clip_grad": (0.0, 1e9),
}
MOST_RATES = 20


@dataclass(frozen=True)
class ProbeRecipe:
    """Training that goes on until validation no longer rises.

    Attributes:
        batch: grids per step, with each of the numbers of pairs among them.
        rates: learning rates that are tried, each for ``trial`` steps; the one with the lowest loss in validation goes
            on. Some mechanisms learn in a narrow range only (Okpekpe and Orvieto, arXiv 2508.19029).
        trial: steps of a trial; the learning rate rises in the first fifth of them.
        steps: the most that are made with the chosen rate before it falls.
        patience: steps without a rise of validation after which training is done. It is long, because a model may stay
            at a guess for a thousand steps and then find out.
        settle: how many steps more, as a share of those made, in which the learning rate falls to 0 (Hägele et al.,
            arXiv 2405.18392): constant and then falling, a run need not know its end when it begins.
        weight_decay: of AdamW, of weights of more than one dimension.
        clip_grad: the largest norm of all gradients together; 0 for no limit.
    """

    batch: int = 64
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    trial: int = 300
    steps: int = 3000
    patience: int = 1500
    settle: float = 0.2
    weight_decay: float = 0.01
    clip_grad: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            check_limits(name, getattr(self, name), low, high)
        if not 0 < len(self.rates) <= MOST_RATES or not all(0 < rate <= 10 for rate in self.rates):
            raise UserError(
                f"rates of the recipe are up to {MOST_RATES} learning rates above 0 and at most 10: rates=0.001,0.004."
            )

    @property
    def most_steps(self) -> int:
        """Of all trials and of a run that rises to its end."""
        return math.ceil(self.trial * (len(self.rates) - 1) + self.steps * (1 + self.settle))

    def changed(self, settings: Sequence[str] = ()) -> "ProbeRecipe":
        """The recipe with some settings replaced, each written as "name=value"; ``rates`` as "rates=0.001,0.004".

        Raises:
            UserError: not of that form, an unknown name, or a value that cannot be.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            name, text = split_setting(setting)
            if name not in {field.name for field in fields(self)}:
                raise unknown_name("setting of the recipe", name, [field.name for field in fields(self)])
            kind = type(getattr(self, name))
            try:
                changes[name] = tuple(map(float, text.split(","))) if kind is tuple else kind(text)
            except ValueError:
                what = "a list of numbers" if kind is tuple else "a whole number" if kind is int else "a number"
                raise UserError(f"{name} of the recipe is {what}, not '{text[:40]}'.") from None
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "rates": list(self.rates)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ProbeRecipe":
        """The inverse of ``as_dict``."""
        return cls(**{**values, "rates": tuple(values["rates"])})
