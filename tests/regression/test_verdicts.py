"""Verdicts on figures, from made records, and how they are written down."""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from made_records import launches, make, place
from rich.console import Console

from xbench.analysis.results import Results
from xbench.records.provenance import unlike
from xbench.regression.baseline import compare
from xbench.regression.times import judge_times
from xbench.regression.verdicts import CellKey, CellVerdict, CheckResult, accept, judge
from xbench.report.check import headline, markdown_check, show_check, show_difference
from xbench.report.check_files import json_check, junit_check
from xbench.statistics.estimates import Estimate

WHERE = place(64)
MACHINE = {"cpu": "made", "physical_cores": 2, "memory_mib": 1, "system": "made"}
KNOWN = {"machine": MACHINE, "versions": {"xbench": "1", "torch": "2.9"}, "policy": {"OMP_WAIT_POLICY": "passive"}}


def found(before, now):
    """By metric and arm, the finding of records against records."""
    findings, timed = compare(Results(before), Results(now), 0.05)
    findings += judge_times(timed, 0.05, lambda suspected: timed)
    return {(f.place.metric, f.place.arm): f for f in findings}


def exact(metric, value, **fields):
    return make("a", WHERE, metric, [value], **KNOWN | {"detail": {}} | fields)


def test_exact_figures_by_equality():
    before = [exact("params", 5), exact("peak_memory", 2.5), exact("macs", 7, detail={"counters": {"torch": 7}})]
    assert {f.verdict for f in found(before, before).values()} == {"PASS"}
    now = [
        exact("params", 6),
        exact("peak_memory", 2.5 - 4 / 2**20),
        exact("macs", 7, detail={"counters": {"torch": 8}}),
    ]
    verdicts = found(before, now)
    assert {f.verdict for f in verdicts.values()} == {"FAIL"}
    assert "torch counts 8 where it counted 7" in verdicts["macs", "a"].reason, "work that the formula does not know"
    accepted = accept(list(verdicts.values()), ["params"])
    assert {f.place.metric: f.verdict for f in accepted} == {"params": "PASS", "peak_memory": "FAIL", "macs": "FAIL"}


def test_what_vanished_or_fails_now_fails_and_what_is_new_has_nothing_to_compare_with():
    lost = exact("peak_memory", 1)
    gone = replace(lost, samples=[], status="oom", reason="too much")
    assert "now oom: too much" in found([lost], [gone])["peak_memory", "a"].reason
    for before, now, verdict in ([[lost], [gone], "FAIL"], [[lost], [], "FAIL"], [[], [lost], "INCONCLUSIVE"]):
        assert found(before, now)["peak_memory", "a"].verdict == verdict
    assert found([gone], [lost])["peak_memory", "a"].verdict == "INCONCLUSIVE"
    assert accept([found([lost], [gone])["peak_memory", "a"]], ["peak_memory"])[0].verdict == "FAIL", "not a change"


@pytest.mark.parametrize(
    ("metric", "change", "named"),
    [
        ("params", {"versions": {"xbench": "1", "torch": "3"}}, ""),
        ("params", {"versions": {"xbench": "2", "torch": "2.9"}}, "xbench was 1, is 2"),
        ("macs", {"versions": {"xbench": "1", "torch": "3"}}, "torch was 2.9, is 3"),
        ("macs", {"machine": {**MACHINE, "cpu": "other"}}, ""),
        ("peak_memory", {"machine": {**MACHINE, "cpu": "other"}}, "cpu was made, is other"),
        ("peak_memory", {"machine": {**MACHINE, "memory_mib": 9, "system": "newer"}}, ""),
        ("peak_memory", {"policy": {}}, "OMP_WAIT_POLICY was passive, is unknown"),
        ("peak_memory", {"versions": {"xbench": "1", "torch": "2.9", "numpy": "2"}}, ""),
        ("throughput", {"versions": {"xbench": "1", "torch": "2.9", "numpy": "2"}}, "numpy was unknown, is 2"),
    ],
)
def test_figures_compare_where_what_decides_them_is_equal(metric, change, named):
    before = exact(metric, 5)
    now = replace(before, **change)
    assert unlike(before, now) == ([named] if named else [])
    if metric != "throughput":
        equal = found([before], [now])[metric, "a"]
        assert (equal.verdict, equal.reason) == ("PASS", f"equal, although {named}" if named else "")
        other = found([before], [replace(now, samples=[6])])[metric, "a"]
        assert other.verdict == ("INCONCLUSIVE" if named else "FAIL"), "whose doing it is, nobody can say"
        assert named in other.reason


def test_a_count_that_one_side_does_not_have_is_a_sentence():
    def with_count(count, **fields):
        return exact("macs", 7, detail={"counters": count}, **fields)

    known, failed, never = with_count({"torch": 7}), with_count({"torch": None}), with_count(None)
    for before, now, said in (
        (known, failed, "none now"),
        (failed, known, "none before"),
        (never, known, "none before"),
    ):
        finding = found([before], [now])["macs", "a"]
        assert finding.verdict == "INCONCLUSIVE"
        assert said in finding.reason
    assert found([failed], [never])["macs", "a"].verdict == "PASS"
    other = with_count({"torch": 8}, versions={"xbench": "1", "torch": "3"})
    finding = found([known], [other])["macs", "a"]
    assert finding.verdict == "INCONCLUSIVE"
    assert "torch counts 8 where it counted 7" in finding.reason
    assert finding.reason.endswith("torch was 2.9, is 3")


