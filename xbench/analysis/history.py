"""Every case over commits: its figures in the order of git, and where they changed. Advisory, from ledgers alone.

Runs of different days are not side by side, so a machine that changed looks like code that changed; a verdict comes
from a comparison within one run. Exact figures change where they differ at all. For times a step is looked for with the
likelihood-ratio test of one change of the mean of normal noise whose spread is unknown (the largest t statistic over
all splits; James, James and Siegmund, Biometrika 74, 1987), again within the parts while it finds one, by Benjamini and
Hochberg's rule over all series.

By simulation: of single flat series of 4 to 40 runs 4 to 6 % pass p ≤ 0.05 with normal noise, 3 to 7 % with Student's
of three degrees; of 150 histories of 40 flat series hardly any shows a change. A step of 10 % in noise of 2 %, in one
of 40 series, is found in all of 30 histories of 12 runs or more, and in 6 of 30 where there are six. Noise that lasts
from run to run, as of a machine that is slower for a week, is what it mistakes for steps: of six runs in 13 %, of
twenty in 33 %, where a half is carried over.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbench.analysis.figures import figures, is_exact, place_of
from xbench.analysis.results import EXPLANATIONS
from xbench.records.commits import find_commit, is_dirty
from xbench.records.provenance import PROVENANCE
from xbench.records.record import Record
from xbench.statistics.changepoints import _level, _steps, first_step
from xbench.statistics.estimates import Estimate, t_quantile
from xbench.statistics.verdicts import alike


@dataclass(frozen=True)
class Point:
    """A case in one run. ``estimate`` is None where there is no figure, and ``status`` says why; else it is "ok"."""

    run: str
    commit: str
    time: str
    estimate: Estimate | None
    status: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Series:
    """One metric of one case on one machine, in the order of commits.

    ``by_git`` is False where a commit is unknown to this checkout, so that time orders.
    """

    case: dict[str, Any]
    metric: str
    unit: str
    machine: dict[str, Any]
    points: list[Point]
    by_git: bool

    @property
    def arm(self) -> str:
        return str(self.case["arm"])

    @property
    def place(self) -> str:
        """The conditions in words."""
        return place_of(self.case)


@dataclass(frozen=True)
class Change:
    """From ``series.points[at]`` on, figures are others.

    Attributes:
        before, after: the exact figure, or the geometric mean from the last change to this, and from this to the next;
            None where there is none.
        p: how often noise alone makes such a step in one series; 0 for what is exact.
        beside: software whose version changed at the same point: "torch 2.14.0 → 2.15.0".
    """

    series: Series
    at: int
    before: float | None
    after: float | None
    p: float
    beside: tuple[str, ...]

    @property
    def point(self) -> Point:
        return self.series.points[self.at]


def histories(records: Iterable[Record]) -> list[Series]:
    """The series in records, with one point for each run that has the case; controls are left out.

    The same case on another machine is another series.
    """
    found: dict[tuple[str, str, str], dict[str, dict[Any, Record]]] = {}
    records = list(records)
    machines = {id(record.machine): _place_of(record) for record in {id(r.machine): r for r in records}.values()}
    for record in records:
        if not record.case or record.case.get("control") or record.metric in EXPLANATIONS:
            continue
        own = found.setdefault((record.place, record.metric, machines[id(record.machine)]), {})
        # A ledger and its copy hold the same records.
        own.setdefault(record.run, {})[record.launch, record.heat, record.status] = record
    return [_series([list(run.values()) for run in runs.values()]) for runs in found.values()]


def _place_of(record: Record) -> str:
    return json.dumps(_hardware(record), sort_keys=True)


def _hardware(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.machine.items() if key not in PROVENANCE}


def _series(runs: list[list[Record]]) -> Series:
    by_git = all(find_commit(run[-1].commit) for run in runs)
    first = runs[0][0]

    def order(run: list[Record]) -> tuple[int, bool, str]:
        last = run[-1]
        commit = find_commit(last.commit) if by_git else None
        return (commit.rank, is_dirty(last.commit), last.time) if commit else (0, False, last.time)

    points = [_point(run) for run in sorted(runs, key=order)]
    return Series(first.case, first.metric, first.unit, _hardware(first), points, by_git)


def _point(records: list[Record]) -> Point:
    last = records[-1]
    found = figures(records)
    estimate = found[0].estimate if found else None
    return Point(last.run, last.commit, last.time, estimate, "ok" if found else last.status, last.versions)


def changes(series: Sequence[Series]) -> list[Change]:
    """Where figures changed, by series and in their order.

    Exact figures and states ("ok", "oom" …) change where neighbours differ. A step in a time is reported where it is
    found at a rate of false discoveries of 5 % over all these series, and is more than 5 %.
    """
    timed = [(each, _timed_points(each)) for each in series if not is_exact(each.metric)]
    tested = [(each, points, test) for each, points in timed if (test := first_step(*_logs(each, points)))]
    level = _level([test[1] for _, _, test in tested])
    found = {id(each): _exact_changes(each) for each in series}
    for each, points, _ in tested:
        found[id(each)] += _timed_changes(each, points, level)
    return [change for each in series for change in sorted(found[id(each)], key=lambda change: change.at)]


def _exact_changes(series: Series) -> list[Change]:
    found = []
    for at in range(1, len(series.points)):
        left, right = series.points[at - 1], series.points[at]
        before, after = (point.estimate.value if point.estimate else None for point in (left, right))
        # Of exact figures the estimates, because a figure that becomes a lower bound has changed.
        if left.status != right.status or (is_exact(series.metric) and left.estimate != right.estimate):
            found.append(Change(series, at, before, after, p=0.0, beside=_beside(left, right)))
    return found


def _beside(left: Point, right: Point) -> tuple[str, ...]:
    names = sorted(left.versions.keys() | right.versions.keys())
    pairs = [(name, left.versions.get(name, "none"), right.versions.get(name, "none")) for name in names]
    return tuple(f"{name} {old} → {new}" for name, old, new in pairs if old != new)


def _timed_points(series: Series) -> list[int]:
    return [i for i, point in enumerate(series.points) if point.estimate]


def _logs(series: Series, points: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The logs of the figures, and the standard error that the launches give each; 0 where there is a single one."""
    estimates = [estimate for i in points if (estimate := series.points[i].estimate)]
    errors = [
        e.half_width / t_quantile(e.launches - 1) if e.launches > 1 and math.isfinite(e.half_width) else 0.0
        for e in estimates
    ]
    return np.log([estimate.value for estimate in estimates]), np.array(errors)


def _timed_changes(series: Series, points: Sequence[int], level: float) -> list[Change]:
    logs, errors = _logs(series, points)
    steps = dict(_steps(logs, errors, level, 0))
    bounds = [0, *sorted(steps), len(logs)]
    found = []
    for before, at, after in zip(bounds, bounds[1:], bounds[2:], strict=False):
        ends = math.exp(logs[before:at].mean()), math.exp(logs[at:after].mean())
        if not alike(ends[1] / ends[0]):
            neighbours = series.points[points[at - 1]], series.points[points[at]]
            found.append(Change(series, points[at], *ends, p=steps[at], beside=_beside(*neighbours)))
    return found
