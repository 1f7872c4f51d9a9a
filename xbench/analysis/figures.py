"""The figures of records, one by one, whatever they are of: what goes to other tools and into histories.

``Results`` reads records as a comparison of attentions; here a figure is a name, a metric and its samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xbench.analysis.counted import exact_figure
from xbench.analysis.results import EXPLANATIONS
from xbench.metrics.definitions import METRICS
from xbench.records.record import Record
from xbench.statistics.estimates import Estimate, estimate
from xbench.study.conditions import Conditions
from xbench.wording.conditions import conditions_line

FOREIGN_TIME = "time"  # seconds of a call in a suite that is not ours
# Seconds in a unit of time.
SECONDS = {"s": 1.0, "ms": 1e-3}


@dataclass(frozen=True)
class Figure:
    """One metric of one case.

    Attributes:
        case: as in its records; of a benchmark from elsewhere "arm", "benchmark" and "test" are all that is known.
        estimate: over launches; exact metrics have no interval but themselves, or are lower bounds.
        records: that it was made from, oldest first.
    """

    case: dict[str, Any]
    metric: str
    unit: str
    estimate: Estimate
    records: list[Record]

    @property
    def samples(self) -> list[float]:
        """All samples, in ``unit``."""
        return [sample for record in self.records for sample in record.samples]

    @property
    def place(self) -> str:
        """The conditions in words; of a benchmark from elsewhere the group and the file it stands in."""
        return place_of(self.case)

    @property
    def name(self) -> str:
        """ "xfa · 1024 px · …": arm and conditions."""
        return " · ".join(filter(None, (self.case["arm"], self.place)))


def place_of(case: dict[str, Any]) -> str:
    """The conditions of a case in words; of a benchmark from elsewhere its group, and the file of a group's test."""
    if case.get("level") is None:
        group, test = str(case.get("benchmark", "")), str(case.get("test", ""))
        return group if group == test else " · ".join(filter(None, (group, test.partition("::")[0])))
    return conditions_line(Conditions.of(case))


def is_exact(metric: str) -> bool:
    """Whether figures of it are compared by equality."""
    return metric in METRICS and METRICS[metric].exact


def figures(records: Iterable[Record]) -> list[Figure]:
    """A figure for each case and metric that has samples, in the order of the records.

    Left out are controls, and what is measured to explain figures only.
    """
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.case and record.samples and not record.case.get("control") and record.metric not in EXPLANATIONS:
            found.setdefault((record.place, record.metric), []).append(record)
    return [_figure(own) for own in found.values()]


def _figure(records: list[Record]) -> Figure:
    last = records[-1]
    if is_exact(last.metric):
        value = exact_figure(last)
    else:
        value = estimate({(record.run, record.launch, record.heat): record.samples for record in records})
    return Figure(last.case, last.metric, last.unit, value, records)


def seconds(unit: str, value: float) -> float | None:
    """A time, or the time of one image of a rate, in seconds; None for what is neither."""
    if unit == METRICS["throughput"].unit:
        return 1 / value
    return value * SECONDS[unit] if unit in SECONDS else None
