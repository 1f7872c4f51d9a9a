"""Study → plan → workers → records. The only loop over cases. What the ledger already holds is not measured again.

First every case is surveyed on paper, so that what cannot be is known before time is spent. Then come exact figures,
each case in a process of its own, and then launches. A launch is in the ledger before the next begins.
"""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import psutil

from xbench.book import Book
from xbench.crew import Bench, Crew
from xbench.data.photos import photo_paths
from xbench.forecast import Expected, step_seconds
from xbench.launch import MEMORY_SHARE, PACE, QUICK_PACE, Launch
from xbench.plan import Group, Plan
from xbench.process import PROCESS_POLICY, ArmError
from xbench.records import Ledger, Record
from xbench.results import Results
from xbench.statistics import EFFECT, Estimate
from xbench.study import Case, Study
from xbench.survey import Surveyor
from xbench.watch import Clock, Limits, Observer, Progress, Silent


class Runner:
    """Measures a study into a ledger."""

    def __init__(self, study: Study, ledger: Ledger, observer: Observer | None = None, limits: Limits | None = None):
        self.study = study
        self.clock = Clock()
        self._observer: Observer = observer or Silent()
        limits = limits or Limits()
        photos = photo_paths(study.images)
        inputs = hashlib.sha256(b"".join(path.read_bytes() for path in photos)).hexdigest()[:16]
        exact: dict[str, Any] = {**PROCESS_POLICY, "inputs": inputs}
        pace = QUICK_PACE if study.quick else PACE
        policy = {
            "static": {},
            "exact": exact,
            "max_batch": {**exact, "memory_limit": limits.memory_bytes},
            "timed": {**exact, **pace},
        }
        self.book = Book(study, ledger, self._observer, policy)
        self._bench = Bench(
            self.book,
            self.clock,
            self._observer,
            photos=[str(path) for path in photos],
            memory_limit=limits.memory_bytes or int(psutil.virtual_memory().available * MEMORY_SHARE),
            turn_seconds=limits.turn_seconds,
        )
        self._plan = Plan(study, limits.seconds, self.clock)

    def run(self) -> list[Record]:
        """Measures everything and returns the records, which the ledger already holds.

        Raises:
            UserError: the ledger can no longer be written, or the code was edited meanwhile.
        """
        for group in self._plan.groups:
            self._take_over(group)
        with Surveyor(self._bench) as surveyor:
            for group in self._plan.groups:
                self._survey(surveyor, group)
        for group in self._plan.groups:
            self._measure_exact(group)
        if self.study.timed:
            self._measure_timed()
        return self.book.records

    def forecast(self) -> list[Expected]:
        """What ``run`` would do, case by case, found on paper."""
        expected = []
        limits: dict[tuple[str, int], dict[str, Any]] = {}
        with Surveyor(self._bench) as surveyor:
            for group in self._plan.groups:
                self._take_over(group)
                for case in [case for case in group.cases if not case.arm.control]:
                    if not self._wanting(case):
                        expected.append(Expected(case, held=True))
                        continue
                    try:
                        found = surveyor.survey(case, cross_check=False)
                        if self.study.executes:
                            surveyor.check_fits(case, found["predicted_memory"]["total"])
                        key = (case.dtype, case.threads)
                        limits[key] = limits.get(key) or surveyor.limits(case)
                    except ArmError as end:
                        expected.append(Expected(case, reason=f"{end.status}: {end.reason}"))
                        continue
                    memory, macs = found["predicted_memory"], found["cost"]["macs"]
                    seconds = step_seconds(case, macs, memory["traffic"], limits[key])
                    expected.append(Expected(case, memory["total"], macs, seconds))
        return expected

    def results(self) -> Results:
        """What the records so far say, with the arms in the order asked for."""
        return self.book.results()

    def _take_over(self, group: Group) -> None:
        for case in group.cases:
            for record in self.book.take_over(case, ["static", "exact"]):
                if record.metric == "peak_memory":
                    group.peak_bytes[case.arm.label] = record.detail["total"]

    def _wanting(self, case: Case) -> bool:
        """Whether the case still lacks a figure, or has never been run."""
        if case.arm.control:
            return False
        return bool(self.book.missing(case, ["static", "exact"])) or (self.study.timed and not self.book.has_run(case))

    # On paper

    def _survey(self, surveyor: Surveyor, group: Group) -> None:
        """Static figures of the group, and an end for those of its cases that cannot be."""
        last = {group.cases[0].level: group for group in self._plan.groups}
        cross_check = self.study.executes and group in last.values()
        records: list[Record] = []
        ended: list[tuple[Case, ArmError]] = []
        for case in [case for case in group.cases if self._wanting(case)]:
            try:
                found = surveyor.survey(case, cross_check=cross_check)
                records += self._static_records(case, found)
                needed = found["predicted_memory"]["total"]
                group.peak_bytes.setdefault(case.arm.label, needed)
                if self.study.executes:
                    surveyor.check_fits(case, needed)
            except ArmError as end:
                ended.append((case, end))
        self.book.keep(records)
        for case, end in ended:
            group.open.remove(case)
            self.book.end(case, end)

    def _static_records(self, case: Case, found: dict[str, Any]) -> Iterator[Record]:
        cost, memory = found["cost"], found["predicted_memory"]
        values = {"params": cost["params"], "macs": cost["macs"], "predicted_memory": memory["total"] / 2**20}
        details = {"params": {}, "macs": {**cost, **memory}, "predicted_memory": memory}
        for name in self.book.missing(case, ["static"]):
            yield self.book.record(case, name, [values[name]], details[name])

    # Exact figures

    def _measure_exact(self, group: Group) -> None:
        """Also where memory is not asked for: this run finds out whether the output is whole."""
        if not self.study.executes:
            return
        wanted = [case for case in group.open if self._wanting(case)]
        with Crew(self._bench, group, wanted) as crew:
            for case in wanted:
                began = time.monotonic()
                for _, peak in crew.in_turn("measuring peak memory", "memory", [case]):
                    group.step_seconds[case.arm.label] = time.monotonic() - began
                    group.peak_bytes[case.arm.label] = peak["total"]
                    if "peak_memory" in self.book.missing(case, ["exact"]):
                        self.book.keep([self.book.record(case, "peak_memory", [peak["total"] / 2**20], peak)])
                if "max_batch" in self.book.missing(case, ["exact"]):
                    limit = self._bench.memory_limit
                    for _, found in crew.in_turn("finding the largest batch", "max_batch", [case], limit=limit):
                        self.book.keep([self.book.record(case, "max_batch", [found["batch"]], found)])
                crew.dismiss(case)

    # Timed figures

    def _measure_timed(self) -> None:
        for group in self._plan.groups:
            held = self.book.held_launches(group.open)
            group.launches = len(held)
            for records in held:
                self.book.add(records)
        for number in range(1, self.study.launches[-1] + 1):
            for group in self._plan.groups:
                if group.launches == number - 1 and self._plan.worth_a_launch(group, self._precise):
                    self.book.check_unchanged(group.cases)
                    Launch(self._bench, group, number, self.study.quick).run()
                    self._advance(group)

    def _precise(self, group: Group) -> bool:
        return all(estimate.half_width <= EFFECT / 2 for estimate in self._ratios(group).values())

    def _ratios(self, group: Group) -> dict[str, Estimate]:
        results = self.results()
        labels = [case.arm.label for case in group.cases if case.arm.label != self.study.against]
        found = {label: results.speed_ratio(group.cases[0].conditions, label) for label in labels}
        return {label: estimate for label, estimate in found.items() if estimate}

    def _advance(self, group: Group) -> None:
        conditions = group.cases[0].conditions
        left = self._plan.seconds_left()
        self._observer.advanced(Progress(conditions, group.launches, group.target, self._ratios(group), left))
