"""Numbers, sentences, tables and pages, from records made by hand whose meaning is known."""

import io
import itertools
import math
import shutil
from dataclasses import replace

import pytest
from made_records import LINEAR, QUADRATIC, exact, failed, place, timed
from places import ROOT
from rich.console import Console
from typer.testing import CliRunner

from xbench.analysis.results import Results
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.processes.policy import find_policy
from xbench.records.ledger import Ledger
from xbench.report.estimate import show_forecast
from xbench.report.folder import remake_report, write_report
from xbench.report.inert import markdown
from xbench.report.markdown import markdown_report
from xbench.report.page.page import Chapter, page
from xbench.report.terminal import show
from xbench.runner.estimate import Expected
from xbench.statistics.estimates import Estimate
from xbench.study.request import StudyRequest, make_study
from xbench.wording.numbers import (
    show_count,
    show_estimate,
    show_interval,
    show_number,
    show_power,
    show_seconds,
    show_share,
)

MACS = Estimate.exact(1e9)


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(602.4, 597.6, 607.2, 6), "602 ±5"),
        (Estimate(602.4, 600.9, 603.9, 6), "602.4 ±1.5"),
        (Estimate(3240.1, 2990.0, 3490.2, 6), "3,200 ±300"),
        (Estimate(0.31044, 0.3081, 0.3127, 6), "0.310 ±0.002"),
        (Estimate(5.0, math.nan, math.nan, 1), "5.0 ±?"),
        (Estimate(1042.0, 430.0, 2500.0, 3), "1,000 (400–2,500)"),
    ],
)
def test_digits_are_no_finer_than_the_interval_earns(estimate, shown):
    assert show_estimate(estimate) == shown


def test_numbers_are_written_as_people_read_them():
    assert show_interval(Estimate(0.18631, 0.1824, 0.1902, 6)) == "0.186 (0.182–0.190)"
    assert show_interval(Estimate.exact(2.207)) == "2.21"
    assert [show_count(n) for n in (5475688, 25415877760, 999_600, 12)] == ["5.48 M", "25.4 G", "1.00 M", "12"]
    assert [show_number(x, 3) for x in (0, 0.012345, 1234567.0)] == ["0", "0.0123", "1,230,000"]
    assert [show_seconds(s) for s in (4.2, 59.9, 200)] == ["4 s", "1 min 00 s", "3 min 20 s"]


def test_shares_and_powers_show_what_is_known_of_them():
    assert show_share(Estimate(0.4534, 0.4312, 0.476, 6)) == "45% (43–48)"
    assert show_share(Estimate(0.0534, 0.0512, 0.056, 6)) == "5.3% (5.1–5.6)"
    assert show_share(Estimate(0.5, math.nan, math.nan, 1)) == "50% (?)"
    assert [show_power(1.873, 1.8, 1.94), show_power(0.0, 0.0, 0.0)] == ["1.87 (1.80 to 1.94)", "0.00"]


def test_report_links_and_says_how_to_run_again(tmp_path):
    records = [r for arm in (QUADRATIC, LINEAR) for r in exact(arm, place(512)) + timed(arm, place(512))]
    plots = [tmp_path / "plots" / name for name in ("cost.png", "breakdown.png")]
    text = markdown_report(Results(records), "Why?", "xbench compare", plots, tmp_path)
    assert text.startswith("# Why?\n\n- ")
    assert "At a glance" not in text, "two arms need no summary"
    assert "## Again" not in markdown_report(Results(records), "Why?", "", [], tmp_path)
    assert "xbench compare" in text
    assert "| failed |" in text, "a counter that failed is shown as failed"
    places = [text.index(part) for part in ("![cost](plots/cost.png)", "## Where the time goes", "![breakdown](")]
    assert places == sorted(places), "a plot stands under the table it belongs to"
    assert "instrumented forward pass" in text
    assert "training step is" not in text, "what was not measured is not explained"


def test_a_policy_has_the_settings_that_the_records_have_and_not_those_it_has_today(tmp_path):
    assert "MALLOC_ARENA_MAX" not in find_policy("tuned").settings
    then = {"MALLOC_ARENA_MAX": "7", "allocator": "mimalloc", "rounds": 5}
    results = Results([replace(record, policy=then) for record in timed(QUADRATIC, place(64))])
    told = "tuned (MALLOC_ARENA_MAX=7, allocator=mimalloc)"
    assert f"- policy: {markdown(told)}\n" in markdown_report(results, "?", "", [], tmp_path)
    written = page([Chapter("a", "?", "", results)])
    assert told in written
    assert "MALLOC_TRIM_THRESHOLD_" not in written


