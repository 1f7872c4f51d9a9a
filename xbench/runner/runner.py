"""Study → plan → workers → records. The only loop over cases. What the ledger already holds is not measured again.

First every case is surveyed on paper, so that what cannot be is known before time is spent. Then come exact figures,
each case in a process of its own, and then launches. A launch is in the ledger before the next begins.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil

from xbench.analysis.counted import count
from xbench.analysis.results import Results
from xbench.data.photos import photo_paths
from xbench.processes.parent import EVERY_WORKER, ArmError
from xbench.records.ledger import Ledger
from xbench.records.provenance import surroundings
from xbench.records.record import Record
from xbench.runner.estimate import Expected, step_seconds
from xbench.runner.launch import PACE, QUICK_PACE, Launch
from xbench.runner.precheck import Precheck, Prechecks
from xbench.runner.progress import Clock, Observer, Progress, RunLimits, Silent
from xbench.runner.recorder import Recorder
from xbench.runner.stopping import Group, Schedule
from xbench.runner.trainings import Trainings
from xbench.runner.workers import Setup, Workers
from xbench.statistics.estimates import Estimate
from xbench.statistics.verdicts import EFFECT
from xbench.study.case import Case
from xbench.study.study import LOOK_LAUNCHES, Study

MEMORY_SHARE = 0.9  # of the free memory, for one worker
ROOM_SHARE = 0.8  # of the free memory, for all arms of a heat together: near the edge the kernel takes pages from them
STARTING_AT_ONCE = 2  # processes for exact figures: one starts while another measures


class Runner:
    """Measures a study into a ledger."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        observer: Observer | None = None,
        limits: RunLimits | None = None,
        effect: float = EFFECT,
    ):
        """``effect``: the relative difference of times that matters, which decides when they are known well enough."""
        self.study = study
        self._effect = effect
        self.clock = Clock()
        self._observer: Observer = observer or Silent()
        limits = limits or RunLimits()
        photos = photo_paths(study.images)[: max(study.batch)]
        exact: dict[str, Any] = {**EVERY_WORKER}
        pace = QUICK_PACE if study.quick else PACE
        policy = {
            "static": {},
            "exact": exact,
            "max_batch": {**exact, "memory_limit": limits.memory_bytes},
            "timed": {**exact, **pace, **surroundings()},
            "trained": {"data": study.data, "recipe": study.recipe.as_dict(), "unreadable": study.unreadable},
        }
        self.recorder = Recorder(study, ledger, self._observer, policy, photos)
        free = psutil.virtual_memory().available
        self._setup = Setup(
            self.recorder,
            self.clock,
            self._observer,
            # A worker of another checkout stands in another folder.
            photos=[str(path.resolve()) for path in photos],
            memory_limit=limits.memory_bytes or int(free * MEMORY_SHARE),
            room=int(free * ROOM_SHARE),
            turn_seconds=limits.turn_seconds,
        )
        self._max_batch_limit = limits.memory_bytes or 0
        self._schedule = Schedule(study, limits.seconds, self.clock)
        for group in self._schedule.groups:
            self._take_over(group)

    def run(self) -> list[Record]:
        """Measures everything and returns the records, which the ledger already holds.

        Raises:
            UserError: the ledger can no longer be written, or the code was edited meanwhile.
        """
        groups = self._schedule.groups
        with Prechecks(self._setup) as prechecks:
            for group in groups:
                self._precheck(prechecks, group)
        for group in groups:
            self._measure_exact(group)
        if self.study.timed:
            self._measure_timed()
        if self.study.trains:
            self._train()
        return self.recorder.records

    def finish(self, command: str) -> None:
        """Records where the time went, and which command asked; nothing where nothing was found."""
        if self.results().arms:
            self.recorder.keep_overhead(self.clock, command)

    def forecast(self) -> list[Expected]:
        """What ``run`` would do, case by case, found on paper."""
        expected = []
        limits: dict[tuple[str, int], dict[str, Any]] = {}
        with Prechecks(self._setup) as prechecks:
            for group in self._schedule.groups:
                for case in [case for case in group.cases if not case.arm.control]:
                    if self._finished(group, case):
                        expected.append(Expected(case, held=True))
                        continue
                    try:
                        expected.append(self._expect(prechecks, case, limits))
                    except ArmError as end:
                        expected.append(Expected(case, reason=f"{end.status}: {end.reason}"))
        return expected

    def _expect(self, prechecks: Prechecks, case: Case, limits: dict[tuple[str, int], dict[str, Any]]) -> Expected:
        """The forecast of a case. ``limits`` are those of the machine by dtype and threads, and are added to."""

        def seconds(step: Case, found: Precheck) -> float:
            key = (step.dtype, step.threads)
            limits[key] = limits.get(key) or prechecks.limits(step)
            traffic = found.memory["traffic"] if found.memory else 0
            return step_seconds(step, found.cost["macs"] if found.cost else 0, traffic, limits[key])

        found = prechecks.of(case)
        if self.study.executes:
            prechecks.check_fits(case, found.memory)
        macs = count(found.cost["macs"], found.cost) if found.cost else None
        cost = (found.memory["total"] if found.memory else None, macs, seconds(case, found))
        trainings = len(self.recorder.missing_seeds(case))
        if not trainings:
            return Expected(case, *cost)
        job = self.study.job(case, 0)
        recipe = job.recipe
        step = replace(case, direction="training", batch=recipe.batch, dtype=recipe.dtype, threads=job.threads)
        steps = recipe.epochs * job.open_data().steps
        return Expected(case, *cost, trainings, steps * seconds(step, prechecks.of(step)))

    def results(self) -> Results:
        """What the records so far say, with the arms in the order asked for."""
        return self.recorder.results()

    def _take_over(self, group: Group) -> None:
        for case in group.cases:
            for record in self.recorder.take_over(case):
                if "process" in record.detail:
                    group.process_bytes[case.arm.label] = record.detail["process"]
                elif "total" in record.detail:
                    group.process_bytes.setdefault(case.arm.label, process_bytes(record.detail["total"]))
        group.launches = self.recorder.launches(group.cases)

    def _finished(self, group: Group, case: Case) -> bool:
        """Whether nothing more is to be found of the case, as far as a look goes."""
        return self._costed(group, case) and not self.recorder.missing_seeds(case)

    def _costed(self, group: Group, case: Case) -> bool:
        """The same of its cost alone."""
        timed = not self.study.timed or group.launches >= LOOK_LAUNCHES
        return timed and not self.recorder.missing(case, ["static", "exact"])

    # On paper

    def _precheck(self, prechecks: Prechecks, group: Group) -> None:
        """Static figures of the group, and an end for those of its cases that cannot be."""
        self.recorder.check_unchanged(group.cases)
        records: list[Record] = []
        ended: list[tuple[Case, ArmError]] = []
        for case in group.cases:
            if case.arm.control or self._finished(group, case):
                continue
            try:
                prechecks.vouch(case)
                found = prechecks.of(case, cross_check=True)
                records += self._static_records(case, found)
                if self.study.executes:
                    prechecks.check_fits(case, found.memory)
                predicted = found.memory["total"] if found.memory else 0
                group.process_bytes.setdefault(case.arm.label, process_bytes(predicted))
            except ArmError as end:
                ended.append((case, end))
        self.recorder.keep(records)
        for case, why in ended:
            group.leave(case)
            self.recorder.end(case, why)

    def _static_records(self, case: Case, found: Precheck) -> Iterator[Record]:
        """What is known on paper, and for what is not the reason."""
        cost, memory = found.cost or {}, found.memory or {}
        values = {
            "params": found.params,
            "macs": cost.get("macs"),
            "predicted_memory": memory["total"] / 2**20 if memory else None,
        }
        details = {"params": {}, "macs": {**cost, **memory}, "predicted_memory": memory}
        for name in self.recorder.missing(case, ["static"]):
            value = values[name]
            if value is None:
                yield self.recorder.ended(self.recorder.record(case, name, []), found.missing[name])
            else:
                yield self.recorder.record(case, name, [value], details[name])

    # Exact figures

    def _measure_exact(self, group: Group) -> None:
        """Also where memory is not asked for: this run finds out whether the output is whole."""
        if not self.study.executes:
            return
        self.recorder.check_unchanged(group.cases)
        wanted = [case for case in group.open if not case.arm.control and not self._costed(group, case)]
        while wanted:
            cases, wanted = wanted[:STARTING_AT_ONCE], wanted[STARTING_AT_ONCE:]
            with Workers(self._setup, group, cases) as workers:
                for case in cases:
                    self._measure_memory(workers, group, case)
            wanted += workers.again

    def _measure_memory(self, workers: Workers, group: Group, case: Case) -> None:
        began = time.monotonic()
        for _, peak in workers.in_turn("measuring peak memory", "memory", [case]):
            group.step_seconds[case.arm.label] = time.monotonic() - began
            group.process_bytes[case.arm.label] = peak["process"]
            if "peak_memory" in self.recorder.missing(case, ["exact"]):
                self.recorder.keep([self.recorder.record(case, "peak_memory", [peak["total"] / 2**20], peak)])
        if "max_batch" in self.recorder.missing(case, ["exact"]):
            limit = self._max_batch_limit
            for _, found in workers.in_turn("finding the largest batch", "max_batch", [case], "max_batch", limit=limit):
                self.recorder.keep([self.recorder.record(case, "max_batch", [found["batch"]], found)])

    # Timed figures

    def _measure_timed(self) -> None:
        for number in range(1, self.study.launches[-1] + 1):
            for group in self._schedule.groups:
                group.launches = self.recorder.launches(group.open)
                if group.launches < number and self._schedule.worth_a_launch(group, self._precise):
                    self.recorder.check_unchanged(group.cases)
                    Launch(self._setup, group).run()
                    group.launches = self.recorder.launches(group.open)
                    self._advance(group)

    # Figures of trained models

    def _train(self) -> None:
        """Last, because it takes longest."""
        cases = [
            case for group in self._schedule.groups for case in group.open if "top1" in self.study.metrics_of(case)
        ]
        for group in self._schedule.groups:
            self.recorder.check_unchanged(group.cases)
        Trainings(self._setup, self.recorder.folder / "training", self.study.trainings_at_once).run(cases)

    def _precise(self, group: Group) -> bool:
        return all(estimate.half_width <= self._effect / 2 for estimate in self._ratios(group).values())

    def _ratios(self, group: Group) -> dict[str, Estimate]:
        conditions = group.cases[0].conditions
        results = Results(self.recorder.of(group.cases), [arm.label for arm in self.study.arms], self.study.against)
        labels = [case.arm.label for case in group.cases if case.arm.label != self.study.against]
        found = {label: results.speed_ratio(conditions, label) for label in labels}
        return {label: estimate for label, estimate in found.items() if estimate}

    def _advance(self, group: Group) -> None:
        conditions = group.cases[0].conditions
        left = self._schedule.seconds_left()
        self._observer.advanced(Progress(conditions, group.launches, group.target, self._ratios(group), left))


def process_bytes(peak: int) -> int:
    """What a worker will about hold in all whose tensors have that peak: itself, and a heap with holes."""
    return 300 * 2**20 + 2 * peak
