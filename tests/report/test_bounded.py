"""A count that is a lower bound says so wherever it is shown, compared, exported and judged."""

import io
import math
from dataclasses import replace

import pytest
from made_records import LINEAR, QUADRATIC, exact, place, timed
from rich.console import Console

from xbench.analysis.figures import figures
from xbench.analysis.frame import tidy_frame
from xbench.analysis.history import changes, histories
from xbench.analysis.results import Results
from xbench.analysis.roofline import attained
from xbench.claims.claim import FigureTrial, RankCorrelationTrial, RatioTrial
from xbench.claims.quantities import UnfitError, measure
from xbench.claims.replay import judge
from xbench.exchange.asv import _benchmark_name
from xbench.exchange.bencher import bencher_metrics
from xbench.exchange.pytest_benchmark import to_pytest_benchmark
from xbench.regression.baseline import compare
from xbench.regression.verdicts import CheckResult
from xbench.report.check import show_check
from xbench.report.check_files import json_check
from xbench.report.claims import show_measured
from xbench.report.history import changes_grid
from xbench.report.markdown import markdown_report
from xbench.report.page.data import page_data
from xbench.report.plots.catalogue import plot
from xbench.report.terminal import show
from xbench.report.text.answers import answers, caveats
from xbench.statistics.estimates import Estimate

HERE = place(1024)
OPERATION = "planted::multiply"
LEFT_OUT = {"aten.mul": 0.032}


def bounded(records, arm=LINEAR.label):
    """The records with the arm's MACs a lower bound."""
    return [
        replace(record, detail={**record.detail, "at_least": [OPERATION]})
        if (record.metric, record.case["arm"]) == ("macs", arm)
        else record
        for record in records
    ]


def counted(*arms, at=HERE):
    return [record for arm in arms for record in exact(arm, at, ("params", "macs"))]


@pytest.fixture
def results(tmp_path):
    return Results(bounded(counted(QUADRATIC, LINEAR)))


def macs(arm):
    return exact(arm, HERE, ("macs",))[0].samples[0]


def test_ratios_of_lower_bounds_are_bounds_or_nothing():
    low, known = Estimate.at_least(6.0), Estimate.exact(3.0)
    assert low.over(known) == Estimate(2.0, 2.0, math.inf, 1)
    assert known.over(low) == Estimate(0.5, 0.0, 0.5, 1)
    assert known.over(known) == Estimate.exact(1.0)
    assert low.over(low) is None
    assert [e.bound for e in (low, known, low.over(known), known.over(low))] == ["≥", "", "≥", "≤"]
    assert not any(Estimate(*ends, 1).bound for ends in ((1, math.nan, math.nan), (1, 0.5, 2), (0, 0, 0)))


def test_words_tables_and_frame(results, tmp_path):
    both = Results(bounded(bounded(counted(QUADRATIC, LINEAR)), QUADRATIC.label))
    times = f"{macs(LINEAR) / macs(QUADRATIC):.3g}"
    assert f"at least {times} times the MACs" in " ".join(answers(results))
    turned = Results(bounded(counted(QUADRATIC, LINEAR)), against=LINEAR.label)
    assert "at most" in " ".join(answers(turned))
    assert "MACs" not in " ".join(answers(both))
    (note,) = [text for text in caveats(results) if "lower bound" in text]
    assert note == f"The MACs of xfa are a lower bound (≥): no rule counts what {OPERATION} multiplies."
    report = markdown_report(results, "?", "", [], tmp_path)
    screen = io.StringIO()
    show(results, tmp_path, Console(file=screen, width=160))
    for text in (report, screen.getvalue()):
        assert text.count("≥ ") >= 1
        assert note in " ".join(text.split())
    frame = tidy_frame(results).set_index(["arm", "metric"])
    own = frame.loc[("xfa", "macs")]
    assert (own.value, own.low, own.high, own.at_least) == (macs(LINEAR), macs(LINEAR), math.inf, OPERATION)
    assert (frame.drop(("xfa", "macs")).at_least == "").all()


def test_what_is_left_out_is_a_sentence_beside_the_counters(tmp_path):
    records = counted(QUADRATIC, LINEAR)
    last = replace(records[-1], detail={**records[-1].detail, "left_out": LEFT_OUT})
    report = markdown_report(Results([*records[:-1], last]), "?", "", [], tmp_path)
    section = report.partition("## Do the counters agree")[2]
    sentence = "The MACs of xfa leave out products that are no matrix products: aten.mul, 3.2% of them at 1024 px."
    assert sentence in section
    assert "lower bound" not in report


