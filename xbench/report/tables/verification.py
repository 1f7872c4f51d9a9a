"""How ``xbench verify`` shows what the conformance checks found."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from xbench.conformance import CHECKS, Finding, judged
from xbench.report.tables.grids import Grid, rich_table

MARKS = {"pass": "✓", "fail": "✗ fails", "skip": "skipped"}


def show_findings(found: Sequence[Finding], console: Console) -> None:
    """One attention: a row per check. Several: a row per attention, then a row per check that failed or was skipped."""
    names = list(dict.fromkeys(finding.attention for finding in found))
    if len(names) > 1:
        console.print(rich_table(_overview(found, names), console.width))
        found = [finding for finding in found if finding.outcome == "fail"]
    for name in names:
        own = [finding for finding in found if finding.attention == name]
        if own:
            console.print(Text(name, style="bold"))
        for finding in own:
            style = {"fail": "red", "skip": "dim"}.get(finding.outcome, "")
            line = f"  {MARKS[finding.outcome]:8} {finding.check}"
            console.print(Text(line + (f": {finding.reason}" if finding.reason else ""), style=style))


def _overview(found: Sequence[Finding], names: Sequence[str]) -> Grid:
    rows = []
    for name in names:
        own = [finding for finding in found if finding.attention == name]
        count = {outcome: sum(finding.outcome == outcome for finding in own) for outcome in MARKS}
        growth = next(
            (finding.reason for finding in own if (finding.check, finding.outcome) == ("growth in N", "pass")), "–"
        )
        seconds = sum(finding.seconds for finding in own)
        rows.append(
            [name, *(str(count[outcome]) for outcome in MARKS), growth.replace(" and ", ", "), f"{seconds:.1f}"]
        )
    return Grid("", ["attention", "pass", "fail", "skip", "growth in N", "s"], rows, {})


def summary(found: Sequence[Finding]) -> str:
    """ "24 attentions, 18 checks each: all pass." or what does not."""
    names = list(dict.fromkeys(finding.attention for finding in found))
    failing = list(dict.fromkeys(finding.attention for finding in found if finding.outcome == "fail"))
    what = f"{len(names)} attention{'s' if len(names) > 1 else ''}, {len(CHECKS)} checks each"
    verdict = f"{', '.join(failing)} failed" if failing else "none failed"
    unknown = not_judged(found)
    more = f"; {', '.join(unknown)} cannot be judged, most checks were skipped" if unknown else ""
    return f"{what}: {verdict}{more}."


def not_judged(found: Sequence[Finding]) -> list[str]:
    """The attentions of which the findings say too little."""
    names = dict.fromkeys(finding.attention for finding in found)
    return [name for name in names if not judged([finding for finding in found if finding.attention == name])]


def json_lines(found: Sequence[Finding]) -> str:
    """The findings, one JSON object per line."""
    return "\n".join(json.dumps(asdict(finding)) for finding in found)
