"""What came of claims: a table for the terminal, a page in Markdown, JSON. All from what ``replay`` found."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xbench.analysis.results import Results
from xbench.analysis.runs import machine_name
from xbench.claims.claim import AnyTrial, ExponentTrial, FigureTrial, RankCorrelationTrial, RatioTrial
from xbench.claims.quantities import Measured
from xbench.claims.replay import Outcome, Replayed, TrialResult
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import OF_TOKENS
from xbench.report.inert import fenced, markdown
from xbench.report.tables.grids import Grid, markdown_table
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import name_extent
from xbench.wording.numbers import show_count, show_interval, show_number, show_power

MARKS: dict[Outcome, str] = {
    "reproduced": "✓ reproduced",
    "not reproduced": "✗ not reproduced",
    "not testable here": "– not testable here",
    "for comparison": "for comparison",
}
SIGNS: dict[Outcome, tuple[str, str]] = {
    "reproduced": ("✓", "green"),
    "not reproduced": ("✗", "red"),
    "not testable here": ("?", "yellow"),
    "for comparison": ("", ""),
}
HEADS = ["claim", "quantity", "claimed", "measured", "outcome"]


def claims_grid(replayed: Sequence[Replayed]) -> Grid:
    """A row per trial, and one for a claim that has none."""
    rows = []
    for each in replayed:
        rows += [[each.claim.id, *_cells(finding)] for finding in each.findings]
        if not each.findings:
            rows.append([each.claim.id, "", "", "", MARKS["not testable here"]])
    return Grid("", HEADS, rows, {}, names=2)


def _cells(finding: TrialResult) -> list[str]:
    trial = finding.trial
    measured = show_measured(trial, finding.measured) if finding.measured else "–"
    return [name_quantity(trial), show_accepted(trial), measured, MARKS[finding.outcome]]


def name_quantity(trial: AnyTrial) -> str:
    """ "throughput, xfa ÷ mhsa, 1024 px"."""
    timed = METRICS[trial.metric].better == "higher"
    name = trial.metric.replace("_", " ")
    if isinstance(trial, FigureTrial):
        what = f"{name} of {trial.arm}"
    elif isinstance(trial, RatioTrial):
        what = f"{name}, {trial.arm} ÷ {trial.to}"
    elif isinstance(trial, ExponentTrial):
        return f"power of N, {'time' if timed else name} of {trial.arm}, {LEVELS[trial.at.level]}"
    else:
        what = f"rank correlation, {trial.other} and {'time' if timed else name}"
    return f"{what}, {_size(trial)}"


LEVELS = {"op": "attention alone", "layer": "layers alone", "block": "XF block", "model": "model"}


def _size(trial: AnyTrial) -> str:
    (size,) = trial.at.sizes
    alone = trial.at.level in OF_TOKENS
    return name_extent(f"{size:,}" if isinstance(size, int) and alone else str(size), alone)


def show_accepted(trial: AnyTrial) -> str:
    """ "2 ±25%", "at most 1.1", or "–" where nothing is claimed."""
    if trial.value is not None and trial.tolerance is not None:
        return f"{_show(trial, trial.value)} ±{100 * trial.tolerance:g}%"
    if trial.at_least is not None:
        return f"at least {_show(trial, trial.at_least)}"
    return "–" if trial.at_most is None else f"at most {_show(trial, trial.at_most)}"


def _show(trial: AnyTrial, value: float) -> str:
    """A bare value: of a count with its prefix, of a time or of memory with its unit."""
    if not isinstance(trial, FigureTrial):
        return f"{value:.3g}"
    unit = METRICS[trial.metric].unit
    return show_count(value) if unit in ("count", "MACs") else f"{show_number(value, 3)} {unit}"


def show_measured(trial: AnyTrial, found: Measured) -> str:
    """The value with its interval, without one where it repeats to the last digit."""
    exact = found.low == found.high
    if bound := _estimate(found).bound:
        return f"{bound} {_show(trial, found.value)}"
    if isinstance(trial, ExponentTrial | RankCorrelationTrial):
        return show_power(found.value, found.low, found.high)
    if exact or not isinstance(trial, FigureTrial):
        return _show(trial, found.value) if exact else show_interval(_estimate(found))
    return f"{show_interval(_estimate(found))} {METRICS[trial.metric].unit}"


def _estimate(found: Measured) -> Estimate:
    return Estimate(found.value, found.low, found.high, launches=0 if math.isnan(found.low) else 2)


def summary(replayed: Sequence[Replayed]) -> str:
    """ "15 claims: 7 reproduced, 2 not reproduced, 6 not testable here."""
    count = {outcome: sum(each.outcome == outcome for each in replayed) for outcome in list(MARKS)[:3]}
    found = ", ".join(f"{n} {outcome}" for outcome, n in count.items())
    return f"{len(replayed)} claim{'' if len(replayed) == 1 else 's'}: {found}."