def test_plots_and_page(results):
    (bar,) = [text for text in plot(results, "cost").axes[0].texts if text.get_text().startswith("≥")]
    assert bar.get_text().endswith(("G", "M"))
    places = [record for res in (256, 512) for record in counted(QUADRATIC, LINEAR, at=place(res))]
    line = plot(Results(bounded(places)), "cost").axes[0]
    assert [text.get_text() for text in line.texts] == ["≥", "≥"]
    data = page_data(results)
    cells = {data["arms"][row["arm"]]["name"]: row["cells"]["macs"] for row in data["rows"]}
    assert cells["xfa"]["bound"] == cells["xfa"]["times"]["bound"] == "≥"
    assert cells["xfa"]["text"].startswith("≥ ")
    assert "bound" not in cells["mhsa"]


def test_no_place_under_the_roof():
    records = [record for arm in (QUADRATIC, LINEAR) for record in [*exact(arm, HERE), *timed(arm, HERE)]]
    assert attained(Results(records), HERE, "xfa")
    assert attained(Results(bounded(records)), HERE, "xfa") is None
    assert attained(Results(bounded(records)), HERE, "mhsa")


@pytest.mark.parametrize(
    ("before", "now", "verdict", "said"),
    [
        (1.0, 1.0, "INCONCLUSIVE", "not comparable: now a lower bound"),
        (1.0, 0.5, "INCONCLUSIVE", "not comparable: now a lower bound"),
        (1.0, 1.5, "FAIL", "changed: a lower bound of one side is beyond the other side"),
    ],
)
def test_the_gate_passes_no_lower_bound(before, now, verdict, said, tmp_path):
    def figure(scale):
        (record,) = exact(LINEAR, HERE, ("macs",))
        return replace(record, samples=[scale * record.samples[0]], machine={"cpu": "c"}, versions={"torch": "2"})

    (finding,) = compare(Results([figure(before)]), Results(bounded([figure(now)])), 0.05)[0]
    assert finding.verdict == verdict
    assert said in finding.reason
    (equal,) = compare(Results(bounded([figure(1)])), Results(bounded([figure(1)])), 0.05)[0]
    assert (equal.verdict, "before and now a lower bound" in equal.reason) == ("INCONCLUSIVE", True)
    check = CheckResult((finding,), "main", 0.05, tmp_path, "hint")
    screen = io.StringIO()
    show_check(check, Console(file=screen, width=200))
    assert "≥ " in screen.getvalue()
    assert '"bound": "≥"' in json_check(check).replace("\\u2265", "≥")


def trial(kind=FigureTrial, metric="macs", **said):
    names = {"arm": "xfa"} if kind is FigureTrial else {"arm": "xfa", "to": "mhsa"}
    quantity = "figure" if kind is FigureTrial else "ratio"
    return kind(quantity=quantity, metric=metric, at={"res": 1024}, **names, **said)


def test_claims_take_a_bound_for_what_it_is(results):
    value = macs(LINEAR)
    for said, outcome in (
        ({"at_least": value / 2}, "reproduced"),
        ({"at_most": value / 2}, "not reproduced"),
        ({"at_most": value * 2}, "not testable here"),
        ({"value": value, "tolerance": 0.1}, "not testable here"),
    ):
        own = trial(**said)
        found = measure(own, results)
        assert judge(own, found)[0] == outcome, said
        assert show_measured(own, found).startswith("≥ ")
        assert "bound" in found.remark
    ratio = trial(RatioTrial, at_least=macs(LINEAR) / macs(QUADRATIC) / 2)
    assert judge(ratio, measure(ratio, results))[0] == "reproduced"
    arms = [replace(LINEAR, label=f"a{i}") for i in range(8)]
    records = [record for arm in arms for record in exact(arm, HERE, ("params", "macs"))]
    correlation = RankCorrelationTrial(
        quantity="rank-correlation", metric="macs", at={"res": 1024}, at_least=0, **{"with": "params"}
    )
    with pytest.raises(UnfitError, match="only 7 attentions"):
        measure(correlation, Results(bounded(records, "a0")))


def test_other_tools_get_a_bound_under_a_name_of_its_own():
    found = figures(bounded([*counted(LINEAR), *timed(LINEAR, HERE)]))
    (figure,) = [one for one in found if one.metric == "macs"]
    measures = bencher_metrics(found)[figure.name]
    assert "macs" not in measures
    assert measures["macs-at-least"] == {"value": macs(LINEAR), "lower_value": macs(LINEAR)}
    assert _benchmark_name(figure) == "model.inference.macs_at_least"
    info = to_pytest_benchmark(found)["benchmarks"][0]["extra_info"]
    assert info["macs [MACs], at least"] == macs(LINEAR)
    assert "macs [MACs]" not in info


def test_a_history_tells_when_a_figure_becomes_a_bound():
    (record,) = exact(LINEAR, HERE, ("macs",))
    runs = [replace(record, run=f"r{i}", time=f"2026-01-0{i}") for i in (1, 2, 3, 4)]
    found = changes(histories([*runs[:2], *bounded(runs[2:])]))
    assert [change.at for change in found] == [2]
    before, after, change = changes_grid(found).rows[0][4:7]
    assert (after, change) == (f"≥ {before}", "a lower bound")
