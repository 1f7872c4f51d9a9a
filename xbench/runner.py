"""Study → plan → workers → records. The only loop over cases. What the ledger already holds is not measured again.

Exact figures come first, each case in a process of its own. Then come launches: fresh processes, one per arm of a
comparison group, which take turns in random order, block by block. A launch is in the ledger before the next begins.
"""

import random
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from xbench.data.photos import photo_paths
from xbench.identity import case_key, provenance
from xbench.metrics import METRICS
from xbench.process import PROCESS_POLICY, ArmError, ArmProcess
from xbench.records import Ledger, Record
from xbench.results import Results
from xbench.statistics import EFFECT, Estimate
from xbench.study import CLAIM_LAUNCHES, Case, Study
from xbench.watch import Clock, Limits, Observer, Progress, Silent

# Per launch: the least and the most rounds, and the seconds that decide between them.
ROUNDS = (3, 40, 12.0)
QUICK_ROUNDS = (1, 10, 3.0)
# Per launch and arm: seconds after which warming up ends in any case, and the least iterations.
WARM_UP = (5.0, 2)
QUICK_WARM_UP = (1.0, 1)
SECONDS_PER_ARM = 60.0
START_SECONDS = 120.0  # a worker may take to start, on top of the time limit of a turn
MEMORY_SHARE = 0.9  # of the memory that is free when the run starts, for one worker


@dataclass
class Group:
    """Cases that differ in the arm only. A case that can give no more figures leaves ``open``.

    ``done`` holds (arm, metric) of the exact figures that are there; ``launches`` counts those that every arm finished.
    """

    cases: list[Case]
    open: list[Case]
    done: set[tuple[str, str]] = field(default_factory=set)
    launches: int = 0
    launch_seconds: float | None = None
    step_seconds: dict[str, float] = field(default_factory=dict)


