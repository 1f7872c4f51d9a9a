"""What attentions can do on made-up tasks, as the records of their trainings tell it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

from xbench.analysis.results import Results
from xbench.metrics.definitions import PROBES
from xbench.probing.recipe import HELD
from xbench.statistics.estimates import Estimate
from xbench.statistics.proportions import percent_over_seeds
from xbench.study.conditions import Conditions


@dataclass(frozen=True)
class Capacity:
    """The largest number of pairs answered at 90 % or more, 0 for none; ``low`` and ``high`` are that of the ends of
    the intervals of the answers, None where these are not known.
    """

    value: int
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Ability:
    """One arm on one task, over its seeds.

    Attributes:
        mean: right answers in %, the numbers of pairs counting alike.
        by_pairs: right answers in % by number of pairs.
        steps: by number of pairs, for each seed the step at which validation was at 90 %, None for never.
        rates: the learning rate of each seed.
        finished: whether no seed was still rising when it was stopped.
        curves: for each seed, steps and right answers in validation.
    """

    mean: Estimate
    by_pairs: dict[int, Estimate]
    steps: dict[int, list[int | None]]
    rates: list[float]
    finished: bool
    curves: list[tuple[list[int], list[float]]]

    @property
    def seeds(self) -> int:
        """Trainings behind it."""
        return len(self.rates)

    @property
    def decided(self) -> bool:
        """Whether longer training could change no verdict: it was finished, or there is no larger number of pairs."""
        return self.finished or self.capacity.value == max(self.by_pairs)

    @property
    def capacity(self) -> Capacity:
        """See ``Capacity``."""
        known = self.seeds > 1
        low, high = (_most(self.by_pairs, end) if known else None for end in ("low", "high"))
        return Capacity(_most(self.by_pairs, "value"), low, high)

    def steps_to_held(self, pairs: int) -> float | None:
        """The median of the seeds' steps to 90 %; None where the median seed never came to it."""
        steps = [number for number in self.steps[pairs] if number is not None]
        return median(steps) if 2 * len(steps) > len(self.steps[pairs]) else None


def _most(by_pairs: dict[int, Estimate], end: str) -> int:
    return max((pairs for pairs, share in by_pairs.items() if getattr(share, end) >= HELD), default=0)


def probed(results: Results) -> list[tuple[str, Conditions]]:
    """The tasks, and the conditions under which models were trained on them."""
    return [(task, place) for task in PROBES for place in results.trained_places(task)]


def ability(results: Results, place: Conditions, arm: str, task: str) -> Ability | None:
    """What the arm's models can do there; None where none was trained to its end."""
    return results.once(("ability", place, arm, task), lambda: _ability(results, place, arm, task))


def abilities(results: Results, place: Conditions, task: str) -> dict[str, Ability]:
    """By arm, what those can do there that were trained to their end."""
    return {arm: own for arm in results.arms if (own := ability(results, place, arm, task))}


def _ability(results: Results, place: Conditions, arm: str, task: str) -> Ability | None:
    records = list(results.seeds(place, arm, task).values())
    if not records:
        return None
    images = [record.detail["images"] / len(record.detail["by_pairs"]) for record in records]

    def over_seeds(shares: Iterable[float], sets: int = 1) -> Estimate:
        return percent_over_seeds(list(shares), round(sum(images) * sets))

    pairs = [int(text) for text in records[0].detail["by_pairs"]]
    return Ability(
        mean=over_seeds((record.samples[0] for record in records), len(pairs)),
        by_pairs={
            number: over_seeds(record.detail["by_pairs"].get(str(number), 0.0) for record in records)
            for number in pairs
        },
        steps={number: [_step(record.detail["history"], str(number)) for record in records] for number in pairs},
        rates=[record.detail["rate"] for record in records],
        finished=all(record.detail["finished"] for record in records),
        curves=[_curve(record.detail["history"]) for record in records],
    )


def _step(history: Sequence[dict[str, Any]], pairs: str) -> int | None:
    return next((entry["step"] for entry in history if entry["by_pairs"].get(pairs, 0.0) >= HELD), None)


def _curve(history: Sequence[dict[str, Any]]) -> tuple[list[int], list[float]]:
    return [entry["step"] for entry in history], [entry["score"] for entry in history]


@cache
def guess(task: str, pairs: int) -> tuple[float, float]:
    """Right answers in % of blind guessing, and of naming the commonest value; see ``probing.tasks.guessing``."""
    from xbench.probing.tasks import guessing  # imports torch, which no other report needs

    return guessing(task, pairs)


def guess_of_all(task: str, pairs: Sequence[int]) -> tuple[float, float]:
    """The same over several numbers of pairs, which count alike."""
    found = [guess(task, number) for number in pairs]
    return sum(blind for blind, _ in found) / len(found), sum(common for _, common in found) / len(found)
