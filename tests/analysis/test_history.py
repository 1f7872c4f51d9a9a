"""Histories: the order of commits, planted changes found, flat noise silent."""

from dataclasses import replace

import numpy as np
import pytest
from made_records import make, place
from typer.testing import CliRunner

from xbench.analysis.history import changes, histories
from xbench.cli.verbs import app
from xbench.records import commits
from xbench.records.commits import Commit
from xbench.records.ledger import Ledger
from xbench.report.history import draw
from xbench.statistics.changepoints import first_step

AT = place(512)


@pytest.fixture(autouse=True)
def git(monkeypatch):
    """Commits c0, c1 … in this order, whatever their times are."""
    known = {f"c{i}": Commit(f"c{i}" + "0" * 38, rank=i, time=1000 - i) for i in range(100)}
    monkeypatch.setattr(commits, "known_commits", lambda: known)


def run(i, value, *, arm="xfa", metric="throughput", launches=3, at=AT, **fields):
    """One run's records, of commit ``i``; ``value`` None is a failure."""
    own = {"run": f"r{i}", "commit": f"c{i}", "time": f"2026-01-{i + 1:02}T00:00:00+00:00", "machine": {"cpu": "C"}}
    if value is None:
        return [replace(make(arm, at, metric, [], **(own | fields)), status="oom", reason="too large")]
    count = launches if metric == "throughput" else 1
    return [make(arm, at, metric, [value * (1 + 0.001 * k)], k, **(own | fields)) for k in range(count)]


def noise(seed, n, spread=0.02):
    return np.random.default_rng(seed).normal(0, spread, n)


def planted(seed, n=20, at=12, step=0.1):
    return np.exp(noise(seed, n) + step * (np.arange(n) >= at))


def test_a_planted_step_is_found_where_it_is():
    records = [r for i, value in enumerate(planted(0)) for r in run(i, value)]
    (found,) = changes(histories(records))
    assert abs(found.at - 12) <= 1
    assert found.after / found.before == pytest.approx(1.1, abs=0.03)


def test_two_steps_are_two_changes():
    values = np.exp(noise(3, 30) + 0.3 * (np.arange(30) >= 10) + 0.3 * (np.arange(30) >= 20))
    found = changes(histories([r for i, value in enumerate(values) for r in run(i, value)]))
    assert [change.at for change in found] == [10, 20]


def test_flat_noise_is_silent_at_the_rate_that_is_promised():
    """Of single series of any length 5 % may be called a step by p ≤ 0.05; of 400, 20 ± 8.5 at two standard errors."""
    for n in (4, 6, 12, 40):
        alarms = sum(first_step(noise(seed, n), np.zeros(n))[1] <= 0.05 for seed in range(400))
        assert 8 <= alarms <= 33, (n, alarms)


def test_many_flat_series_together_give_hardly_any_change():
    found = []
    for seed in range(5):
        table = [np.exp(noise([seed, j], 15, 0.05)) for j in range(40)]
        records = [
            r for j, values in enumerate(table) for i, value in enumerate(values) for r in run(i, value, arm=f"a{j}")
        ]
        found += changes(histories(records))
    assert len(found) <= 2


def test_small_steps_do_not_matter_and_few_runs_say_nothing():
    small = [r for i in range(20) for r in run(i, 1.0 + 0.03 * (i >= 10) + 1e-4 * (i % 3))]
    assert not changes(histories(small))
    few = [r for i, value in enumerate([1.0, 1.0, 2.0]) for r in run(i, value)]
    assert not changes(histories(few))


def test_values_that_agree_by_luck_are_no_quieter_than_their_launches():
    logs = np.array([0.0, 0.001, 0.08, 0.081])
    assert first_step(logs, np.zeros(4))[1] < 0.02
    assert first_step(logs, np.full(4, 0.05))[1] > 0.2


def test_exact_figures_and_states_change_where_neighbours_differ():
    values = [100.0, 100.0, 101.0, None, 101.0]
    versions = [{"torch": "1"}, {"torch": "1"}, {"torch": "2"}, {"torch": "2"}, {"torch": "2"}]
    records = [r for i, value in enumerate(values) for r in run(i, value, metric="peak_memory", versions=versions[i])]
    found = changes(histories(records))
    assert [(change.at, change.before, change.after) for change in found] == [
        (2, 100.0, 101.0),
        (3, 101.0, None),
        (4, None, 101.0),
    ]
    assert found[0].beside == ("torch 1 → 2",)


def test_git_orders_and_time_where_a_commit_is_unknown():
    # The later commit was measured first.
    first, second = run(5, 1.0, time="2026-01-01"), run(2, 2.0, time="2026-01-02")
    (series,) = histories([*first, *second])
    assert [point.commit for point in series.points] == ["c2", "c5"]
    assert series.by_git
    dirty = run(2, 3.0, run="d", commit="c2-dirty", time="2025-01-01")
    (series,) = histories([*first, *dirty, *second])
    assert [point.commit for point in series.points] == ["c2", "c2-dirty", "c5"]
    (series,) = histories([*first, *second, *run(3, 1.0, commit="elsewhere", time="2026-01-03")])
    assert [point.commit for point in series.points] == ["c5", "c2", "elsewhere"]
    assert not series.by_git


def test_machines_are_apart_and_copies_of_a_ledger_count_once():
    records = [*run(0, 1.0), *run(1, 1.0), *run(1, 5.0, run="other", machine={"cpu": "D"})]
    found = histories([*records, *records])
    assert [len(series.points) for series in found] == [2, 1]
    assert found[0].points[0].estimate.launches == 3


def test_the_chart_has_every_run_and_marks_the_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(tmp_path / "results" / "runs" / "a" / "records.jsonl")
    ledger.append([r for i, value in enumerate(planted(0)) for r in run(i, value, arm="x$<b>")])
    series = histories(ledger.read())
    figure = draw(series, changes(series))
    (axes,) = figure.axes
    (line, *_) = axes.lines
    assert len(line.get_xdata()) == 20
    assert any("%" in text.get_text() for text in axes.texts)
    done = CliRunner().invoke(app, ["history", "-o", "charts"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "1 change point." in done.output
    assert "not for a verdict" in done.output
    assert {path.name for path in (tmp_path / "charts").iterdir()} == {"throughput.png", "throughput.svg"}
