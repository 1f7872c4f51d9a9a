"""What a check found, for programs: JSON, and JUnit XML as continuous integration reads it."""

import json
import math
import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from xbench.metrics.definitions import METRICS
from xbench.regression.verdicts import SEVEREST, CellVerdict, CheckResult
from xbench.report.check import headline
from xbench.statistics.estimates import Estimate
from xbench.wording.conditions import conditions_line

SCHEMA = 1
# What XML 1.0 has no way to write, escaped or not: a worker's last words may hold such.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def json_check(check: CheckResult) -> str:
    """One object: the verdict, how many of each, and every finding with its figures and intervals."""
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": check.verdict,
        "headline": headline(check),
        "against": check.before,
        "effect": check.effect,
        "counts": {verdict: len(check.of(verdict)) for verdict in SEVEREST},
        "findings": [_finding(finding) for finding in check.findings],
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _finding(finding: CellVerdict) -> dict[str, Any]:
    place = finding.place
    said = {"arm": place.arm, "metric": place.metric, "unit": METRICS[place.metric].unit}
    said |= {"where": conditions_line(place.conditions), "verdict": finding.verdict, "reason": finding.reason}
    figures = {name: _figure(getattr(finding, name)) for name in ("before", "now", "times", "again")}
    return {**said, "conditions": place.conditions.flat(), **figures}


def _figure(figure: Estimate | None) -> dict[str, Any] | None:
    """Without what is not known: JSON has no word for it. A bound has its sign, and no other end."""
    if figure is None:
        return None
    bound = {"bound": figure.bound} if figure.bound else {}
    known = {key: value for key, value in asdict(figure).items() if value is not None and not _is_unknown(value)}
    return known | bound


def _is_unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def junit_check(check: CheckResult) -> str:
    """A test case per finding: FAIL is a failure, INCONCLUSIVE a test that was skipped."""
    counts = {verdict: len(check.of(verdict)) for verdict in SEVEREST}
    suite = ElementTree.Element(
        "testsuite",
        name="xbench check",
        tests=str(len(check.findings) or 1),
        failures=str(counts["FAIL"]),
        skipped=str(counts["INCONCLUSIVE"]),
        errors=str(int(not check.measured)),
    )
    for finding in check.findings:
        place = finding.place
        name = f"{METRICS[place.metric].label} at {conditions_line(place.conditions)}"
        case = ElementTree.SubElement(suite, "testcase", classname=_writable(place.arm), name=_writable(name))
        if finding.verdict != "PASS":
            kind = "failure" if finding.verdict == "FAIL" else "skipped"
            ElementTree.SubElement(case, kind, message=_writable(finding.reason))
    if not check.measured:
        case = ElementTree.SubElement(suite, "testcase", classname="xbench", name="anything measured")
        ElementTree.SubElement(case, "error", message="nothing was measured")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _writable(text: str) -> str:
    return UNWRITABLE.sub("�", text)
