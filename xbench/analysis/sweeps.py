"""Sweeps: conditions that differ only in how much there is to attend to, in pixels or in tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from xbench.study.conditions import Conditions


@dataclass(frozen=True)
class Sweep:
    """One or more conditions in the order of their extent, equal in everything else."""

    conditions: tuple[Conditions, ...]

    @property
    def axis(self) -> Literal["tokens", "res"]:
        """ "tokens" where the attention stands alone, else "res"."""
        return "tokens" if self.conditions[0].alone else "res"

    @property
    def ends(self) -> tuple[Conditions, ...]:
        """The smallest and the largest; one where there is only one."""
        return (self.conditions[0], *self.conditions[1:][-1:])


def find_sweeps(places: Iterable[Conditions]) -> list[Sweep]:
    """Every set of conditions in exactly one sweep, which may be of length one; in the order of first occurrence."""
    groups: dict[Conditions, list[Conditions]] = {}
    for conditions in places:
        groups.setdefault(conditions.but_extent, []).append(conditions)
    return [Sweep(tuple(sorted(found, key=lambda conditions: conditions.extent))) for found in groups.values()]
