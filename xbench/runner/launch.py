"""One launch: fresh processes for the arms of a group, which take turns in random order, block by block.

Arms that do not all fit into memory at once run in heats, each with the reference arm, so that every arm has been side
by side with it.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbench.processes.parent import ArmError
from xbench.processes.policy import STOCK
from xbench.records.record import Record
from xbench.runner.workers import Ending, Setup, Standing, Workers
from xbench.study.case import Case
from xbench.study.study import Study

# Per launch: seconds after which warming an arm up ends in any case, and the least iterations; then the least and the
# most rounds, and the seconds that decide between them.
PACE: dict[str, tuple[Any, ...]] = {"warm_up": (5.0, 2), "rounds": (2, 40, 8.0)}
QUICK_PACE: dict[str, tuple[Any, ...]] = {"warm_up": (1.0, 1), "rounds": (1, 10, 3.0)}

STOCK_BLOCKS = 3  # per launch, of what a plain script gets


@dataclass(frozen=True)
class LaunchOutcome:
    """What came of a launch.

    Attributes:
        standing: of the group after it. What other processes ended was tried again before.
        endings: what ended, in this order.
        records: the figures of the cases that are still open, none of them kept yet.
        seconds, stock_seconds: it took in all, and of that for what a plain script gets.
    """

    standing: Standing
    endings: tuple[Ending, ...]
    records: tuple[Record, ...]
    seconds: float
    stock_seconds: float


def heats(standing: Standing, process_bytes: Mapping[str, int], room: int) -> tuple[list[list[Case]], list[Case]]:
    """The open cases in heats that fit into ``room`` bytes, each with the reference arm; and those that fit in none.

    ``process_bytes``: what a worker of an arm holds in all. The control comes last, so that it takes no other arm's
    place.
    """
    reference = [case for case in standing.open if case.arm.label == standing.against]
    others = [case for case in standing.open if case not in reference]
    held = {**process_bytes}
    for case in others:
        if case.arm.control:
            held[case.arm.label] = process_bytes.get(standing.against, 0)
    found: list[list[Case]] = []
    refused: list[Case] = []
    for case in sorted(others, key=lambda case: case.arm.control):
        place = next((heat for heat in found if _fits([*heat, case], held, room)), None)
        if place is not None:
            place.append(case)
        elif _fits([*reference, case], held, room):
            found.append([*reference, case])
        else:
            refused.append(case)
    return found or [reference], refused


def _fits(cases: Sequence[Case], held: Mapping[str, int], room: int) -> bool:
    # While exact figures are taken a worker holds more than in a launch, because the profiler works beside it.
    return cases[0].device != "cpu" or sum(held.get(case.arm.label, 0) for case in cases) <= room


class Launch:
    """Measures the open cases of a group once.

    Args:
        make_record: makes a record that is not kept, as ``Recorder.record`` does.
        run_id, number: the run, and which of its launches with this group it is; they decide the order of turns.
    """

    def __init__(
        self,
        setup: Setup,
        study: Study,
        standing: Standing,
        make_record: Callable[..., Record],
        run_id: str,
        number: int,
    ):
        self._setup = setup
        self._study = study
        self._standing = standing
        self._make_record = make_record
        self._endings: list[Ending] = []
        self._pace = QUICK_PACE if study.quick else PACE
        self._number = number
        self._order = random.Random(f"{run_id} {number}")

    def run(self, process_bytes: Mapping[str, int], *, stock: bool) -> LaunchOutcome:
        """Measures all heats. ``stock``: and what a plain script gets."""
        began = time.monotonic()
        placed, refused = heats(self._standing, process_bytes, self._setup.room)
        for case in refused:
            against = self._standing.against
            reason = f"no room beside {against}, with which it takes turns in one memory; measure it alone"
            ending = Ending(case, ArmError("oom", reason))
            self._endings.append(ending)
            self._standing = self._standing.after(ending)
        records: list[Record] = []
        for heat, placed_cases in enumerate(placed):
            # An earlier heat may have ended the reference arm, and with it a control that has this heat to itself.
            if cases := [case for case in placed_cases if case in self._standing.open]:
                records += self._heat(heat, cases)
        heats_end = time.monotonic()
        if stock:
            records += self._stock_latency()
        end = time.monotonic()
        still = {case.arm.label for case in self._standing.open}
        kept = tuple(record for record in records if record.case["arm"] in still)
        return LaunchOutcome(self._standing, tuple(self._endings), kept, end - began, end - heats_end)

    def _take_in(self, workers: Workers) -> None:
        """How the group stands after workers that have ended."""
        self._standing = workers.standing
        self._endings += workers.take_endings()

    def _heat(self, heat: int, cases: list[Case]) -> list[Record]:
        batches = self._batches(cases[0])
        warm: dict[Case, dict[int, dict[str, Any]]] = {case: {} for case in cases}
        blocks: dict[Case, dict[int, list[dict[str, Any]]]] = {case: {b: [] for b in batches} for case in cases}
        records: list[Record] = []
        launch = f"launch {self._number}"
        with Workers(self._setup, self._standing, cases) as workers:
            seconds, at_least = self._pace["warm_up"]
            for batch in batches:
                limits = {"seconds": seconds, "at_least": at_least}
                for case, answer in workers.in_turn(
                    f"{launch}: warming up", "warm_up", self._shuffled(workers), batch=batch, **limits
                ):
                    warm[case][batch] = answer
            rounds = self._rounds(warm)
            for turn in range(1, rounds + 1):
                for batch in batches:
                    doing = f"{launch}: round {turn} of {rounds}"
                    for case, answer in workers.in_turn(doing, "block", self._shuffled(workers), batch=batch):
                        blocks[case][batch].append(answer)
            device = dict(workers.in_turn(f"{launch}: asking the device", "device", self._shuffled(workers)))
            for case in workers.open:
                records += self._block_records(case, heat, blocks[case], warm[case], device.get(case, {}))
            for name in ("device_time", "energy", "breakdown", "limits"):
                wanted = [case for case in self._shuffled(workers) if name in self._study.metrics_of(case)]
                doing = f"{launch}: {name.replace('_', ' ')}"
                arguments = {"case": cases[0].request()} if name == "limits" else {}
                for case, answer in workers.in_turn(doing, name, wanted, metric=name, **arguments):
                    records.append(self._record(case, heat, name, answer["samples"], answer["detail"]))
        self._take_in(workers)
        # As a whole, because all that turns were taken with has to be of one time.
        return self._heat(heat, [case for case in cases if case in self._standing.open]) if workers.again else records

    def _stock_latency(self) -> list[Record]:
        """Latency in processes with nothing set, as a plain script has it: each runs alone, and nothing is paired."""
        name = "stock_latency"
        wanted = [case for case in self._standing.open if name in self._study.metrics_of(case)]
        records = []
        doing = f"launch {self._number}: as a plain script"
        while wanted:
            with Workers(self._setup, self._standing, wanted, only=name, policy=STOCK) as workers:
                for case, warm in workers.in_turn(
                    doing, "warm_up", self._shuffled(workers), name, batch=1, seconds=1.0, at_least=1
                ):
                    blocks = 1 if warm["seconds"] > 0.5 else STOCK_BLOCKS
                    taken = [
                        block
                        for _ in range(blocks)
                        for _, block in workers.in_turn(doing, "block", [case], name, batch=1)
                    ]
                    if len(taken) == blocks:
                        samples = [1e3 * block["seconds"] for block in taken]
                        records.append(self._record(case, 0, name, samples, _quality(1, warm, taken)))
            self._take_in(workers)
            wanted = workers.again
        return records

    def _batches(self, case: Case) -> list[int]:
        """Batch sizes to time: latency is at batch 1, everything else at the case's own."""
        metrics = set(self._study.metrics_of(case))
        own = {"throughput", "forward_time", "backward_time", "optimizer_time", "breakdown"} & metrics
        return list(dict.fromkeys(([case.batch] if own else []) + ([1] if "latency" in metrics else [])))

    def _rounds(self, warm: dict[Case, dict[int, dict[str, Any]]]) -> int:
        found = [answer for answers in warm.values() for answer in answers.values()]
        low, high, seconds = self._pace["rounds"]
        round_seconds = sum(answer["seconds"] * answer["block_iterations"] for answer in found)
        return max(low, min(high, int(seconds / max(round_seconds, 1e-9))))

    def _shuffled(self, workers: Workers) -> list[Case]:
        return self._order.sample(workers.open, len(workers.open))

    def _record(self, case: Case, heat: int, name: str, samples: list[float], detail: dict[str, Any]) -> Record:
        return self._make_record(case, name, samples, detail, launch=self._number, heat=heat)

    def _block_records(
        self, case: Case, heat: int, blocks: dict[int, list], warm: dict[int, dict], device: dict[str, Any]
    ) -> list[Record]:
        found = []
        metrics = self._study.metrics_of(case)
        for batch, taken in blocks.items():
            seconds = [block["seconds"] for block in taken]
            samples = {"throughput": [batch / s for s in seconds]} if batch == case.batch else {}
            if batch == 1:
                samples["latency"] = [1e3 * s for s in seconds]
            for part in taken[0]["parts"]:
                samples[f"{part}_time"] = [1e3 * block["parts"][part] for block in taken]
            detail = {**_quality(batch, warm[batch], taken), "device": device}
            found += [self._record(case, heat, name, samples[name], detail) for name in metrics if name in samples]
        return found


def _quality(batch: int, warm: dict[str, Any], taken: list[dict[str, Any]]) -> dict[str, Any]:
    """What the blocks of a launch leave of their quality."""
    return {
        "batch": batch,
        "warm_up": warm,
        "measured_seconds": sum(block["seconds"] for block in taken) * warm["block_iterations"],
        "faults_per_iteration": max(block["faults"] for block in taken),
        "involuntary_switches": sum(block["involuntary_switches"] for block in taken),
        "steal_seconds": sum(block["steal_seconds"] for block in taken),
        "stall_seconds": sum(block["stall_seconds"] for block in taken),
    }