class Runner:
    """Measures a study into a ledger."""

    def __init__(self, study: Study, ledger: Ledger, observer: Observer | None = None, limits: Limits | None = None):
        self.study = study
        self.ledger = ledger
        self.observer: Observer = observer or Silent()
        self.limits = limits or Limits()
        self.run_id = uuid.uuid4().hex[:12]
        self.clock = Clock()
        self.records: list[Record] = []
        self._photos = [str(path) for path in photo_paths(study.images)]
        self._memory_limit = self.limits.memory_bytes or int(psutil.virtual_memory().available * MEMORY_SHARE)
        self._order = random.Random(self.run_id)
        self._groups = [self._group(cases) for cases in study.groups()]
        self._take_over(ledger.read())
        self._seconds = self.limits.seconds or SECONDS_PER_ARM * sum(len(group.cases) for group in self._groups)
        self._processes: list[ArmProcess] = []

    def _group(self, cases: list[Case]) -> Group:
        if self.study.timed and len(cases) > 1 and not self.study.quick:
            reference = next(case for case in cases if case.arm.label == self.study.against)
            again = replace(reference.arm, label=f"{reference.arm.label} (control)", control=True)
            cases = [*cases, replace(reference, arm=again)]
        return Group(cases, open=list(cases))

    def _take_over(self, held: list[Record]) -> None:
        """Counts as done what an earlier run of the same case, code and machine left in the ledger.

        A launch counts when every arm finished it: only then are its samples paired.
        """
        for group in self._groups:
            asked = [(case, name) for case in group.cases for name in self.study.metrics]
            keys = {(case.arm.label, name): self._key(case, name) for case, name in asked}
            launches: dict[tuple[str, int], list[Record]] = {}
            for record in held:
                place = record.case.get("arm", ""), record.metric
                if record.status == "ok" and keys.get(place) == record.key:
                    if METRICS[record.metric].exact:
                        group.done.add(place)
                        self.records.append(record)
                    else:
                        launches.setdefault((record.run, record.launch), []).append(record)
            timed = {place for place in keys if not METRICS[place[1]].exact}
            for records in launches.values():
                if {(record.case["arm"], record.metric) for record in records} == timed:
                    group.launches += 1
                    self.records += records

    def run(self) -> list[Record]:
        """Measures everything and returns the records, which the ledger already holds.

        Raises:
            UserError: the ledger can no longer be written.
        """
        try:
            for group in self._groups:
                self._measure_exact(group)
            if self.study.timed:
                self._measure_timed()
        finally:
            self._stop_processes()
        return self.records

    # Exact figures

    def _measure_exact(self, group: Group) -> None:
        exact = [name for name in self.study.metrics if METRICS[name].exact]
        wanted = {
            case: [name for name in exact if (case.arm.label, name) not in group.done]
            for case in group.cases
            if not case.arm.control
        }
        arms = self._start(group, [case for case, names in wanted.items() if names or not group.launches])
        counted = [case for case in arms if {"params", "macs"} & set(wanted[case])]
        for case in self._open(group, counted):
            with self._ending(group, case):
                self.observer.doing(case, "counting parameters and MACs")
                arms[case].send("cost")
        for case in self._open(group, counted):
            with self._ending(group, case):
                cost = arms[case].receive()
                found = [name for name in ("params", "macs") if name in wanted[case]]
                self._keep([self._record(case, name, [cost[name]], detail=cost) for name in found])
        # Also where memory is not asked for: this run finds out whether the output is whole.
        for case in self._open(group, arms):
            with self._ending(group, case), self.clock.counting("model"):
                self.observer.doing(case, "measuring peak memory")
                began = time.monotonic()
                peak = arms[case].ask("memory")
                group.step_seconds[case.arm.label] = time.monotonic() - began
                if "peak_memory" in wanted[case]:
                    self._keep([self._record(case, "peak_memory", [peak["total"] / 2**20], detail=peak)])
            arms[case].stop()

    # Timed figures

    def _measure_timed(self) -> None:
        for launch in range(1, self.study.launches[-1] + 1):
            for group in self._groups:
                if group.launches == launch - 1 and self._worth_a_launch(group):
                    self._launch(group, launch)
                    self._advance()

    def _worth_a_launch(self, group: Group) -> bool:
        """Looks at precision and budget only at fixed numbers of launches, so that looking does not bend the result.

        Without a budget from the user, what a claim needs is always measured, and more only while it is quick.
        """
        stops = self.study.launches
        if all(case.arm.control for case in group.open):
            return False
        if group.launches not in stops:
            return True
        if group.launches < CLAIM_LAUNCHES and self.limits.seconds is None:
            return True
        if group.launches >= CLAIM_LAUNCHES and self._precise(group):
            return False
        following = next(n for n in stops if n > group.launches)
        expected = (following - group.launches) * (group.launch_seconds or 0.0)
        return self.clock.total + expected <= self._seconds

    def _precise(self, group: Group) -> bool:
        found = self._ratios(group).values()
        return all(estimate.half_width <= EFFECT / 2 for estimate in found)

    def _ratios(self, group: Group) -> dict[str, Estimate]:
        results = Results(self.records)
        metric = results.speed_metric
        assert metric is not None
        labels = [case.arm.label for case in group.cases if case.arm.label != self.study.against]
        found = {label: results.ratio(group.cases[0].conditions, label, metric) for label in labels}
        return {label: estimate for label, estimate in found.items() if estimate}

    def _launch(self, group: Group, launch: int) -> None:
        began = time.monotonic()
        batches = self._batches(group.cases[0])
        arms = self._start(group, group.open)
        warm: dict[Case, dict[int, dict[str, Any]]] = {}
        blocks: dict[Case, dict[int, list[dict[str, Any]]]] = {}
        seconds, at_least = QUICK_WARM_UP if self.study.quick else WARM_UP
        for case in self._open(group, self._shuffled(arms)):
            with self._ending(group, case), self.clock.counting("model"):
                self.observer.doing(case, f"launch {launch}: warming up")
                limits = {"seconds": seconds, "at_least": at_least}
                warm[case] = {batch: arms[case].ask("warm_up", batch=batch, **limits) for batch in batches}
                blocks[case] = {batch: [] for batch in batches}
        round_seconds = sum(w["seconds"] * w["block_iterations"] for found in warm.values() for w in found.values())
        rounds = self._rounds(round_seconds)
        for turn in range(1, rounds + 1):
            for case in self._open(group, self._shuffled(arms)):
                with self._ending(group, case), self.clock.counting("model"):
                    self.observer.doing(case, f"launch {launch}: round {turn} of {rounds}")
                    for batch in batches:
                        blocks[case][batch].append(arms[case].ask("block", batch=batch))
        records: list[Record] = []
        for case in self._open(group, arms):
            with self._ending(group, case):
                device = self._device(case, arms[case])
                records += self._timed_records(case, launch, blocks[case], warm[case], device)
        self._stop_processes()
        self._keep(records)
        group.launches = launch
        group.launch_seconds = time.monotonic() - began

    def _batches(self, case: Case) -> list[int]:
        """Batch sizes to time: latency is at batch 1, throughput at the case's own."""
        metrics = self.study.metrics
        wanted = [case.batch] if "throughput" in metrics else []
        return list(dict.fromkeys(wanted + ([1] if "latency" in metrics else [])))

    def _rounds(self, round_seconds: float) -> int:
        low, high, seconds = QUICK_ROUNDS if self.study.quick else ROUNDS
        return max(low, min(high, int(seconds / max(round_seconds, 1e-9))))

    def _device(self, case: Case, process: ArmProcess) -> dict[str, Any]:
        """On CUDA, device times with a cold L2 cache if they are wanted, and the clock and temperature afterwards."""
        if case.device != "cuda":
            return {}
        with self.clock.counting("model"):
            wanted = "device_time" in self.study.metrics
            times = process.ask("device_time") if wanted else []
        return {"times": times, **process.ask("device")}

    def _timed_records(
        self, case: Case, launch: int, blocks: dict[int, list], warm: dict[int, dict], device: dict[str, Any]
    ) -> list[Record]:
        found = []
        if times := device.pop("times", []):
            found.append(self._record(case, "device_time", [1e3 * s for s in times], launch, {"device": device}))
        for batch, taken in blocks.items():
            seconds = [block["seconds"] for block in taken]
            detail = {
                "batch": batch,
                "warm_up": warm[batch],
                "measured_seconds": sum(seconds) * warm[batch]["block_iterations"],
                "faults_per_iteration": max(block["faults"] for block in taken),
                "involuntary_switches": sum(block["involuntary_switches"] for block in taken),
                "steal_seconds": sum(block["steal_seconds"] for block in taken),
                "stall_seconds": sum(block["stall_seconds"] for block in taken),
                "device": device,
            }
            if batch == 1 and "latency" in self.study.metrics:
                found.append(self._record(case, "latency", [1e3 * s for s in seconds], launch, detail))
            if batch == case.batch and "throughput" in self.study.metrics:
                found.append(self._record(case, "throughput", [batch / s for s in seconds], launch, detail))
        return found

    def _advance(self) -> None:
        known = [group.launch_seconds for group in self._groups if group.launch_seconds]
        left = 0.0
        for group in self._groups:
            guess = group.launch_seconds or max(sum(known) / len(known), 3 * sum(group.step_seconds.values()))
            left += max(0, self._planned(group) - group.launches) * guess
        for group in self._groups:
            if group.launches:
                self.observer.advanced(
                    Progress(group.cases[0].conditions, group.launches, self._planned(group), self._ratios(group), left)
                )

    def _planned(self, group: Group) -> int:
        return max(group.launches, min(CLAIM_LAUNCHES, self.study.launches[-1]))

    # Processes

    def _start(self, group: Group, cases: list[Case]) -> dict[Case, ArmProcess]:
        """Fresh processes with their cases built. Starting and building overlap: nothing is measured meanwhile."""
        with self.clock.counting("start"):
            for case in cases:
                self.observer.doing(case, "starting a process")
            arms = {case: ArmProcess(case, self._memory_limit, self.limits.turn_seconds) for case in cases}
            self._processes = list(arms.values())
            for case in self._open(group, arms):
                with self._ending(group, case):
                    arms[case].send("build", case=case.flat(), photos=self._photos)
            for case in self._open(group, arms):
                with self._ending(group, case):
                    arms[case].receive(extra_seconds=START_SECONDS)
        return arms

    def _stop_processes(self) -> None:
        for process in self._processes:
            process.stop()

    def _shuffled(self, arms: dict[Case, ArmProcess]) -> list[Case]:
        return self._order.sample(list(arms), len(arms))

    def _open(self, group: Group, cases: Iterable[Case]) -> Iterator[Case]:
        """Those of ``cases`` that can still give figures, judged when each one's turn comes."""
        return (case for case in list(cases) if case in group.open)

    @contextmanager
    def _ending(self, group: Group, case: Case) -> Iterator[None]:
        """Turns the end of a worker into records of what it cannot give, and takes the case out of the group."""
        try:
            yield
        except ArmError as end:
            group.open.remove(case)
            if not case.arm.control:
                done = {r.metric for r in self.records if r.case == case.flat() and METRICS[r.metric].exact}
                missing = [self._record(case, name, []) for name in self.study.metrics if name not in done]
                self._keep([replace(record, status=end.status, reason=end.reason) for record in missing])

    # Records

    def _key(self, case: Case, metric: str) -> str:
        return case_key(case, metric, PROCESS_POLICY)

    def _record(
        self, case: Case, metric: str, samples: list[float], launch: int = 0, detail: dict[str, Any] | None = None
    ) -> Record:
        return Record(
            run=self.run_id,
            study=self.study.name,
            key=self._key(case, metric),
            case=case.flat(),
            metric=metric,
            unit=METRICS[metric].unit,
            against=self.study.against,
            launch=launch,
            samples=samples,
            detail=detail or {},
            **provenance(case.device),
        )

    def keep_overhead(self) -> None:
        """Records where the time of the run went until now."""
        clock = self.clock
        detail = {"total_seconds": clock.total, "start_seconds": clock.start, "model_seconds": clock.model}
        record = Record(
            run=self.run_id,
            study=self.study.name,
            key="",
            case={},
            metric="overhead",
            unit="share",
            samples=[clock.overhead],
            detail=detail,
            **provenance(self.study.device),
        )
        self._keep([record])

    def _keep(self, records: list[Record]) -> None:
        self.records += records
        self.ledger.append(records)
        self.observer.recorded(records)
