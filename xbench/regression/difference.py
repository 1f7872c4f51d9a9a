"""Two runs side by side: what makes them incomparable, and what differs between their figures. Decides nothing."""

from collections import Counter
from dataclasses import dataclass, replace

from xbench.analysis.results import EXPLANATIONS, Results
from xbench.metrics.definitions import METRICS
from xbench.records.provenance import unlike
from xbench.regression.baseline import compare
from xbench.regression.verdicts import CellKey, CellVerdict

APART = "the two runs took no turns: what changed in the machine between them is in it"


@dataclass(frozen=True)
class Difference:
    """Of two runs.

    Attributes:
        reasons: why figures of the two may not be compared, the most frequent first.
        findings: figures that both sides have, or asked for.
        before_alone, now_alone: figures of one side, of arms or conditions that the other has not.
    """

    reasons: list[str]
    findings: list[CellVerdict]
    before_alone: list[CellKey]
    now_alone: list[CellKey]


def difference(before: Results, now: Results, effect: float) -> Difference:
    """What differs between two runs. Trained figures are left out, which reports compare by seeds.

    Times that may be compared have their ratio, with Welch's interval over launches. ``effect`` is the relative
    difference of times from which a control counts as failed.
    """
    judged, timed = compare(before, now, effect)
    judged += [
        CellVerdict(place, "INCONCLUSIVE", time.void or APART, time.before, time.now, time.slowdown.times)
        for place, time in timed.items()
    ]
    found = Difference([], [], [], [])
    reasons: Counter[str] = Counter()
    for finding in judged:
        place = finding.place
        if METRICS[place.metric].how == "trained" or place.metric in EXPLANATIONS:
            continue
        old, new = (side.cell(place.conditions, place.arm, place.metric) for side in (before, now))
        alone = found.now_alone if old is None else found.before_alone if new is None else None
        if alone is not None:
            alone.append(place)
            continue
        found.findings.append(finding)
        sides = [side.measured(place.conditions, place.arm, place.metric) for side in (before, now)]
        reasons.update(unlike(sides[0][-1], sides[1][-1]) if all(sides) else [])
    return replace(found, reasons=[reason for reason, _ in reasons.most_common()])
