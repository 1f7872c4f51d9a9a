"""A Case is one point of a study: one arm under one set of conditions."""

from dataclasses import asdict, dataclass
from typing import Any

from xbench.errors import UserError
from xbench.models.baselines import own_size
from xbench.models.sizes import MADE_FOR
from xbench.parsing.axes import OWN_SIZE
from xbench.processes.checkout import Checkout
from xbench.processes.policy import TUNED
from xbench.study.conditions import KNOWN, Conditions

# Of an arm, what its workers are not told, because the controller starts them so.
UNTOLD = ("checkout", "policy")


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: an attention in the XFormer skeleton, or a whole timm model, run as ``mode`` says by a
    process under a ``policy``.

    ``label`` is its name in tables, unique in a study. A ``control`` is the reference arm once more under another name:
    the two are equal by construction, so what is seen between them is the error of the measurement. ``checkout`` is
    where its code comes from, None where that is the code that runs.
    """

    label: str
    attn: str | None = None
    baseline: str | None = None
    mode: str = "eager"
    control: bool = False
    policy: str = TUNED
    checkout: Checkout | None = None

    @property
    def code(self) -> tuple[str | None, Checkout | None]:
        """What is known of an attention is known of this."""
        return self.attn, self.checkout

    @property
    def made_for(self) -> tuple[int, int]:
        """(height, width) of the images that the model is made for.

        Raises:
            UserError: a timm model of which timm does not say it.
        """
        size = MADE_FOR if self.baseline is None else own_size(self.baseline)
        if size is None:
            raise UserError(f"timm does not say which size '{self.baseline}' is made for; name one by --res.")
        return size


@dataclass(frozen=True)
class Case:
    """One point of a study: one arm under one set of conditions.

    At the levels "model" and "block" the image is ``img_size``, (height, width) in pixels, or ``OWN_SIZE``; the block
    is the XF block of stage 3, where the maps are largest. At level "layer" the transformer layers of that block stand
    without its convolutions, at level "op" its attention alone, with one sequence of ``tokens`` tokens per image. The
    model is one for the ``task``.
    """

    arm: Arm
    level: str
    direction: str
    img_size: tuple[int, int] | None
    tokens: int | None
    patch_size: int
    size: str
    batch: int
    dtype: str
    device: str
    threads: int
    task: str = "classify"

    @property
    def sees_photos(self) -> bool:
        """Whether its inputs are photographs. The parts of a model stand behind a norm, and get random numbers."""
        return self.level == "model"

    @property
    def conditions(self) -> Conditions:
        """Everything but the arm."""
        return Conditions(**{name: getattr(self, name) for name in KNOWN})

    def request(self) -> dict[str, Any]:
        """The case as one level of plain values, as a worker is told of it. One of an older commit knows no more."""
        arm = {key: value for key, value in asdict(self.arm).items() if key not in UNTOLD}
        return {"arm": arm.pop("label"), **arm, **self.conditions.flat()}

    def flat(self) -> dict[str, Any]:
        """The same as it stands in a record."""
        return {**self.request(), "policy": self.arm.policy}

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> "Case":
        """The inverse of ``request``; what is to have its own size has it here, in the worker that builds it."""
        rest = dict(values)
        arm = Arm(rest.pop("arm"), *(rest.pop(key) for key in ("attn", "baseline", "mode", "control")))
        img_size = tuple(rest.pop("img_size") or ()) or None
        return cls(arm=arm, img_size=arm.made_for if img_size == OWN_SIZE else img_size, **rest)