def test_a_largest_batch_under_another_limit_is_not_the_same_question():
    before, now = (exact("max_batch", 5, detail={"limit": limit}) for limit in (2**32, 2**33))
    finding = found([before], [now])["max_batch", "a"]
    assert finding.verdict == "INCONCLUSIVE"
    assert "the limit was 4294967296, is 8589934592" in finding.reason


def test_what_is_equal_under_other_versions_is_worth_a_new_baseline():
    console = Console(width=200, record=True, file=io.StringIO())
    same, newer = exact("macs", 5), exact("macs", 5, versions={"xbench": "1", "torch": "3"})
    assert not show_difference(list(found([same], [same]).values()), console)
    assert show_difference(list(found([same], [newer]).values()), console)
    assert "equal, although torch was 2.9, is 3" in console.export_text()


def test_times_of_two_runs_compare_on_one_machine_and_only_beside_a_control_that_holds():
    def run(now, control=1.0, **fields):
        known = KNOWN | fields
        reference = launches("a", [100, 101, 99, 100, 101, 99], **known)
        again = [replace(r, case={**r.case, "arm": "a again", "control": True}) for r in reference]
        again = [replace(r, samples=[s * control for s in r.samples]) for r in again]
        return [*reference, *again, *launches("b", [now * v for v in (1, 1.01, 0.99, 1, 1.01, 0.99)], **known)]

    def verdict(now, **how):
        return found(run(100), run(now, **how))["throughput", "b"]

    assert verdict(100).verdict == "PASS"
    assert verdict(120).verdict == "PASS", "faster is not slower"
    assert verdict(80).verdict == "FAIL"
    assert verdict(80).times.value == pytest.approx(1.25)
    assert verdict(80, control=1.2).verdict == "INCONCLUSIVE"
    assert "came out at 1.2" in verdict(80, control=1.2).reason
    other = verdict(80, machine={**MACHINE, "cpu": "other"})
    assert other.verdict == "INCONCLUSIVE"
    assert "--against" in other.reason
    one_arm = [r for r in run(80) if r.case["arm"] == "b"]
    assert "no control" in found([r for r in run(100) if r.case["arm"] == "b"], one_arm)["throughput", "b"].reason


@pytest.fixture
def check(tmp_path):
    """One of each verdict, with a name that means harm."""
    bad = named("<script>|`@you`", "peak_memory")
    old, new = Estimate.exact(2.0), Estimate.exact(2.0 + 4 / 2**20)
    times = Estimate(1.1, 1.08, 1.12, 6)
    findings = (
        CellVerdict(named("a", "params"), "PASS", "", Estimate.exact(5475688), Estimate.exact(5475688)),
        CellVerdict(bad, "FAIL", "peak memory changed\x1b[31m", old, new),
        CellVerdict(
            named("a", "throughput"),
            "INCONCLUSIVE",
            "not known",
            old,
            new,
            Estimate(1, float("nan"), float("nan"), 1),
        ),
        CellVerdict(named("b", "throughput"), "FAIL", "takes longer", old, new, times, times),
    )
    return CheckResult(findings, "main (1234)", 0.05, tmp_path, "hint")


def named(arm, metric):
    return CellKey(arm, WHERE, metric)


def test_what_is_printed_names_the_figure_to_its_last_digit(check):
    console = Console(width=200, record=True, file=io.StringIO())
    show_check(check, console)
    text = console.export_text()
    assert "2,097,152 B" in text
    assert "2,097,156 B" in text
    assert text.index("FAIL") < text.index("INCONCLUSIVE") < text.index("PASS")
    assert (
        headline(check)
        == "FAIL: 2 worse or changed, 1 undecided, 1 equal or not slower, of 4 figures, against main (1234)."
    )


def test_files_are_well_formed_whatever_a_name_holds(check):
    markdown = markdown_check(check)
    assert "<script>" not in markdown
    assert "@you" not in markdown
    suite = ElementTree.fromstring(junit_check(check)).find("testsuite")
    assert [suite.get(key) for key in ("tests", "failures", "skipped", "errors")] == ["4", "2", "1", "0"]
    assert suite.find("testcase/failure").get("message") == "peak memory changed\ufffd[31m"
    assert {case.get("classname") for case in suite} == {"a", "b", "<script>|`@you`"}
    loaded = json.loads(json_check(check))
    assert loaded["verdict"] == "FAIL"
    assert loaded["counts"] == {"FAIL": 2, "INCONCLUSIVE": 1, "PASS": 1}
    assert loaded["findings"][3]["again"]["low"] == 1.08
    assert set(loaded["findings"][2]["times"]) == {"value", "launches"}, "what is not known has no number"


def test_nothing_measured_is_an_error_of_its_own(tmp_path):
    nothing = CheckResult((), "main", 0.05, tmp_path, "")
    assert not nothing.measured
    assert nothing.verdict == "INCONCLUSIVE"
    assert ElementTree.fromstring(junit_check(nothing)).find("testsuite").get("errors") == "1"
    failed_twice = judge(named("a", "macs"), None, None)
    assert not replace(nothing, findings=(failed_twice,)).measured
