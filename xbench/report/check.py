"""What a check found, for people: on the terminal and in Markdown. What fails comes first, with its reason."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xbench.metrics.definitions import METRICS
from xbench.regression.bisect import Bisection
from xbench.regression.verdicts import SEVEREST, CellVerdict, CheckResult
from xbench.report.inert import markdown
from xbench.report.tables.grids import Grid, markdown_table
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import alike, conditions_line, in_words
from xbench.wording.numbers import show_counted, show_estimate, show_interval, show_mib

MARKER = "<!-- xbench check -->"  # by which a comment is found again
STYLES = {"FAIL": "bold red", "INCONCLUSIVE": "yellow", "PASS": "green"}
PASSING = 40  # rows that pass and are shown on a terminal
NAMES = ["arm", "where", "metric"]
HEADS = [*NAMES, "before", "now", "times as long"]


def headline(check: CheckResult) -> str:
    """The verdict in a sentence."""
    counts = {verdict: len(check.of(verdict)) for verdict in SEVEREST}
    of = f"of {len(check.findings)} figures, against {check.before}"
    words = {"FAIL": "worse or changed", "INCONCLUSIVE": "undecided", "PASS": "equal or not slower"}
    said = ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count) or "none"
    return f"{check.verdict}: {said}, {of}."


def show_check(check: CheckResult, console: Console) -> None:
    """Prints the findings as a table, the reasons, and the verdict."""
    rows = [finding for verdict in SEVEREST for finding in check.of(verdict)]
    left_out = max(0, len(check.of("PASS")) - PASSING)
    show_findings(rows[: len(rows) - left_out], console)
    if left_out:
        console.print(f"… and {left_out} more that pass", highlight=False)
    console.print(Text(headline(check), style=STYLES[check.verdict]))
    if check.of("FAIL"):
        console.print(Text(check.hint), soft_wrap=True)


def show_bisection(found: Bisection, console: Console) -> None:
    """Prints the commits that were tried, and the culprit with what is worse in it, or why there is none."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("", "commit", "what it says"):
        table.add_column(head, overflow="fold")
    for step in found.steps:
        cells = (step.commit[:12], step.subject)
        table.add_row(Text(step.verdict, style=STYLES[step.verdict]), *map(Text, cells))
    console.print(table)
    if found.culprit is None:
        console.print(Text(found.reason, style=STYLES["INCONCLUSIVE"]), soft_wrap=True)
        if found.left:
            are = "commit between is" if found.left == 1 else "commits between are"
            text = f"It lies after {found.good}, up to {found.bad}: {found.left} {are} open."
            console.print(Text(text), soft_wrap=True)
        return
    show_findings([one for one in found.culprit.findings if one.verdict == "FAIL"], console)
    text = f"{found.culprit.commit[:12]} made it worse: {found.culprit.subject}"
    console.print(Text(text, style=STYLES["FAIL"]), soft_wrap=True)


def show_difference(findings: Sequence[CellVerdict], console: Console) -> bool:
    """Prints what a new baseline would change; False where that is nothing."""
    # What is equal under other versions is worth writing too: held against these, a change would not be comparable.
    different = [finding for finding in findings if finding.verdict != "PASS" or finding.reason]
    console.print(f"{len(findings) - len(different)} figures are as before.", highlight=False)
    show_findings(different, console, verdicts=False)
    return bool(different)


def show_findings(findings: Sequence[CellVerdict], console: Console, *, verdicts: bool = True) -> None:
    """Prints a row per finding, then the reasons. Texts are literal, never markup."""
    if not findings:
        return
    same = _alike(findings)
    console.print(Text(_common(findings, same), style="bold"))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if verdicts:
        table.add_column("")
    heads = HEADS if any(finding.times for finding in findings) else HEADS[:-1]
    for head in heads:
        table.add_column(head, justify="left" if head in NAMES else "right", overflow="fold")
    for finding in findings:
        verdict = [Text(finding.verdict, style=STYLES[finding.verdict])] if verdicts else []
        table.add_row(*verdict, *map(Text, _cells(finding, same)[: len(heads)]))
    console.print(table)
    for reason, found in _by_reason(findings).items():
        said = f"{found[0].verdict}: " if verdicts else ""
        style = STYLES[found[0].verdict] if verdicts else ""
        console.print(Text(f"{said}{_who(found, same)}: {reason}", style=style), soft_wrap=True)


def markdown_check(check: CheckResult) -> str:
    """For the summary of a job or a comment. Names of plug-ins and reasons are escaped."""
    same = _alike(check.findings)
    parts = [MARKER, f"### xbench check: {check.verdict}", "", markdown(headline(check)), ""]
    parts += [markdown(_common(check.findings, same)), ""] if check.findings else []
    for verdict in SEVEREST:
        findings = check.of(verdict)
        if not findings:
            continue
        reasons = _by_reason(findings)
        lines = [f"- {markdown(_who(found, same))}: {markdown(reason)}" for reason, found in reasons.items()]
        rows = [_cells(finding, same) for finding in findings]
        body = [*lines, "", markdown_table(Grid("", HEADS, rows, {}, names=len(NAMES))), ""]
        if verdict == "FAIL":
            parts += [*body, markdown(check.hint), ""]
        else:
            parts += [f"<details><summary>{len(findings)} {verdict}</summary>", "", *body, "</details>", ""]
    return "\n".join(parts)


def _alike(findings: Sequence[CellVerdict]) -> set[str]:
    return alike([finding.place.conditions for finding in findings])


def _common(findings: Sequence[CellVerdict], same: set[str]) -> str:
    """The conditions that all of them share."""
    return conditions_line(findings[0].place.conditions, but={*in_words(findings[0].place.conditions)} - same)


def _cells(finding: CellVerdict, same: set[str]) -> list[str]:
    place = finding.place
    changed = bool(finding.before and finding.now and finding.before != finding.now)
    before, now = (_figure(side, place.metric, changed) for side in (finding.before, finding.now))
    times = show_interval(finding.times) if finding.times else ""
    return [place.arm, conditions_line(place.conditions, but=same), _metric(finding), before, now, times]


def _metric(finding: CellVerdict) -> str:
    return finding.place.metric.replace("_", " ")


def _figure(figure: Estimate | None, metric: str, changed: bool) -> str:
    """An exact figure that changed to its last digit, because the change may be there."""
    if figure is None:
        return "–"
    exact, unit = METRICS[metric].exact, METRICS[metric].unit
    if not exact:
        return f"{show_estimate(figure)} {unit}"
    if unit == "MiB":
        return f"{figure.value * 2**20:,.0f} B" if changed else f"{show_mib(figure.value)} MiB"
    return f"{figure.bound} {figure.value:,.0f}".lstrip() if changed else show_counted(figure)


def _by_reason(findings: Sequence[CellVerdict]) -> dict[str, list[CellVerdict]]:
    found: dict[str, list[CellVerdict]] = {}
    for finding in findings:
        if finding.reason:
            found.setdefault(finding.reason, []).append(finding)
    return found


def _who(findings: Sequence[CellVerdict], same: set[str]) -> str:
    """One by its name; several of one reason by their number."""
    if len(findings) > 1:
        return f"{len(findings)} figures"
    place = findings[0].place
    return f"{_metric(findings[0])} of {place.arm} at {conditions_line(place.conditions, but=same)}"