def test_a_terminal_gets_the_first_rows_of_a_long_table(tmp_path):
    places = [place(res, patch_size=patch) for res in range(256, 1280, 64) for patch in (1, 2, 4)]
    records = [r for where in places for arm in (QUADRATIC, LINEAR) for r in exact(arm, where, ("macs",))]
    records += failed(LINEAR, place(256, patch_size=8), ("macs",))
    console = Console(width=100, record=True, file=io.StringIO())
    show(Results(records), tmp_path, console)
    text = console.export_text()
    assert "Sorted by MACs at 1216 px" in text
    assert text.count("mhsa  ") <= 31
    assert "In detail: xbench show " in text


def test_a_plan_is_one_table_and_one_line(capsys):
    study = make_study(StudyRequest(["mhsa", "xfa"], [256, 512, 1024], metrics=["macs", "predicted_memory"]))
    cases = list(study.cases())
    expected = [Expected(case, 2**30, MACS, 0.5) for case in cases[:-1]] + [Expected(cases[-1], reason="too large")]
    show_forecast(study, expected, Console(width=100))
    text = capsys.readouterr().out
    assert text.count("predicted") == 1
    assert "1024 px, xfa: too large" in text
    assert "6 cells, 1 impossible" in text
    assert "train" not in text


def test_a_plan_tells_how_long_training_takes(capsys):
    study = make_study(StudyRequest(["mhsa", "xfa"], [64], metrics=["top1"], threads=[2]))
    expected = [Expected(case, 2**30, MACS, 0.5, trainings=3, training_seconds=180) for case in study.cases()]
    show_forecast(study, expected, Console(width=100))
    assert "about 3 min 00 s to train 6 models" in capsys.readouterr().out


def test_a_report_is_made_again_from_its_folder(tmp_path):
    arms = (QUADRATIC, *(replace(LINEAR, label=f"xfa {i}") for i in range(7)))
    records = [
        r for res in (256, 1024) for arm in arms for r in exact(arm, place(res)) + timed(arm, place(res), launches=2)
    ]
    records = [replace(record, commit="abc" if record.launch < 2 else "def") for record in records]
    Ledger(tmp_path / "records.jsonl").append(records)
    saved = write_report(Results(records), "Why?", "xbench run it", ["speed"], tmp_path)
    assert saved == [tmp_path / "plots" / "speed.png"]
    assert remake_report(tmp_path) == saved, "the plots that were there"
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Why?\n")
    assert "## At a glance" in text
    assert "## Again" not in text
    assert "- commit: abc, def" in text


def test_a_committed_run_is_remade_with_its_figures_and_twice_the_same(tmp_path):
    committed, copy = ROOT / "results" / "reports" / "xfa-mhsa-1024", tmp_path / "run"
    shutil.copytree(committed, copy)
    made = []
    for _ in range(2):
        done = CliRunner().invoke(app, ["remake", str(copy)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        made.append({str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*.*")})
    assert made[0] == made[1]
    assert made[0].keys() == {str(path.relative_to(committed)) for path in committed.rglob("*.*")}
    assert (copy / "records.jsonl").read_bytes() == (committed / "records.jsonl").read_bytes()
    # Words may have changed since; the title, the figures and the plots beside them are what was measured.
    remade, before = ((folder / "report.md").read_text().splitlines() for folder in (copy, committed))
    assert remade[0] == before[0]
    assert _figures(remade) == _figures(before) != []


def _figures(report):
    """The rows and plots of the section that holds the figures."""
    began = report.index("## Figures")
    section = itertools.takewhile(lambda line: not line.startswith("## "), report[began + 1 :])
    return [line for line in section if line.startswith(("|", "!["))]


def test_remake_refuses_what_is_no_run_of_ours_and_then_touches_none(tmp_path):
    mine = tmp_path / "mine"
    Ledger(mine / "records.jsonl").append(exact(QUADRATIC, place(256)))
    with pytest.raises(UserError, match="there is no run 'nowhere'"):
        CliRunner().invoke(app, ["remake", str(mine), "nowhere"], catch_exceptions=False)
    assert not (mine / "report.md").exists()
    (mine / "report.md").write_text("my own notes")
    with pytest.raises(UserError, match="--force replaces it"):
        CliRunner().invoke(app, ["remake", str(mine)], catch_exceptions=False)
    assert CliRunner().invoke(app, ["remake", str(mine), "--force"]).exit_code == 0
    assert (mine / "report.md").read_text().startswith("# ")
