"""What a set of records says: figures with intervals, paired ratios, one tidy frame. Made from records alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from xbench.metrics import METRICS
from xbench.records import Record
from xbench.statistics import Estimate, control_holds, estimate, ratio
from xbench.study import show_img_size

if TYPE_CHECKING:
    import pandas as pd

ARM_FIELDS = ("arm", "attn", "baseline", "control")


@dataclass(frozen=True)
class Cell:
    """One metric of one arm under one set of conditions.

    ``figure`` is None where nothing was measured; for exact metrics its three numbers are the same.
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
        conditions: the comparison groups, each a dictionary of everything but the arm.
        against: label of the arm that ratios refer to.
    """

    def __init__(self, records: Sequence[Record], arms: Sequence[str] = (), against: str = ""):
        """``arms`` and ``against`` are what was asked for; where not given, they are as the last run recorded them."""
        self.records = list(records)
        self._measured = [record for record in self.records if record.case]
        found = dict.fromkeys(r.case["arm"] for r in self._measured if not r.case["control"])
        self.arms = [arm for arm in arms if arm in found] or list(found)
        self.conditions = list({_hashable(r.case): _conditions(r.case) for r in self._measured}.values())
        recorded = [r.against for r in self._measured if r.against in found]
        self.against = against or next(iter(reversed(recorded)), next(iter(self.arms), ""))

    @cached_property
    def _by_place(self) -> dict[tuple[Any, str, str], list[Record]]:
        places: dict[tuple[Any, str, str], list[Record]] = {}
        for record in self._measured:
            places.setdefault((_hashable(record.case), record.case["arm"], record.metric), []).append(record)
        return places

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that occur, in the order of ``METRICS``."""
        present = {record.metric for record in self._measured}
        return [name for name in METRICS if name in present]

    @property
    def speed_metric(self) -> str | None:
        """The sampled metric that speaks for speed: throughput where it was measured; None where nothing was timed."""
        timed = [name for name in self.metrics if not METRICS[name].exact]
        return "throughput" if "throughput" in timed else next(iter(timed), None)

    @property
    def control(self) -> str | None:
        """Label of the control arm, if the run had one."""
        return next((r.case["arm"] for r in self._measured if r.case["control"]), None)

    def of(self, conditions: dict[str, Any], arm: str) -> list[Record]:
        """All records of one arm under one set of conditions."""
        key = _hashable(conditions)
        return [record for metric in self.metrics for record in self._by_place.get((key, arm, metric), [])]

    def cell(self, conditions: dict[str, Any], arm: str, metric: str) -> Cell | None:
        """The figure, or why there is none; None where it was never asked for."""
        records = self._by_place.get((_hashable(conditions), arm, metric))
        if not records:
            return None
        ok = [record for record in records if record.samples]
        figure = None
        if ok and METRICS[metric].exact:
            figure = Estimate.exact(ok[-1].samples[0])
        elif ok:
            figure = estimate(_launches(ok))
        last = records[-1]
        return Cell(metric, figure, last.status, last.reason, (ok or records)[-1].detail)

    def ratio(self, conditions: dict[str, Any], arm: str, metric: str, to: str | None = None) -> Estimate | None:
        """``arm``'s figure over ``to``'s (the reference arm where none is named), paired by launch and round."""
        key = _hashable(conditions)
        of, against = (self._by_place.get((key, label, metric), []) for label in (arm, to or self.against))
        of, against = [r for r in of if r.samples], [r for r in against if r.samples]
        if not of or not against:
            return None
        if METRICS[metric].exact:
            return Estimate.exact(of[-1].samples[0] / against[-1].samples[0])
        sides = [_launches(of), _launches(against)]
        if not METRICS[metric].paired:
            sides = [{launch: [median(samples)] for launch, samples in side.items()} for side in sides]
        try:
            return ratio(*sides)
        except ValueError:
            return None

    def speed_ratio(self, conditions: dict[str, Any], arm: str) -> Estimate | None:
        """How many times as fast as the reference arm, by the metric that speaks for speed; more than 1 is faster."""
        metric = self.speed_metric
        found = self.ratio(conditions, arm, metric) if metric else None
        if metric is None or found is None:
            return None
        return found if METRICS[metric].better == "higher" else found.inverse

    def control_ratio(self, conditions: dict[str, Any], metric: str | None = None) -> Estimate | None:
        """The reference arm over itself, where a control ran: in speed, or in the metric named."""
        if self.control is None:
            return None
        return self.ratio(conditions, self.control, metric) if metric else self.speed_ratio(conditions, self.control)

    def trusted(self, conditions: dict[str, Any], metric: str | None = None) -> bool:
        """False where the control arm came out different from itself, in speed or in the metric named."""
        if metric is not None and METRICS[metric].exact:
            return True
        control = self.control_ratio(conditions, metric)
        return control is None or control_holds(control)

    def launches(self, conditions: dict[str, Any]) -> int:
        """Launches that the least measured arm with a figure had; 0 where nothing was timed."""
        metric = self.speed_metric
        cells = [self.cell(conditions, arm, metric) for arm in self.arms] if metric else []
        return min((cell.figure.launches for cell in cells if cell and cell.figure), default=0)

    @property
    def overhead(self) -> dict[str, float] | None:
        """Seconds of the run in all, in process starts and in model execution, and the share that is neither."""
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

    def marked(self, arm: str) -> str:
        """The arm's name in a table: "name †" where its attention failed the checks that every one must pass."""
        return f"{arm} †" if "unverified" in self.notes.get(arm, {}) else arm

    @property
    def failures(self) -> list[tuple[dict[str, Any], str, Cell]]:
        """Cells without an ok status: (conditions, arm, cell), one per arm and conditions."""
        found = []
        for conditions in self.conditions:
            for arm in self.arms:
                cells = (self.cell(conditions, arm, metric) for metric in self.metrics)
                failed = next((cell for cell in cells if cell and cell.status != "ok"), None)
                if failed:
                    found.append((conditions, arm, failed))
        return found

    @property
    def frame(self) -> "pd.DataFrame":
        """One row per conditions, arm and metric.

        Columns: arm, res, the other conditions, metric, unit, value, low, high, launches, ratio, ratio_low, ratio_high
        (against the reference arm), trusted (False where the control failed), status, reason, unverified.
        """
        import pandas as pd

        rows = []
        for conditions in self.conditions:
            for arm in [*self.arms, *([self.control] if self.control else [])]:
                for metric in self.metrics:
                    cell = self.cell(conditions, arm, metric)
                    if cell is not None:
                        rows.append(self._row(conditions, arm, cell))
        return pd.DataFrame(rows)

    def _row(self, conditions: dict[str, Any], arm: str, cell: Cell) -> dict[str, Any]:
        figure, times = cell.figure, self.ratio(conditions, arm, cell.metric)
        rest = {key: value for key, value in conditions.items() if key != "img_size"}
        return {
            "arm": arm,
            "res": show_img_size(conditions["img_size"]),
            **rest,
            "metric": cell.metric,
            "unit": METRICS[cell.metric].unit,
            "value": figure and figure.value,
            "low": figure and figure.low,
            "high": figure and figure.high,
            "launches": figure and figure.launches,
            "ratio": times and times.value,
            "ratio_low": times and times.low,
            "ratio_high": times and times.high,
            "trusted": self.trusted(conditions, cell.metric),
            "status": cell.status,
            "reason": cell.reason,
            "unverified": self.notes.get(arm, {}).get("unverified", ""),
        }


def _conditions(case: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in case.items() if key not in ARM_FIELDS}


def _hashable(case: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        (key, tuple(value) if isinstance(value, list) else value) for key, value in sorted(_conditions(case).items())
    )


def _launches(records: Sequence[Record]) -> dict[tuple[str, int], list[float]]:
    return {(record.run, record.launch): record.samples for record in records}
