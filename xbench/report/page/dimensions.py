"""The conditions that vary within a run, with their values in order: the axes, series and filters of a chart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from xbench.study.conditions import Conditions
from xbench.wording.conditions import AXES, HEADS, in_words, number, show_value

TOKENS = "tokens"
KINDS = ("level", "direction")  # what is measured differs between these


@dataclass(frozen=True)
class Value:
    """One value of a condition.

    ``at`` is where it stands on an axis, None where it is no number. ``text`` stands beside the axis, whose ``label``
    has the unit; ``phrase`` stands by itself.
    """

    at: float | None
    text: str
    phrase: str
    label: str


@dataclass(frozen=True)
class Dimension:
    """A condition that varies, or the number of tokens, which follows from others; ``of`` tells its value somewhere."""

    key: str
    head: str
    of: Callable[[Conditions], Value]
    values: list[Value]

    def index(self, place: Conditions) -> int:
        """Which of the values the place has."""
        return self._places[self.of(place)]

    @cached_property
    def _places(self) -> dict[Value, int]:
        return {value: i for i, value in enumerate(self.values)}


def dimensions_of(places: Sequence[Conditions]) -> list[Dimension]:
    """What differs in kind first, then the conditions in the order of tables, and last the number of tokens."""
    heads = {**{kind: kind for kind in KINDS}, **HEADS}
    found = [_dimension(head, places, key) for key, head in heads.items()]
    # Of an attention alone the size is the number of tokens already.
    if any(not place.alone for place in places):
        found.append(_dimension("tokens N", places, TOKENS))
    return [one for one in found if len(one.values) > 1]


def _dimension(head: str, places: Sequence[Conditions], key: str) -> Dimension:
    def of(place: Conditions) -> Value:
        return _value(place, key)

    values = list(dict.fromkeys(map(of, places)))
    return Dimension(key, head, of, sorted(values, key=lambda one: one.at or 0.0))


def _value(place: Conditions, key: str) -> Value:
    if key in KINDS:
        kind = getattr(place, key)
        return Value(None, kind, kind, key)
    if key == TOKENS or (key == "extent" and place.alone):
        tokens = place.n_tokens
        label = "tokens N of a sequence" if place.alone else "tokens N of a sequence in stage 3"
        return Value(float(tokens), f"{tokens:,}", f"N = {tokens:,}", label)
    at = number(place, key) if key in AXES else None
    return Value(at, show_value(place, key), in_words(place)[key], AXES.get(key, HEADS[key]))
