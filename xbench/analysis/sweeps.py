"""Sweeps: conditions that differ only in how much there is to attend to, in pixels or in tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from xbench.study.conditions import Conditions, extent


@dataclass(frozen=True)
class Sweep:
    """Conditions in the order of their extent.

    Attributes:
        conditions: one or more, equal in everything but the image size or the number of tokens.
        fixed: what they have in common.
        axis: "tokens" where the attention stands alone (level "op"), else "res".
    """

    conditions: list[Conditions]
    fixed: Conditions
    axis: Literal["tokens", "res"]

    @property
    def ends(self) -> list[Conditions]:
        """The smallest and the largest; one where there is only one."""
        return [self.conditions[0], *self.conditions[1:][-1:]]


def find_sweeps(places: Iterable[Conditions]) -> list[Sweep]:
    """Every set of conditions in exactly one sweep, which may be of length one; in the order of first occurrence."""
    groups: dict[str, tuple[Conditions, list[Conditions]]] = {}
    for conditions in places:
        fixed = {key: value for key, value in conditions.items() if key not in ("img_size", "tokens")}
        groups.setdefault(str(sorted(fixed.items())), (fixed, []))[1].append(conditions)
    return [
        Sweep(sorted(found, key=extent), fixed, "tokens" if fixed.get("level") == "op" else "res")
        for fixed, found in groups.values()
    ]
