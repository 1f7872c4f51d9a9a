"""Study → plan → workers → records. The only loop over cases. What the ledger already holds is not measured again.

Exact figures come first, each case in a process of its own. Then come launches: fresh processes, one per arm of a
comparison group, which take turns in random order, block by block. A launch is in the ledger before the next begins.
"""

import hashlib
import random
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil

from xbench.data.photos import photo_paths
from xbench.errors import UserError
from xbench.identity import case_key, forget_sources, provenance
from xbench.metrics import METRICS
from xbench.plan import Group, Plan
from xbench.process import PROCESS_POLICY, ArmError, ArmProcess
from xbench.records import Ledger, Record
from xbench.results import Results
from xbench.statistics import EFFECT, Estimate
from xbench.study import Case, Study
from xbench.watch import Clock, Limits, Observer, Progress, Silent

# Per launch: seconds after which warming an arm up ends in any case, and the least iterations; then the least and the
# most rounds, and the seconds that decide between them.
PACE = {"warm_up": (5.0, 2), "rounds": (3, 40, 12.0)}
QUICK_PACE = {"warm_up": (1.0, 1), "rounds": (1, 10, 3.0)}
START_SECONDS = 120.0  # a worker may take to start, on top of the time limit of a turn
MEMORY_SHARE = 0.9  # of the free memory: for one worker, and for all arms of a launch together


