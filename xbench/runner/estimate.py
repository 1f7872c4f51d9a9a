"""What a study will do, before it does it: every case with its predicted memory and time, and the time in all.

Times come from the machine's own limits, measured in a third of a second: a step takes about its multiply–accumulates
at the rate of a large matrix product and its traffic at the rate of a copy. That is a rough guess, right to a factor of
about two for eager models; the plan needs no more. Compiling, the search for a largest batch and the reading of images
are not in it.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from xbench.analysis.counted import count
from xbench.probing.job import ProbeJob
from xbench.runner.launch import PACE, QUICK_PACE
from xbench.runner.precheck import Precheck, Prechecks
from xbench.runner.progress import Plan
from xbench.statistics.estimates import Estimate
from xbench.study.case import Case
from xbench.study.conditions import Conditions
from xbench.study.study import CLAIM_LAUNCHES, Study
from xbench.training.job import PLACE_HOLDER, Job

BLOCK_SECONDS = 0.02  # as metrics.timing has it, which imports torch
PROCESS_SECONDS = 1.5  # per worker that starts, beside others
TRAINING_FACTOR = 3  # a backward pass has twice the products of a forward pass


@dataclass(frozen=True)
class Expected:
    """One case: predicted bytes and MACs of an image (None where unknown), seconds of a step, trainings still to do,
    the seconds of all of them; or why it cannot be, in ``reason``; ``held`` where it is measured already.
    """

    case: Case
    memory_bytes: int | None = 0
    macs: Estimate | None = None
    seconds: float = 0.0
    trainings: int = 0
    training_seconds: float = 0.0
    reason: str = ""
    held: bool = False


def expect(study: Study, prechecks: Prechecks, case: Case, trainings: list[str]) -> Expected:
    """The forecast of a case with trainings still to do for these metrics, one for each time that one is named.

    Raises:
        ArmError: the case is impossible.
    """

    def seconds(step: Case, found: Precheck) -> float:
        traffic = found.memory["traffic"] if found.memory else 0
        return step_seconds(step, found.cost["macs"] if found.cost else 0, traffic, prechecks.limits(step))

    found = prechecks.of(case)
    if study.executes:
        prechecks.check_fits(case, found.memory)
    macs = count(found.cost["macs"], found.cost) if found.cost else None
    cost = (found.memory["total"] if found.memory else None, macs, seconds(case, found))
    training = 0.0
    for metric, number in Counter(trainings).items():
        job = study.job(case, metric, 0)
        if isinstance(job, ProbeJob):
            steps, dtype = job.recipe.most_steps, "fp32"
        else:
            alike = replace(job, attn=PLACE_HOLDER, baseline=None)
            steps, dtype = job.recipe.epochs * _steps_of_an_epoch(alike), job.recipe.dtype
        step = replace(case, direction="training", batch=job.recipe.batch, dtype=dtype, threads=job.threads)
        training += number * steps * seconds(step, prechecks.of(step))
    return Expected(case, *cost, len(trainings), training)


@cache
def _steps_of_an_epoch(job: Job) -> int:
    """Asked once for all arms: a large set takes long to open."""
    return job.open_data().steps


def plan_of(study: Study, expected: list[Expected]) -> Plan:
    """What is still to be done of these cases."""
    todo = [one for one in expected if not one.held and not one.reason]
    training = training_seconds(expected, study.trainings_at_once)
    return Plan(len(todo), total_seconds(study, expected), sum(one.trainings for one in expected), training)


def step_seconds(case: Case, macs: int, traffic: int, limits: dict[str, Any]) -> float:
    """A guess at the seconds of one step of the case's batch."""
    factor = TRAINING_FACTOR if case.direction == "training" else 1
    products = factor * macs * case.batch / limits["samples"][0]
    return products + traffic / limits["detail"]["copy_bytes_per_second"]


def total_seconds(study: Study, expected: list[Expected]) -> float:
    """A guess at the seconds of the whole run, of the launches that a claim needs."""
    todo = [one for one in expected if not one.held and not one.reason]
    if not study.executes:
        return 0.1 * len(todo)
    exact = sum(PROCESS_SECONDS + 2 * one.seconds for one in todo)
    if not study.timed:
        return exact
    pace = QUICK_PACE if study.quick else PACE
    launches = min(CLAIM_LAUNCHES, study.launches[-1])
    groups: dict[Conditions, list[float]] = {}
    for one in todo:
        groups.setdefault(one.case.conditions, []).append(one.seconds)
    controls = len(study.controls)
    return exact + launches * sum(_launch_seconds([*steps, *steps[:controls]], pace) for steps in groups.values())


def training_seconds(expected: list[Expected], at_once: int) -> float:
    """A guess at the seconds of all training, so many models side by side."""
    return sum(one.training_seconds for one in expected) / at_once


def _launch_seconds(steps: list[float], pace: dict[str, tuple[Any, ...]]) -> float:
    most, at_least = pace["warm_up"]
    least, highest, rounds_seconds = pace["rounds"]
    warm_up = sum(max(at_least * step, min(most, max(0.2, 4 * step))) for step in steps)
    round_seconds = sum(max(step, BLOCK_SECONDS) for step in steps)
    rounds = max(least, min(highest, rounds_seconds / round_seconds))
    return PROCESS_SECONDS * len(steps) + warm_up + rounds * round_seconds
