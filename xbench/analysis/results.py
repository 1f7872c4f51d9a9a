"""What a set of records says: figures with intervals, paired ratios, one tidy frame. Made from records alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, TypeVar

from xbench.analysis.counted import exact_figure
from xbench.analysis.sweeps import Sweep, find_sweeps
from xbench.metrics.definitions import MEMORY, METRICS, TASK_SCORES
from xbench.records.ledger import Skipped
from xbench.records.record import Record
from xbench.statistics.estimates import Difference, Estimate, estimate, launch_log_ratios, over_launches
from xbench.statistics.proportions import paired_points, percent_over_seeds
from xbench.statistics.verdicts import control_holds
from xbench.study.conditions import ARM_FIELDS, Conditions

Found = TypeVar("Found")

# Measured for what they explain (see roofline.py), not for a column of their own.
EXPLANATIONS = ("breakdown", "limits", "stock_latency")


@dataclass(frozen=True)
class Cell:
    """One metric of one arm under one set of conditions.

    ``figure`` is None where nothing was measured; for exact metrics its three numbers are the same, or it is a lower
    bound (see ``analysis.counted``).
    ``reason`` is set when the status is not "ok", also when earlier launches left a figure.
    """

    metric: str
    figure: Estimate | None
    status: str
    reason: str
    detail: dict[str, Any]


class Results:
    """The records of one or more runs, read as a comparison.

    Attributes:
        records: as they stand in the ledger.
        arms: labels of what was compared, in the order asked for; the control is not among them.
        cases: by label, what the arm is: its ``ARM_FIELDS``. The control is among them.
        conditions: of the comparison groups.
        against: label of the arm that ratios refer to.
        skipped: lines of the ledger that are no records.
    """

    def __init__(
        self, records: Sequence[Record], arms: Sequence[str] = (), against: str = "", skipped: Sequence[Skipped] = ()
    ):
        """``arms`` and ``against`` are what was asked for; where not given, they are as the last run recorded them."""
        self.records = list(records)
        self.skipped = list(skipped)
        # Benchmarks that were imported from elsewhere are no cases of a study.
        self._measured = [record for record in self.records if "level" in record.case]
        found = dict.fromkeys(r.case["arm"] for r in self._measured if not r.case["control"])
        self.arms = [arm for arm in arms if arm in found] or list(found)
        last = {r.case["arm"]: r.case for r in self._measured}
        self.cases = {arm: {key: case[key] for key in ARM_FIELDS} for arm, case in last.items()}
        cases = {r.place: r.case for r in self._measured}
        places = {place: Conditions.of(case) for place, case in cases.items()}
        self.conditions = list(dict.fromkeys(places.values()))
        self._conditions_of_case = places
        recorded = [r.against for r in self._measured if r.against in found]
        self.against = against or next(iter(reversed(recorded)), next(iter(self.arms), ""))
        self._found: dict[tuple[Any, ...], Any] = {}

    def conditions_of(self, record: Record) -> Conditions:
        """Those of one of the records; of a benchmark from elsewhere there are none."""
        return self._conditions_of_case[record.place]

    def once(self, key: tuple[Any, ...], find: Callable[[], Found]) -> Found:
        """What ``find`` gives, found once under this key: tables, words and charts ask for the same."""
        if key not in self._found:
            self._found[key] = find()
        found: Found = self._found[key]
        return found

    @cached_property
    def _by_place(self) -> dict[tuple[Conditions, str, str], list[Record]]:
        places: dict[tuple[Conditions, str, str], list[Record]] = {}
        for record in self._measured:
            place = self.conditions_of(record), record.case["arm"], record.metric
            places.setdefault(place, []).append(record)
        return places

    @cached_property
    def by_metric(self) -> dict[str, list[Record]]:
        """The records that have a figure, by metric."""
        found: dict[str, list[Record]] = {}
        for record in self._measured:
            if record.samples:
                found.setdefault(record.metric, []).append(record)
        return found

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics that occur and are figures for tables, in the order of ``METRICS``.

        Those of ``EXPLANATIONS`` are not: what they say stands in ``roofline``.
        """
        return [name for name in self._occurring if name not in EXPLANATIONS]

    @cached_property
    def _occurring(self) -> list[str]:
        present = {record.metric for record in self._measured}
        return [name for name in METRICS if name in present]

    def sweeps(self) -> list[Sweep]:
        """The conditions by what they have in common, ordered by extent; each stands in exactly one."""
        return self.once(("sweeps",), lambda: find_sweeps(self.conditions))

    def speed_metric_at(self, conditions: Conditions) -> str | None:
        """The metric that speaks for speed there: throughput where it was asked for; None where nothing was timed."""
        return self.once(("speed", conditions), lambda: self._speed_metric(conditions))

    def _speed_metric(self, conditions: Conditions) -> str | None:
        asked = [m for m in self.metrics if any((conditions, arm, m) in self._by_place for arm in self.arms)]
        timed = [name for name in asked if METRICS[name].how == "timed"]
        return "throughput" if "throughput" in timed else next(iter(timed), None)

    def memory_metric_at(self, conditions: Conditions) -> str | None:
        """The metric that speaks for memory there: the measured peak if any arm has it, else the predicted one."""

        def find() -> str | None:
            return next((m for m in MEMORY if any(self.measured(conditions, arm, m) for arm in self.arms)), None)

        return self.once(("memory", conditions), find)

    @cached_property
    def control(self) -> str | None:
        """Label of the control arm, if the run had one."""
        return next((r.case["arm"] for r in self._measured if r.case["control"]), None)

    def cell(self, conditions: Conditions, arm: str, metric: str) -> Cell | None:
        """The figure, or why there is none; None where it was never asked for."""
        place = conditions, arm, metric
        records = self._by_place.get(place)
        return self.once(("cell", *place), lambda: self._cell(metric, records)) if records else None

    def _cell(self, metric: str, records: Sequence[Record]) -> Cell:
        ok = [record for record in records if record.samples]
        figure = None
        if METRICS[metric].how == "trained":
            return self._trained_cell(metric, records)
        if ok and METRICS[metric].exact:
            figure = exact_figure(ok[-1])
        elif ok:
            figure = estimate(_by_heat(ok))
        last = records[-1]
        return Cell(metric, figure, last.status, last.reason, (ok or records)[-1].detail)

    def _trained_cell(self, metric: str, records: Sequence[Record]) -> Cell:
        """Over the seeds. One that failed shows in the status, and is not among the others."""
        newest = list({record.launch: record for record in records}.values())
        values = [record.samples[0] for record in newest if record.samples]
        figure = percent_over_seeds(values, _images(newest)) if values else None
        failed = next((record for record in newest if not record.samples), None)
        shown = failed or newest[-1]
        return Cell(metric, figure, shown.status, shown.reason, newest[-1].detail)

    @cached_property
    def score(self) -> str:
        """The first score of the task that the records are of."""
        return next((name for name in TASK_SCORES if name in self.metrics), TASK_SCORES[0])

    def trained_places(self, metric: str | None = None) -> list[Conditions]:
        """The conditions under which any arm has a figure of a trained metric, the task's ``score`` by default."""
        name = metric or self.score
        return self.once(
            ("trained", name),
            lambda: [at for at in self.conditions if any(self.measured(at, arm, name) for arm in self.arms)],
        )

    def seeds(self, conditions: Conditions, arm: str, metric: str | None = None) -> dict[int, Record]:
        """By seed, the newest record of a trained model."""
        return {record.launch: record for record in self.measured(conditions, arm, metric or self.score)}

    def difference(
        self, conditions: Conditions, arm: str, to: str | None = None, metric: str | None = None
    ) -> Difference | None:
        """``arm``'s trained figure less ``to``'s (the reference arm's), in points, paired by seed."""
        of, against = (self.seeds(conditions, label, metric) for label in (arm, to or self.against))
        return paired_points(
            {seed: record.samples[0] for seed, record in of.items()},
            {seed: record.samples[0] for seed, record in against.items()},
            _images([record for seed, record in of.items() if seed in against]),
        )

    def ratio(self, conditions: Conditions, arm: str, metric: str, to: str | None = None) -> Estimate | None:
        """``arm``'s figure over ``to``'s (the reference arm where none is named), paired by launch, heat and round.

        Two arms that never ran in one heat are compared through the reference arm, which ran in each.
        """
        to = to or self.against
        if METRICS[metric].how == "trained":
            return None  # accuracies are compared by their difference
        find = self._exact_ratio if METRICS[metric].exact else self._timed_ratio
        place = ("ratio", conditions, arm, metric, to)
        return self.once(place, lambda: find(conditions, arm, metric, to))

    def _exact_ratio(self, conditions: Conditions, arm: str, metric: str, to: str) -> Estimate | None:
        of, against = (self.measured(conditions, label, metric) for label in (arm, to))
        if not of or not against or not against[-1].samples[0]:
            return None
        # Largest batches under different limits do not compare.
        if of[-1].detail.get("limit") != against[-1].detail.get("limit"):
            return None
        return exact_figure(of[-1]).over(exact_figure(against[-1]))

    def _timed_ratio(self, conditions: Conditions, arm: str, metric: str, to: str) -> Estimate | None:
        of, against, reference = (self.samples(conditions, label, metric) for label in (arm, to, self.against))
        logs = launch_log_ratios(of, against)
        if not logs:
            left, right = launch_log_ratios(of, reference), launch_log_ratios(against, reference)
            logs = {launch: left[launch] - right[launch] for launch in left if launch in right}
        return over_launches(logs) if logs else None

    def measured(self, conditions: Conditions, arm: str, metric: str) -> list[Record]:
        """The records of one metric that have a figure."""
        records = self._by_place.get((conditions, arm, metric), [])
        return [record for record in records if record.samples]

    def samples(self, conditions: Conditions, arm: str, metric: str) -> dict[tuple[str, int, int], list[float]]:
        """By (run, launch, heat), what is paired with the other arms' there: the median where rounds are not."""
        samples = _by_heat(self.measured(conditions, arm, metric))
        return samples if METRICS[metric].paired else {heat: [median(found)] for heat, found in samples.items()}

    def speed_ratio(self, conditions: Conditions, arm: str, to: str | None = None) -> Estimate | None:
        """How many times as fast as ``to`` (the reference arm), by the metric that speaks for speed there."""
        metric = self.speed_metric_at(conditions)
        found = self.ratio(conditions, arm, metric, to) if metric else None
        if metric is None or found is None:
            return None
        return found if METRICS[metric].better == "higher" else found.inverse

    def control_ratio(self, conditions: Conditions, metric: str | None = None) -> Estimate | None:
        """The reference arm over itself, where a control ran: in speed, or in the metric named."""
        if self.control is None:
            return None
        return self.ratio(conditions, self.control, metric) if metric else self.speed_ratio(conditions, self.control)

    def trusted(self, conditions: Conditions, metric: str | None = None) -> bool:
        """False where the control arm came out different from itself, in speed or in the metric named."""
        if metric is not None and METRICS[metric].how != "timed":
            return True
        control = self.control_ratio(conditions, metric)
        return control is None or control_holds(control)

    def launches(self, conditions: Conditions) -> dict[str, int]:
        """By arm, the launches behind its figure of speed; without those that have none."""
        metric = self.speed_metric_at(conditions)
        cells = {arm: self.cell(conditions, arm, metric) for arm in self.arms} if metric else {}
        return {arm: cell.figure.launches for arm, cell in cells.items() if cell and cell.figure}

    @cached_property
    def overhead(self) -> dict[str, Any] | None:
        """Of the last run: seconds in all, in process starts and in model execution, the share that is neither, and the
        question and the command that it recorded.
        """
        found = [record for record in self.records if record.metric == "overhead"]
        return {**found[-1].detail, "share": found[-1].samples[0]} if found else None

    @cached_property
    def notes(self) -> dict[str, dict[str, str]]:
        """By arm, what is to be known of its attention: why it is "unverified", how it was "adapted"."""
        found: dict[str, dict[str, str]] = {}
        for record in self._measured:
            for key in ("unverified", "adapted"):
                if key in record.detail:
                    found.setdefault(record.case["arm"], {})[key] = record.detail[key]
        return found

    @cached_property
    def stated(self) -> dict[str, dict[str, str]]:
        """By arm, cost and memory in N that an attention from outside states, as the records keep them."""
        return {r.case["arm"]: r.detail["attention"] for r in self._measured if "attention" in r.detail}

    def marked(self, arm: str) -> str:
        """The arm's name in a table: "name †" where its attention failed the checks that every one must pass."""
        return f"{arm} †" if "unverified" in self.notes.get(arm, {}) else arm

    @cached_property
    def failures(self) -> list[tuple[Conditions, str, Cell]]:
        """Cells without an ok status: (conditions, arm, cell), one per arm and conditions."""
        places = [(conditions, arm) for conditions in self.conditions for arm in self.arms]
        return [(*place, cell) for place in places if (cell := self.failure(*place))]

    def failure(self, conditions: Conditions, arm: str) -> Cell | None:
        """The cell that tells best what failed there: of a run before of a sheet of paper, which stops no run."""
        cells = [cell for metric in self._occurring if (cell := self.cell(conditions, arm, metric))]
        failed = [cell for cell in cells if cell.status != "ok"]
        return min(failed, key=lambda cell: METRICS[cell.metric].how == "static", default=None)


def _images(records: Sequence[Record]) -> int:
    """How many images the models of these records classified, all together; 0 where a record does not say."""
    counts = [record.detail.get("images", 0) for record in records if record.samples]
    return sum(counts) if all(counts) else 0


def _by_heat(records: Sequence[Record]) -> dict[tuple[str, int, int], list[float]]:
    return {(record.run, record.launch, record.heat): record.samples for record in records}
