"""Two runs side by side: what keeps them from being compared comes first, and nothing of one side alone is a change."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xbench.analysis.runs import among, read_run, run_folder
from xbench.cli.verbs import app
from xbench.regression.difference import APART, difference

REPORTS = Path(__file__).parents[2] / "results" / "reports"


def told(*names):
    done = CliRunner().invoke(app, ["diff", *(str(REPORTS / name) for name in names)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_run_beside_itself_has_no_difference():
    run = read_run(REPORTS / "ci")
    found = difference(run, run, 0.05)
    assert not found.reasons
    assert not found.before_alone
    assert not found.now_alone
    assert found.findings
    assert all(finding.before == finding.now for finding in found.findings)


def test_times_of_two_runs_of_one_machine_have_a_ratio_and_a_warning():
    before, now = (read_run(REPORTS / name) for name in ("xfa-mhsa-1024", "overview"))
    found = difference(before, now, 0.05)
    assert not found.reasons
    times = {finding.place.metric: finding for finding in found.findings if finding.times}
    assert set(times) == {"latency", "throughput"}
    for finding in found.findings:
        if finding.times and finding.place.arm == "xfa":
            old, new = (
                side.cell(finding.place.conditions, "xfa", finding.place.metric).figure for side in (before, now)
            )
            longer = new.value / old.value if finding.place.metric == "latency" else old.value / new.value
            assert finding.times.value == pytest.approx(longer, rel=0.02)
            assert finding.reason == APART
    assert found.now_alone
    assert not found.before_alone
    assert {place.conditions.img_size for place in found.now_alone} == {(256, 256), (512, 512), (1024, 1024)}


def test_what_keeps_them_apart_is_said_first():
    lines = told("resolution", "overview").splitlines()
    assert any(line.startswith("Not the same: torch was ") for line in lines[:5])
    assert "times as long" not in "".join(lines)


def test_the_newest_run_is_called_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(REPORTS / "ci", tmp_path / "results" / "runs" / name)
    ledger = tmp_path / "results" / "runs" / "one" / "records.jsonl"
    ledger.write_bytes(ledger.read_bytes())  # newer than the other's, which has its time from where it was copied
    assert run_folder("last").name == "one"


def test_what_is_no_run_is_left_out_of_a_page():
    paths = [str(REPORTS / name) for name in ("ci", "claims.md", "gate-trials.jsonl", "overview")]
    found, others = among(paths)
    assert found == [paths[0], paths[3]]
    assert others == paths[1:3]
    assert among([paths[1]]) == ([paths[1]], [])  # which is then refused, with its reason
    assert among(["nowhere", paths[0]]) == (["nowhere", paths[0]], [])
