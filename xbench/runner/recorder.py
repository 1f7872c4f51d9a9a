"""The records of one run: what the ledger already held for its study, and what the run adds, kept at once."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xbench.analysis.results import Results
from xbench.attention.spec import attention_facts
from xbench.data.photos import photos_digest
from xbench.errors import UserError
from xbench.metrics.definitions import METHODS, METRICS, PROBES
from xbench.processes.parent import ArmError
from xbench.processes.policy import STOCK, find_policy
from xbench.records.ledger import Ledger
from xbench.records.provenance import provenance
from xbench.records.record import Record
from xbench.runner.cache_key import case_key, forget_sources, provenance_of
from xbench.runner.progress import Clock, Observer
from xbench.signals import held
from xbench.study.case import Arm, Case
from xbench.study.study import Study


class Recorder:
    """Makes and keeps records.

    Args:
        policy: by metric, or by how it is found ("static", "exact", "timed"), whatever else decides a figure: the
            environment of the workers, the pace.
        photos: the inputs of models, as many of them as the batch.

    Attributes:
        records: what the study has so far, held and new.
    """

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        observer: Observer,
        policy: dict[str, dict[str, Any]],
        photos: list[Path],
    ):
        self.study = study
        self.records: list[Record] = []
        self._notes: dict[Any, dict[str, str]] = {}
        self.run_id = uuid.uuid4().hex[:12]
        self._ledger = ledger
        self._observer = observer
        self._policy = policy
        self._inputs = {batch: photos_digest(photos[:batch]) for batch in study.batch}
        forget_sources()
        self._keys = {(case, name): self._key(case, name) for case in study.cases() for name in study.metrics_of(case)}
        self._done: set[tuple[str, str]] = set()  # (arm, key)
        self._ok: dict[str, list[Record]] = {}  # by key
        self._remember(ledger.read())

    def _key(self, case: Case, metric: str) -> str:
        return case_key(case, metric, self._policy_of(case, metric))

    def _policy_of(self, case: Case, metric: str) -> dict[str, Any]:
        how = METRICS[metric].how
        policy = self._policy.get(metric) or self._policy[how]
        if how not in ("exact", "timed"):
            return policy
        settings = find_policy(STOCK if metric == "stock_latency" else case.arm.policy).recorded
        photos = case.sees_photos and metric != "limits"  # those are the machine's, not the model's
        return {**policy, **settings, **({"inputs": self._inputs[case.batch]} if photos else {})}

    @property
    def folder(self) -> Path:
        """Where the ledger lies."""
        return self._ledger.path.parent

    def key(self, case: Case, metric: str) -> str:
        """What makes the case's figure comparable, as its records hold it."""
        return self._keys[case, metric]

    def take_over(self, case: Case) -> list[Record]:
        """What earlier runs left for the case: its newest exact figures, all launches and all seeds.

        These are now among ``records``.
        """
        found = [
            record for name in self._names(case, ["static", "exact"]) for record in self._held_for(case, name)[-1:]
        ]
        found += [record for name in self._names(case, ["timed", "trained"]) for record in self._held_for(case, name)]
        self._add(found)
        return found

    def _remember(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.status == "ok" and record.case:
                self._ok.setdefault(record.key, []).append(record)

    def launches(self, cases: Sequence[Case]) -> int:
        """Launches, of this run and earlier ones, that every one of the cases finished: their samples are paired."""
        asked = [(case, name) for case in cases for name in self._names(case, ["timed"]) if METRICS[name].paired]
        found: dict[tuple[str, int], set[tuple[str, str]]] = {}
        for case, name in asked:
            for record in self._held_for(case, name):
                found.setdefault((record.run, record.launch), set()).add((record.case["arm"], name))
        return sum(len(finished) == len(asked) for finished in found.values()) if asked else 0

    def missing_seeds(self, case: Case) -> dict[str, list[int]]:
        """By metric, seeds of the case's training for which there is no figure yet; without metrics that have all."""
        found = {}
        for name in self._names(case, ["trained"]):
            held = {record.launch for record in self._held_for(case, name)}
            if missing := [seed for seed in range(self.study.seeds) if seed not in held]:
                found[name] = missing
        return found

    def missing_trainings(self, case: Case) -> list[tuple[int, tuple[str, ...]]]:
        """Seeds from which the case's model is still to be trained, each with the metrics that come of it.

        The scores of a task come of one training, what is found on a made-up task of one of its own.
        """
        wanted: dict[tuple[int, str], list[str]] = {}
        for metric, seeds in self.missing_seeds(case).items():
            for seed in seeds:
                wanted.setdefault((seed, metric if metric in PROBES else case.task), []).append(metric)
        return [(seed, tuple(metrics)) for (seed, _), metrics in wanted.items()]

    def _held_for(self, case: Case, name: str) -> list[Record]:
        return [r for r in self._ok.get(self._keys[case, name], []) if r.case["arm"] == case.arm.label]

    def _names(self, case: Case, how: Iterable[str]) -> list[str]:
        return [name for name in self.study.metrics_of(case) if METRICS[name].how in how]

    def missing(self, case: Case, how: Iterable[str]) -> list[str]:
        """Metrics of the case, of those found in these ways, that ``records`` do not have yet."""
        names = self._names(case, how)
        return [name for name in names if (case.arm.label, self._keys[case, name]) not in self._done]

    def _add(self, records: list[Record]) -> None:
        self.records += records
        self._done.update((record.case["arm"], record.key) for record in records if record.case)

    def check_unchanged(self, cases: list[Case]) -> None:
        """Figures of different code must not be taken for the same.

        Raises:
            UserError: a source file was edited since the run began.
        """
        forget_sources()
        if any(
            self._key(case, name) != self._keys[case, name] for case in cases for name in self._names(case, METHODS)
        ):
            raise UserError("the code was changed while it was being measured. Run again; what is finished is kept.")

    def note(self, case: Case, notes: dict[str, str]) -> None:
        """What every record of the case's code is to say of it: why it is "unverified", how it was "adapted"."""
        self._notes[case.arm.code] = notes

    def record(
        self,
        case: Case,
        metric: str,
        samples: list[float],
        detail: dict[str, Any] | None = None,
        launch: int = 0,
        heat: int = 0,
    ) -> Record:
        """A record of the case, not kept yet."""
        return Record(
            run=self.run_id,
            study=self.study.name,
            key=self._keys[case, metric],
            case=case.flat(),
            metric=metric,
            unit=METRICS[metric].unit,
            against=self.study.against,
            samples=samples,
            detail={**(detail or {}), **self._notes.get(case.arm.code, {}), **_stated(case.arm)},
            launch=launch,
            heat=heat,
            policy=self._policy_of(case, metric),
            **provenance_of(case),
        )

    def keep(self, records: list[Record]) -> None:
        """Writes the records down, then shows them.

        Raises:
            UserError: the ledger cannot be written.
        """
        with held():  # else what is on disk could be missing in the report of an interrupted run
            self._ledger.append(records)
            self._remember(records)
            self._add(records)
        self._observer.recorded(records)

    def end(self, case: Case, why: ArmError, metrics: list[str] | None = None) -> None:
        """Records that the case gives no more figures of these metrics; of all that are still to come by default."""
        if metrics is None:
            metrics = [*self.missing(case, ["static", "exact"]), *self._names(case, ["timed"])]
            metrics += self.missing_seeds(case)
        self.keep([self.ended(self.record(case, name, []), why) for name in metrics])

    def ended(self, record: Record, why: ArmError) -> Record:
        """The record as one of a figure that there is none of."""
        return replace(record, samples=[], status=why.status, reason=why.reason)

    def keep_overhead(self, clock: Clock, command: str) -> None:
        """Records where the time of the run went until now, what it asked, and the command that asked it."""
        detail: dict[str, Any] = {
            "total_seconds": clock.total,
            "start_seconds": clock.start,
            "model_seconds": clock.model,
        }
        detail |= {"question": self.study.question, "command": command}
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
        self.keep([record])

    def of(self, cases: list[Case]) -> list[Record]:
        """The records of these cases of one group."""
        flat = {case.arm.label: case.flat() for case in cases}
        return [record for record in self.records if record.case and record.case == flat.get(record.case["arm"])]

    def results(self) -> Results:
        """What the records so far say, with the arms in the order asked for."""
        return Results(self.records, [arm.label for arm in self.study.arms], self.study.against)


def _stated(arm: Arm) -> dict[str, Any]:
    """What only this code can tell of an attention from outside: who reads the records does not import it."""
    facts = attention_facts(arm.attn) if arm.attn and arm.checkout is None else {}
    return {"attention": facts} if facts else {}
