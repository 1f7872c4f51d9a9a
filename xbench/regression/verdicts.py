"""What a check finds: a verdict on every figure that was there before or is there now."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xbench.analysis.results import Cell
from xbench.metrics.definitions import METRICS
from xbench.regression.slowdown import Verdict
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions

SEVEREST: tuple[Verdict, ...] = ("FAIL", "INCONCLUSIVE", "PASS")


@dataclass(frozen=True)
class CellKey:
    """What a figure is of: one metric of one arm under one set of conditions, as ``Results.conditions`` gives them."""

    arm: str
    conditions: Conditions
    metric: str


@dataclass(frozen=True)
class CellVerdict:
    """The verdict on one figure, and why.

    Attributes:
        before, now: the figure on either side, None where there is none.
        times: of times, how many times as long as before.
        again: the same from the rerun, where there was one.
    """

    place: CellKey
    verdict: Verdict
    reason: str = ""
    before: Estimate | None = None
    now: Estimate | None = None
    times: Estimate | None = None
    again: Estimate | None = None


@dataclass(frozen=True)
class CheckResult:
    """All that a check found.

    Attributes:
        before: what the figures are held against: a commit, or a folder.
        effect: the relative slow-down that is allowed.
        folder: holds the records.
        hint: what to do about a change that is meant.
    """

    findings: tuple[CellVerdict, ...]
    before: str
    effect: float
    folder: Path
    hint: str

    @property
    def verdict(self) -> Verdict:
        """The severest of all; INCONCLUSIVE where there is nothing to judge."""
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in SEVEREST if verdict in found), "INCONCLUSIVE")

    @property
    def measured(self) -> bool:
        """Whether there is any figure at all, on either side."""
        return any(finding.before or finding.now for finding in self.findings)

    def of(self, verdict: Verdict) -> list[CellVerdict]:
        """The findings with this verdict."""
        return [finding for finding in self.findings if finding.verdict == verdict]


def judge(place: CellKey, before: Cell | None, now: Cell | None, unlike: Sequence[str] = ()) -> CellVerdict | None:
    """What can be said without an interval; None where both sides have a time.

    ``unlike`` names what differs between the sides, other than the code, and decides the figure. An exact figure that
    is the same in spite of it has not changed; where it is another, nobody can say whose doing that is.
    """
    old = before.figure if before and before.status == "ok" else None
    new = now.figure if now and now.status == "ok" else None
    if before is None or old is None:
        why = "it was not measured" if before is None else f"{before.status}: {before.reason}"
        return CellVerdict(place, "INCONCLUSIVE", f"nothing to compare with: before, {why}", old, new)
    if now is None:
        return CellVerdict(place, "FAIL", "vanished: measured before, and not any more", old)
    if new is None:
        return CellVerdict(place, "FAIL", f"measured before; now {now.status}: {now.reason}", old)
    if METRICS[place.metric].exact:
        return _judge_exact(place, before, now, unlike)
    return _not_comparable(place, before, now, unlike) if unlike else None


def _judge_exact(place: CellKey, before: Cell, now: Cell, unlike: Sequence[str]) -> CellVerdict:
    """By equality, of figures that both sides have."""
    old, new = before.figure, now.figure
    assert old is not None
    assert new is not None
    # How many images fit into one memory says nothing of how many fit into another, also where the numbers agree.
    limits = [cell.detail.get("limit") for cell in (before, now)]
    if limits[0] != limits[1]:
        return _not_comparable(place, before, now, unlike or [f"the limit was {limits[0]}, is {limits[1]}"])
    if old != new and unlike:
        return _not_comparable(place, before, now, unlike)
    if old.bound or new.bound:
        return CellVerdict(place, *_bounded(place.metric, old, new), old, new)
    if old != new:
        return CellVerdict(place, "FAIL", f"{METRICS[place.metric].label} changed", old, new)
    # The figure takes an attention's own formula for true. Work that the formula does not know shows in the count.
    counts = [_torch_count(cell) for cell in (before, now)]
    if None in counts and counts != [None, None]:
        lacking, has = ("before", "now") if counts[0] is None else ("now", "before")
        reason = f"equal, but torch has a count {has} and none {lacking}: work that no formula knows would not show"
        return CellVerdict(place, "INCONCLUSIVE", reason, old, new)
    if counts[0] != counts[1]:
        reason = f"torch counts {counts[1]:,} where it counted {counts[0]:,}, and the attention's formula is as before"
        if unlike:
            return _not_comparable(place, before, now, [reason, *unlike])
        return CellVerdict(place, "FAIL", reason, old, new)
    return CellVerdict(place, "PASS", f"equal, although {', '.join(unlike)}" if unlike else "", old, new)


def _not_comparable(place: CellKey, before: Cell, now: Cell, unlike: Sequence[str]) -> CellVerdict:
    return CellVerdict(place, "INCONCLUSIVE", f"not comparable: {', '.join(unlike)}", before.figure, now.figure)


def _torch_count(cell: Cell) -> float | None:
    """What torch's counter found beside the figure; None where it did not run, failed, or counts nothing such."""
    return (cell.detail.get("counters") or {}).get("torch")


def _bounded(metric: str, old: Estimate, new: Estimate) -> tuple[Verdict, str]:
    """The verdict where a side is a lower bound: it can be shown to differ from an exact figure, never to equal it."""
    if old.high < new.low or new.high < old.low:
        return "FAIL", f"{METRICS[metric].label} changed: a lower bound of one side is beyond the other side"
    side = "before and now" if old.bound and new.bound else "before" if old.bound else "now"
    return "INCONCLUSIVE", f"not comparable: {side} a lower bound, because no rule counts all operations that multiply"


def accept(findings: Sequence[CellVerdict], intended: Collection[str]) -> list[CellVerdict]:
    """The findings with changes of the intended metrics accepted; what lost its figure still fails."""
    return [
        replace(finding, verdict="PASS", reason=f"{finding.reason}, as intended")
        if finding.verdict == "FAIL" and finding.now and finding.place.metric in intended
        else finding
        for finding in findings
    ]
