"""Study → plan → workers → records. The only loop over cases. What the ledger already holds is not measured again.

Whoever measures says what happened; here alone it is written down, and here alone the state of the run is changed.

First every case is surveyed on paper, so that what cannot be is known before time is spent. Then come exact figures,
each case in a process of its own, and then launches. A launch is in the ledger before the next begins.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from xbench.analysis.results import Results
from xbench.data.photos import photo_paths
from xbench.errors import UserError
from xbench.files.temporary import scratch
from xbench.metrics.definitions import PROBES, PUBLISHED
from xbench.models.published import SOURCE, published_top1
from xbench.parsing.axes import ENGINES, OWN_SIZE
from xbench.processes.parent import EVERY_WORKER, ArmError
from xbench.records.ledger import Ledger
from xbench.records.provenance import surroundings
from xbench.records.record import Record
from xbench.runner.estimate import Expected, expect, plan_of
from xbench.runner.exact import ExactOutcome, measure_exact
from xbench.runner.launch import PACE, QUICK_PACE, Launch
from xbench.runner.precheck import Precheck, Prechecks, process_bytes
from xbench.runner.progress import Clock, Observer, Progress, RunLimits, Silent
from xbench.runner.recorder import Recorder
from xbench.runner.stopping import GroupState, Schedule
from xbench.runner.trainings import Training, TrainingOutcome, Trainings, training_folder
from xbench.runner.workers import Ending, Setup
from xbench.statistics.estimates import Estimate
from xbench.statistics.verdicts import EFFECT
from xbench.study.case import Case
from xbench.study.study import LOOK_LAUNCHES, Study
from xbench.training.starts import digest_of

MEMORY_SHARE = 0.9  # of the free memory, for one worker
ROOM_SHARE = 0.8  # of the free memory, for all arms of a heat together: near the edge the kernel takes pages from them

# Of a group, for what a plain script gets, before its last launch with it. It takes longest of all, and is in the first
# launches only: its intervals are none that a claim rests on.
STOCK_SECONDS = 15.0

# Parts of what a training run tells of itself that a record holds; by weights and order arms are held to be equal.
OF_ALL = ("images", "history", "job", "parameters", "shared_weights")
OF_TASK = (*OF_ALL, "correct", "low", "high", "ap75", "objects", "data", "data_order")  # as far as a task has them
OF_PROBE = (*OF_ALL, "by_pairs", "capacity", "steps", "steps_to_held", "rate", "finished", "trials")


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
        begun = {"start": digest_of(Path(study.start))} if study.start else {}
        policy = {
            "static": {},
            "exact": exact,
            "max_batch": {**exact, "memory_limit": limits.memory_bytes},
            "timed": {**exact, **pace, **surroundings()},
            "trained": {"data": study.data, "recipe": study.recipe.as_dict(), "unreadable": study.unreadable, **begun},
            **{name: {"pairs": list(study.pairs), "recipe": study.probe.as_dict()} for name in PROBES},
        }
        self.recorder = Recorder(study, ledger, self._observer, policy, photos)
        free = psutil.virtual_memory().available
        self._setup = Setup(
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
        engines = any(case.arm.mode in ENGINES for case in self.study.cases())
        with scratch() if engines else nullcontext() as folder:
            self._setup = replace(self._setup, exports=str(folder or ""))
            with Prechecks(self._setup) as prechecks:
                for group in groups:
                    self._precheck(prechecks, group)
                if self.study.timed or self.study.trains:  # else all is found by now
                    self._observer.planned(lambda: plan_of(self.study, self._expected(prechecks)))
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
        with Prechecks(self._setup) as prechecks:
            return self._expected(prechecks)

    def _expected(self, prechecks: Prechecks) -> list[Expected]:
        expected = []
        for group in self._schedule.groups:
            for case in [case for case in group.cases if not case.arm.control]:
                if self._finished(group, case):
                    expected.append(Expected(case, held=True))
                    continue
                try:
                    trainings = [metrics[0] for _, metrics in self.recorder.missing_trainings(case)]
                    expected.append(expect(self.study, prechecks, case, trainings))
                except ArmError as end:
                    expected.append(Expected(case, reason=f"{end.status}: {end.reason}"))
        return expected

    def results(self) -> Results:
        """What the records so far say, with the arms in the order asked for."""
        return self.recorder.results()

    def _take_over(self, group: GroupState) -> None:
        for case in group.cases:
            for record in self.recorder.take_over(case):
                if "process" in record.detail:
                    group.process_bytes[case.arm.label] = record.detail["process"]
                elif "total" in record.detail:
                    group.process_bytes.setdefault(case.arm.label, process_bytes(record.detail["total"]))
        group.launches = self.recorder.launches(group.cases)

    def _finished(self, group: GroupState, case: Case) -> bool:
        """Whether nothing more is to be found of the case, as far as a look goes."""
        return self._costed(group, case) and not self.recorder.missing_seeds(case)

    def _costed(self, group: GroupState, case: Case) -> bool:
        """The same of its cost alone."""
        timed = not self.study.timed or group.launches >= LOOK_LAUNCHES
        return timed and not self.recorder.missing(case, ["static", "exact"])

    # On paper

    def _precheck(self, prechecks: Prechecks, group: GroupState) -> None:
        """Static figures of the group, and an end for those of its cases that cannot be."""
        self.recorder.check_unchanged(group.cases)
        records: list[Record] = []
        endings: list[Ending] = []
        for case in group.cases:
            if case.arm.control or self._finished(group, case):
                continue
            try:
                self.recorder.note(case, prechecks.vouch(case))
                found = prechecks.of(case, cross_check=True)
                records += self._static_records(case, found)
                if self.study.executes:
                    prechecks.check_fits(case, found.memory)
                predicted = found.memory["total"] if found.memory else 0
                group.process_bytes.setdefault(case.arm.label, process_bytes(predicted))
            except ArmError as end:
                endings.append(Ending(case, end))
        self.recorder.keep(records)
        for ending in endings:
            group.standing = group.standing.after(ending)
        self._keep_endings(endings)

    def _keep_endings(self, endings: Iterable[Ending]) -> None:
        for ending in endings:
            self.recorder.end(ending.case, ending.why, None if ending.metric is None else [ending.metric])

    def _static_records(self, case: Case, found: Precheck) -> Iterator[Record]:
        """What is known on paper, and for what is not the reason."""
        figures = found.figures
        for name in self.recorder.missing(case, ["static"]):
            if name == PUBLISHED:
                yield self._published(case)
                continue
            value, detail = figures[name]
            if value is None:
                yield self.recorder.ended(self.recorder.record(case, name, []), found.missing[name])
            else:
                yield self.recorder.record(case, name, [value], detail)

    def _published(self, case: Case) -> Record:
        """What others found of a timm model; a row with the reason where they tell of no such size."""
        img_size = case.arm.made_for if case.img_size == OWN_SIZE else case.img_size
        assert case.arm.baseline is not None
        assert img_size is not None
        try:
            value, weights = published_top1(case.arm.baseline, img_size)
        except UserError as error:
            return self.recorder.ended(self.recorder.record(case, PUBLISHED, []), ArmError("unsupported", str(error)))
        return self.recorder.record(case, PUBLISHED, [value], {"weights": weights, "source": SOURCE})

    # Exact figures

    def _measure_exact(self, group: GroupState) -> None:
        """Also where memory is not asked for: this run finds out whether the output is whole."""
        if not self.study.executes:
            return
        self.recorder.check_unchanged(group.cases)
        cases = [case for case in group.standing.open if not case.arm.control and not self._costed(group, case)]
        wanted = {case: self.recorder.missing(case, ["exact"]) for case in cases}
        with closing(measure_exact(self._setup, group.standing, wanted, self._max_batch_limit)) as outcomes:
            for outcome in outcomes:
                self._take_in_exact(group, outcome)

    def _take_in_exact(self, group: GroupState, outcome: ExactOutcome) -> None:
        group.standing = outcome.standing
        self._keep_endings(outcome.endings)
        if not (figure := outcome.figure):
            return
        case, metric = figure.case, figure.metric
        if metric == "peak_memory":
            group.step_seconds[case.arm.label] = figure.seconds
            group.process_bytes[case.arm.label] = figure.detail["process"]
        if metric in self.recorder.missing(case, ["exact"]):
            self.recorder.keep([self.recorder.record(case, metric, figure.samples, figure.detail)])

    # Timed figures

    def _measure_timed(self) -> None:
        for number in range(1, self.study.launches[-1] + 1):
            for group in self._schedule.groups:
                group.launches = self.recorder.launches(group.standing.open)
                if group.launches < number and self._schedule.worth_a_launch(group, self._precise):
                    self.recorder.check_unchanged(group.cases)
                    self._launch(group)
                    self._advance(group)

    def _launch(self, group: GroupState) -> None:
        group.began += 1
        stock = group.began <= LOOK_LAUNCHES and group.stock_seconds <= STOCK_SECONDS
        recorder = self.recorder
        launch = Launch(self._setup, self.study, group.standing, recorder.record, recorder.run_id, group.began)
        outcome = launch.run(group.process_bytes, stock=stock)
        group.standing = outcome.standing
        group.launch_seconds = outcome.seconds
        group.stock_seconds += outcome.stock_seconds
        self._keep_endings(outcome.endings)
        recorder.keep([*outcome.records])
        group.launches = recorder.launches(group.standing.open)

    # Figures of trained models

    def _train(self) -> None:
        """Last, because it takes longest. All first seeds come before all second ones."""
        for group in self._schedule.groups:
            self.recorder.check_unchanged(group.cases)
        trainings = Trainings(self._setup, self.study.trainings_at_once)
        with closing(trainings.run(self._trainings())) as outcomes:
            for outcome in outcomes:
                self._keep_trained(outcome)

    def _trainings(self) -> list[Training]:
        """Those that have no record yet."""
        cases = [case for group in self._schedule.groups for case in group.standing.open]
        missing = [(seed, case, metrics) for case in cases for seed, metrics in self.recorder.missing_trainings(case)]
        found = []
        for seed, case, metrics in sorted(missing, key=lambda one: one[0]):
            job = self.study.job(case, metrics[0], seed)
            folder = training_folder(self.recorder.folder / "training", job, self.recorder.key(case, metrics[0]))
            found.append(Training(case, metrics, seed, job, folder))
        return found

    def _keep_trained(self, outcome: TrainingOutcome) -> None:
        training, result = outcome.training, outcome.result or {}
        records = []
        for metric in training.metrics:
            value, kept = ("score", OF_PROBE) if metric in PROBES else (metric, OF_TASK)
            detail = {key: result[key] for key in kept if key in result}
            samples = [result[value]] if result else []
            record = self.recorder.record(training.case, metric, samples, detail, launch=training.seed)
            records.append(self.recorder.ended(record, outcome.why) if outcome.why else record)
        self.recorder.keep(records)

    def _precise(self, group: GroupState) -> bool:
        return all(estimate.half_width <= self._effect / 2 for estimate in self._ratios(group).values())

    def _ratios(self, group: GroupState) -> dict[str, Estimate]:
        conditions = group.cases[0].conditions
        results = Results(self.recorder.of(group.cases), [arm.label for arm in self.study.arms], self.study.against)
        labels = [case.arm.label for case in group.cases if case.arm.label != self.study.against]
        found = {label: results.speed_ratio(conditions, label) for label in labels}
        return {label: estimate for label, estimate in found.items() if estimate}

    def _advance(self, group: GroupState) -> None:
        conditions = group.cases[0].conditions
        left = self._schedule.seconds_left()
        self._observer.advanced(
            Progress(conditions, group.launches, self._schedule.planned(group), self._ratios(group), left)
        )


def run_study(
    study: Study,
    ledger: Ledger,
    observer: Observer | None = None,
    limits: RunLimits | None = None,
    effect: float = EFFECT,
) -> Results:
    """Measures a study into a ledger, and gives what it then says. See ``Runner`` for the arguments.

    Raises:
        UserError: see ``Runner.run``.
    """
    runner = Runner(study, ledger, observer, limits, effect)
    runner.run()
    return runner.results()
