"""Figures that repeat exactly: each case in a process of its own, and every figure told as soon as it is there."""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbench.runner.workers import Ending, Setup, Standing, Workers
from xbench.study.case import Case

STARTING_AT_ONCE = 2  # processes: one starts while another measures


@dataclass(frozen=True)
class ExactFigure:
    """``samples`` of a metric of a case, what else is known of it, and the seconds that its step took."""

    case: Case
    metric: str
    samples: list[float]
    detail: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class ExactOutcome:
    """How the group stands by now, what ended since the last outcome, and the figure that came, if one did."""

    standing: Standing
    endings: tuple[Ending, ...]
    figure: ExactFigure | None = None


def measure_exact(
    setup: Setup, standing: Standing, wanted: Mapping[Case, Sequence[str]], batch_limit: int
) -> Generator[ExactOutcome, None, None]:
    """Peak memory of each case, and the largest batch where its metrics are wanted to have it.

    A case that other processes ended comes once more, with all of its figures.

    Args:
        wanted: the cases, with the exact metrics that they lack.
        batch_limit: bytes that the largest batch is to fit into.
    """
    waiting = list(wanted)
    while waiting:
        cases, waiting = waiting[:STARTING_AT_ONCE], waiting[STARTING_AT_ONCE:]
        with Workers(setup, standing, cases) as workers:
            yield ExactOutcome(workers.standing, workers.take_endings())
            for case in cases:
                yield _outcome(workers, _peak_memory(workers, case))
                if "max_batch" in wanted[case]:
                    yield _outcome(workers, _max_batch(workers, case, batch_limit))
        standing = workers.standing
        waiting += workers.again


def _outcome(workers: Workers, figure: ExactFigure | None) -> ExactOutcome:
    return ExactOutcome(workers.standing, workers.take_endings(), figure)


def _peak_memory(workers: Workers, case: Case) -> ExactFigure | None:
    """Also where memory is not asked for: this finds out whether the output is whole."""
    began = time.monotonic()
    for _, peak in workers.in_turn("measuring peak memory", "memory", [case]):
        return ExactFigure(case, "peak_memory", [peak["total"] / 2**20], peak, time.monotonic() - began)
    return None


def _max_batch(workers: Workers, case: Case, limit: int) -> ExactFigure | None:
    began = time.monotonic()
    for _, found in workers.in_turn("finding the largest batch", "max_batch", [case], "max_batch", limit=limit):
        return ExactFigure(case, "max_batch", [found["batch"]], found, time.monotonic() - began)
    return None
