"""The conditions of a figure, and how much there is to attend to under them."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from xbench.parsing.axes import OF_TOKENS, show_img_size

# What a record's case says of the arm; everything else are conditions.
ARM_FIELDS = ("arm", "attn", "baseline", "mode", "policy", "control")
STAGE_3_STRIDE = 8  # pixels a side of one position of the map that the XF block of stage 3 sees


@dataclass(frozen=True)
class Conditions:
    """Everything of a case but the arm. Cases with equal conditions form a comparison group.

    ``img_size`` is (height, width) in pixels; at the levels "op" and "layer", where there is no image, ``tokens`` are
    those of a sequence. ``more`` are pairs of name and plain value that a newer version recorded: what they mean is not
    known here, and yet they tell groups apart.
    """

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
    more: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, case: dict[str, Any]) -> "Conditions":
        """Those of a case as it stands in a record; benchmarks from elsewhere have none."""
        known = {name: case.get(name, "classify") if name == "task" else case[name] for name in KNOWN}
        img_size = known.pop("img_size")
        more = sorted(set(case).difference(KNOWN, ARM_FIELDS))
        return cls(
            img_size=tuple(img_size) if img_size else None,
            more=tuple((name, case[name]) for name in more),
            **known,
        )

    def flat(self) -> dict[str, Any]:
        """As they stand in a record's case. An older version, and its workers, know of one task alone."""
        known = {name: getattr(self, name) for name in KNOWN if (name, getattr(self, name)) != ("task", "classify")}
        return {**known, "img_size": list(self.img_size) if self.img_size else None, **dict(self.more)}

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Found once: a report looks under each set of conditions for a hundred figures and more."""
        return hash((*(getattr(self, name) for name in KNOWN), self.more))

    @property
    def alone(self) -> bool:
        """Whether the attention stands alone, or in its layers alone, and sees tokens instead of an image."""
        return self.level in OF_TOKENS

    @property
    def but_extent(self) -> "Conditions":
        """What the places of a sweep have in common."""
        return replace(self, img_size=None, tokens=None)

    @property
    def extent(self) -> float:
        """How much there is to attend to: tokens where there is no image, else pixels, to which N is proportional."""
        return float(self._tokens if self.alone else math.prod(self._sides))

    @property
    def n_tokens(self) -> int:
        """N, the tokens of one sequence; at the levels "block" and "model" those of stage 3, the most in the model."""
        if self.alone:
            return self._tokens
        return math.prod(math.ceil(math.ceil(side / STAGE_3_STRIDE) / self.patch_size) for side in self._sides)

    def show_extent(self) -> str:
        """ "4,096 tokens" where there is no image, else "1024" or "512x1024", in pixels."""
        return f"{self._tokens:,} tokens" if self.alone else show_img_size(self._sides)

    @property
    def _tokens(self) -> int:
        assert self.tokens is not None
        return self.tokens

    @property
    def _sides(self) -> tuple[int, int]:
        assert self.img_size is not None
        return self.img_size


KNOWN = tuple(field.name for field in fields(Conditions) if field.name != "more")


def axis_value(extent: float, axis: str) -> float:
    """An extent as it stands on the axis of a plot: tokens, or pixels a side of the square with as many pixels."""
    return extent if axis == "tokens" else math.sqrt(extent)