def remarks(each: Replayed) -> list[str]:
    """Sentences on one claim: why it cannot be tested, and by trial what is to be known of the outcome."""
    said = [f"Not testable here: {each.claim.untestable}"] if each.claim.untestable else []
    for finding in each.findings:
        remark = finding.measured.remark if finding.measured else ""
        parts = [part for part in (finding.reason, remark) if part]
        if parts:
            said.append(f"{name_quantity(finding.trial)}: {'; '.join(parts)}.")
    return said


def show_claims(replayed: Sequence[Replayed], console: Console) -> None:
    """The claims in their own words, each with the quantities that test it, and the sum."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("", "claim, and what tests it"):
        table.add_column(head, overflow="fold")
    for head in ("claimed", "measured"):
        table.add_column(head, justify="right", no_wrap=True)
    for each in replayed:
        mark, style = SIGNS[each.outcome]
        said = Text.assemble((each.claim.id, "bold"), f": {each.claim.sentence}")
        table.add_row(Text(mark, style), said)
        if each.claim.untestable:
            table.add_row("", Text(f"  not testable here: {each.claim.untestable}", "dim"))
        for finding in each.findings:
            mark, style = SIGNS[finding.outcome]
            _, claimed, measured, _ = _cells(finding)
            why = "; ".join(filter(None, (finding.reason, finding.measured.remark if finding.measured else "")))
            what = Text(f"  {name_quantity(finding.trial)}").append(f" ({why})" if why else "", "dim")
            table.add_row(Text(mark, style), what, claimed, measured)
        table.add_row()
    console.print(table)
    console.print(Text(summary(replayed), style="bold"))


HOW = (
    "A test is reproduced where the whole 95 % interval of what was measured lies within what is accepted, not "
    "reproduced where it lies outside, and not testable here where it reaches across the edge or nothing that can be "
    "trusted was measured. Figures without an interval repeat to the last digit."
)


def claims_page(replayed: Sequence[Replayed], title: str, command: str) -> str:
    """The page in Markdown: the sum, the table, and each claim with its source, its tests and where they were read."""
    lines = [
        f"# {markdown(title)}",
        "",
        f"**{summary(replayed)}**",
        "",
        markdown_table(claims_grid(replayed)),
        "",
        HOW,
        "",
    ]
    for each in replayed:
        lines += _section(each)
    lines += ["## Where it was read", "", *_sources(replayed), ""]
    return "\n".join([*lines, "Made by:", "", fenced(command, "bash"), ""])


def _section(each: Replayed) -> list[str]:
    claim = each.claim
    notes = [f"{name_quantity(f.trial)}: {f.trial.note}" for f in each.findings if f.trial.note]
    read = dict.fromkeys(finding.evidence.name for finding in each.findings if finding.evidence)
    points = [*remarks(each), *notes, *([f"Read from: {', '.join(read)}."] if read else [])]
    # Names of arms and sentences of claims are text, whatever stands in them.
    name, sentence, by = (markdown(text) for text in (claim.id, claim.sentence, claim.by))
    source = f"{by[0].upper()}{by[1:]} ({claim.basis})."
    bullets = [f"- {markdown(point)}" for point in points]
    return [f"## {name}: {each.outcome}", "", f"> {sentence}", "", source, "", *bullets, ""]


def _sources(replayed: Sequence[Replayed]) -> list[str]:
    found = {f.evidence.name: f.evidence for each in replayed for f in each.findings if f.evidence}
    lines = []
    for name, evidence in found.items():
        last = evidence.last
        versions = f"torch {last.versions.get('torch', '?')}, commit {last.commit or '?'}"
        where = f"{_launches(evidence.results)}{machine_name(last.machine)}"
        lines.append(f"- {markdown(f'{name}: {where}; {versions}; {last.time[:10]}.')}")
    return lines


def _launches(results: Results) -> str:
    found = [n for place in results.conditions for n in results.launches(place).values()]
    return f"{max(found)} launches; " if found else ""


def claims_json(replayed: Sequence[Replayed]) -> str:
    """A list with one object per claim, its trials within. An interval that is not known is null."""
    return json.dumps([_claim(each) for each in replayed], indent=2, allow_nan=False)


def _claim(each: Replayed) -> dict[str, Any]:
    claim = each.claim
    said = {key: getattr(claim, key) for key in ("id", "by", "basis", "sentence")}
    return {**said, "outcome": each.outcome, "reason": claim.untestable, "tests": list(map(_trial, each.findings))}


def _trial(finding: TrialResult) -> dict[str, Any]:
    found, evidence = finding.measured, finding.evidence
    low, high = finding.trial.accepted
    return {
        **finding.trial.model_dump(by_alias=True, exclude_none=True),
        "accepted": [_finite(low), _finite(high)] if finding.trial.decides else None,
        "outcome": finding.outcome,
        "reason": finding.reason,
        "measured": found and found.value,
        "low": found and _finite(found.low),
        "high": found and _finite(found.high),
        "remark": found and found.remark,
        "source": evidence and evidence.name,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