class Runner:
    """Measures a study into a ledger."""

    def __init__(self, study: Study, ledger: Ledger, observer: Observer | None = None, limits: Limits | None = None):
        self.study = study
        self.ledger = ledger
        self.observer: Observer = observer or Silent()
        self.limits = limits or Limits()
        self._pace: dict[str, tuple[Any, ...]] = QUICK_PACE if study.quick else PACE
        self.run_id = uuid.uuid4().hex[:12]
        self.clock = Clock()
        self.records: list[Record] = []
        self._notes: dict[str | None, dict[str, str]] = {}
        photos = photo_paths(study.images)
        self._photos = [str(path) for path in photos]
        self._inputs = hashlib.sha256(b"".join(path.read_bytes() for path in photos)).hexdigest()[:16]
        self._memory_limit = self.limits.memory_bytes or int(psutil.virtual_memory().available * MEMORY_SHARE)
        self._order = random.Random(self.run_id)
        forget_sources()
        self._plan = Plan(study, self.limits.seconds, self.clock)
        self._keys = {(case, name): self._key(case, name) for case in study.cases() for name in study.metrics}
        self._held = [record for record in ledger.read() if record.status == "ok" and record.case]
        self._processes: list[ArmProcess] = []

    def _held_records(self, group: Group, cases: list[Case], *, exact: bool) -> list[Record]:
        """What an earlier run of the same cases, code, input and machine left in the ledger."""
        names = [name for name in self.study.metrics if METRICS[name].exact == exact]
        keys = {(case.arm.label, name): self._keys[case, name] for case in cases for name in names}
        return [record for record in self._held if keys.get((record.case["arm"], record.metric)) == record.key]

    def _take_over_exact(self, group: Group) -> None:
        for record in self._held_records(group, group.cases, exact=True):
            group.done.add((record.case["arm"], record.metric))
            self.records.append(record)
            if record.metric == "peak_memory":
                group.peak_bytes[record.case["arm"]] = record.detail["total"]

    def _held_launches(self, group: Group) -> list[list[Record]]:
        """Those that every arm still open finished: only then are their samples paired."""
        launches: dict[tuple[str, int], list[Record]] = {}
        for record in self._held_records(group, group.open, exact=False):
            launches.setdefault((record.run, record.launch), []).append(record)
        timed = sum(not METRICS[name].exact for name in self.study.metrics) * len(group.open)
        return [held for held in launches.values() if len({(r.case["arm"], r.metric) for r in held}) == timed]

    def run(self) -> list[Record]:
        """Measures everything and returns the records, which the ledger already holds.

        Raises:
            UserError: the ledger can no longer be written.
        """
        try:
            for group in self._plan.groups:
                self._take_over_exact(group)
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
        arms = self._start(group, [case for case, names in wanted.items() if names or not self._held_launches(group)])
        self._vouch(group, arms)
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
                group.peak_bytes[case.arm.label] = peak["total"]
                if "peak_memory" in wanted[case]:
                    self._keep([self._record(case, "peak_memory", [peak["total"] / 2**20], detail=peak)])
            arms[case].stop()

    def _vouch(self, group: Group, arms: dict[Case, ArmProcess]) -> None:
        """Asks once per attention whether it is one, by the quick conformance checks, and how it was adapted."""
        asked = list({case.arm.attn: case for case in arms if case.arm.attn not in self._notes}.values())
        for case in self._open(group, asked):
            with self._ending(group, case):
                self.observer.doing(case, "checking the attention")
                arms[case].send("vouch")
        for case in self._open(group, asked):
            with self._ending(group, case), self.clock.counting("model"):
                self._notes[case.arm.attn] = arms[case].receive()
                self.observer.noted(case, self._notes[case.arm.attn])

    # Timed figures

    def _measure_timed(self) -> None:
        for group in self._plan.groups:
            held = self._held_launches(group)
            group.launches = len(held)
            self.records += [record for records in held for record in records]
        for launch in range(1, self.study.launches[-1] + 1):
            for group in self._plan.groups:
                if group.launches == launch - 1 and self._plan.worth_a_launch(group, self._precise):
                    self._launch(group, launch)
                    self._advance(group)

    def _precise(self, group: Group) -> bool:
        return all(estimate.half_width <= EFFECT / 2 for estimate in self._ratios(group).values())

    def _ratios(self, group: Group) -> dict[str, Estimate]:
        results = self.results()
        labels = [case.arm.label for case in group.cases if case.arm.label != self.study.against]
        found = {label: results.speed_ratio(group.cases[0].conditions, label) for label in labels}
        return {label: estimate for label, estimate in found.items() if estimate}

    def results(self) -> Results:
        """What the records so far say, with the arms in the order asked for."""
        return Results(self.records, [arm.label for arm in self.study.arms], self.study.against)

    def _check_unchanged(self, group: Group) -> None:
        """Figures of different code must not be taken for the same.

        Raises:
            UserError: a source file was edited since the run began.
        """
        forget_sources()
        if any(self._key(case, name) != self._keys[case, name] for case in group.cases for name in self.study.metrics):
            raise UserError("the code was changed while it was being measured. Run again; what is finished is kept.")

    def _check_fits(self, group: Group) -> None:
        """Ends the arms that have no room beside the others: in a launch, all are in memory at once."""
        free = int(psutil.virtual_memory().available * MEMORY_SHARE)
        for case in sorted(self._open(group, group.cases), key=lambda case: group.peak_bytes.get(case.arm.label, 0)):
            reference = self.study.against if case.arm.control else case.arm.label
            free -= group.peak_bytes.get(reference, 0)
            if free < 0 and case.device == "cpu":
                with self._ending(group, case):
                    raise ArmError(
                        "oom", "no room beside the other arms, which take turns in one memory; measure it alone"
                    )

    def _launch(self, group: Group, launch: int) -> None:
        began = time.monotonic()
        self._check_unchanged(group)
        self._check_fits(group)
        batches = self._batches(group.cases[0])
        arms = self._start(group, group.open)
        warm: dict[Case, dict[int, dict[str, Any]]] = {}
        blocks: dict[Case, dict[int, list[dict[str, Any]]]] = {}
        seconds, at_least = self._pace["warm_up"]
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
        low, high, seconds = self._pace["rounds"]
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

    def _advance(self, group: Group) -> None:
        conditions = group.cases[0].conditions
        left = self._plan.seconds_left()
        self.observer.advanced(Progress(conditions, group.launches, group.target, self._ratios(group), left))

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
            done = {r.metric for r in self.records if r.case == case.flat() and METRICS[r.metric].exact}
            missing = [name for name in self.study.metrics if name not in done]
            if case.arm.control:
                missing = [name for name in missing if not METRICS[name].exact]
            lost = [self._record(case, name, []) for name in missing]
            self._keep([replace(record, status=end.status, reason=end.reason) for record in lost])

    # Records

    def _key(self, case: Case, metric: str) -> str:
        policy: dict[str, Any] = {**PROCESS_POLICY, "inputs": self._inputs}
        if not METRICS[metric].exact:
            policy |= self._pace
        return case_key(case, metric, policy)

    def _record(
        self, case: Case, metric: str, samples: list[float], launch: int = 0, detail: dict[str, Any] | None = None
    ) -> Record:
        return Record(
            run=self.run_id,
            study=self.study.name,
            key=self._keys[case, metric],
            case=case.flat(),
            metric=metric,
            unit=METRICS[metric].unit,
            against=self.study.against,
            launch=launch,
            samples=samples,
            detail={**(detail or {}), **self._notes.get(case.arm.attn, {})},
            **provenance(case.device, case.arm.attn),
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
