"""Runs on disk: found whatever state they are in, and read as one table."""

import io
import json
import os
import re
import shutil
import warnings
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from places import ROOT
from rich.console import Console
from typer.testing import CliRunner

import xbench
from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results
from xbench.analysis.runs import find_runs, read_run, run_folder
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.records.ledger import read_records
from xbench.records.record import Record
from xbench.report.tables.runs import runs_table

REPORTS = ROOT / "results" / "reports"
CASE = {"baseline": None, "mode": "eager", "control": False, "level": "op", "direction": "inference", "img_size": None}
CASE |= {"patch_size": 1, "size": "s", "batch": 1, "dtype": "fp32", "device": "cpu", "threads": 2}
MACHINE = {"cpu": "Some CPU", "physical_cores": 2}


def throughput(arm, value, launch=1, key="k", tokens=64, **fields):
    case = {"arm": arm, "attn": arm, **CASE, "tokens": tokens}
    values = {
        "run": "r",
        "study": "s",
        "against": "a",
        "machine": MACHINE,
        "time": "2026-01-02T03:04:05+00:00",
        **fields,
    }
    return Record(
        key=f"{key}-{arm}", case=case, metric="throughput", unit="img/s", launch=launch, samples=[value], **values
    )


def write(folder, records, tail=""):
    folder.mkdir(parents=True)
    text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    (folder / "records.jsonl").write_text(text + tail)
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """results/runs with a run whose last line is torn, an empty one, and one that failed in part."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results", "runs")
    write(folder / "torn", [throughput("a", 4.0), throughput("b", 2.0)], tail='{"run": "r", "stu')
    later = {"study": "t", "time": "2026-01-03T00:00:00+00:00"}
    failed = replace(throughput("b", 0.0, launch=0, **later), samples=[], status="oom", reason="too large")
    write(folder / "deep" / "partly", [throughput("a", 8.0, **later), failed])
    write(folder / "empty", [])
    # The file's time stands in for that of its records.
    os.utime(folder / "empty" / "records.jsonl", (0, datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
    return folder


def test_every_run_is_a_row_the_newest_first(runs):
    with pytest.warns(UserWarning, match=r"torn/records.jsonl:3 \(not a whole line"):
        found = find_runs()
    assert [(run.path.name, run.ok, run.failed, run.problem) for run in found] == [
        ("partly", 1, 1, ""),
        ("torn", 2, 0, ""),
        ("empty", 0, 0, "holds no records"),
    ]
    assert (found[1].arms, found[1].sizes, found[1].launches) == (("a", "b"), ("64 tokens",), 1)
    assert (found[1].study, found[1].seconds, found[1].machine) == ("s", None, "Some CPU, 2 cores")


def test_a_run_that_cannot_be_read_is_a_row_that_says_so(tmp_path):
    (tmp_path / "odd" / "records.jsonl").mkdir(parents=True)
    (run,) = find_runs(tmp_path)
    assert "cannot read records" in run.problem
    with pytest.raises(UserError, match="there is no folder"):
        find_runs(tmp_path / "none")


def test_the_committed_reports_are_listed_and_shown():
    found = {run.path.name: run for run in find_runs(REPORTS)}
    run = found["resolution"]
    assert {"mhsa", "xfa"} < set(run.arms)
    assert run.sizes == ("256", "512", "1024")
    assert run.ok > 0
    assert run.seconds is not None
    assert run.question.endswith("?")
    out = io.StringIO()
    Console(file=out, width=100).print(runs_table(list(found.values())))
    assert max(map(len, out.getvalue().splitlines())) <= 100
    assert re.search(r"\b[A-Z]: NVIDIA H200", out.getvalue()), "by letter where there are several machines"
    assert "mobilevit_s" in out.getvalue(), "no name of an arm is broken"


def test_load_gives_what_the_results_of_each_run_give(runs):
    shutil.copytree(REPORTS / "equal-arms", runs / "old")
    # Empty columns of one run must not trouble those of another.
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        frame = xbench.load()
    assert list(frame.columns[:3]) == ["run", "study", "arm"]
    assert set(zip(frame["run"], frame["study"], strict=True)) == {("torn", "s"), ("partly", "t"), ("old", "compare")}
    torn = frame.query("run == 'torn' and metric == 'throughput'").set_index("arm")
    assert torn["value"].to_dict() == {"a": 4.0, "b": 2.0}
    assert torn["ratio"]["b"] == pytest.approx(0.5)
    assert frame.query("run == 'partly' and arm == 'b'")["status"].tolist() == ["oom"]
    alone = tidy_frame(Results(read_records([REPORTS / "equal-arms" / "records.jsonl"])))
    old = frame.query("run == 'old'").reset_index(drop=True)
    assert old["value"].tolist() == alone["value"].tolist()


def test_runs_are_named_by_path_by_file_and_by_name(runs):
    for way in ("deep/partly", "deep", runs / "deep", runs / "deep" / "partly" / "records.jsonl"):
        assert xbench.load(way)["run"].tolist() == ["partly", "partly"]
    assert run_folder("deep/partly") == runs / "deep" / "partly"
    write(runs / "again" / "partly", [throughput("a", 9.0)])
    both = xbench.load("deep", "again", "deep")
    assert len(both) == 3
    assert all(name.endswith(("deep/partly", "again/partly")) for name in both["run"])
    with pytest.raises(UserError, match="holds several runs"):
        read_run(runs)


def test_what_newer_code_measured_again_stands(tmp_path):
    old = [throughput("a", 4.0, run="1", key="old"), throughput("b", 2.0, run="1", key="old")]
    new = [throughput("a", 8.0, run="2", key="new"), throughput("b", 2.0, run="2", key="new")]
    results = read_run(write(tmp_path / "run", old + new))
    (conditions,) = results.conditions
    assert results.cell(conditions, "a", "throughput").figure.value == pytest.approx(8)
    assert [run.launches for run in find_runs(tmp_path)] == [1]


def test_a_folder_with_two_studies_is_one_run_however_it_is_read(tmp_path):
    records = [throughput("a", 4.0), throughput("b", 2.0), throughput("c", 8.0, study="t")]
    folder = write(tmp_path / "run", records)
    frame = xbench.load(folder)
    assert set(frame["study"]) == {"s, t"}
    assert frame.drop(columns=["run", "study"]).equals(tidy_frame(read_run(folder)))
    assert frame.set_index("arm")["ratio"]["c"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tron", r"no run 'tron'\. Did you mean 'torn'\?"),
        ("results/runs/emty", r"Did you mean 'results/runs/empty'\?"),
        ("quite/elsewhere", "xbench show lists what there is"),
        ("empty", "holds no records"),
    ],
)
def test_a_path_without_records_is_a_mistake(runs, path, message):
    with pytest.raises(UserError, match=message):
        xbench.load(path)


def test_a_run_is_found_by_its_name_alone_and_the_newest_of_that_name_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("20260101-000000-mine", "20260102-000000-mine", "20260103-000000-mine-too"):
        shutil.copytree(REPORTS / "xfa-mhsa-1024", tmp_path / "results" / "runs" / name)
    assert run_folder("mine").name == "20260102-000000-mine"
    assert [run.path.name for run in find_runs() if run.is_about("TOO")] == ["20260103-000000-mine-too"]
    assert all(run.is_about("epyc") for run in find_runs())
    with pytest.raises(UserError, match="there is no run 'min"):
        run_folder("min*")


def test_a_run_is_deleted_after_a_question_and_never_what_holds_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "runs" / "20260101-000000-mine"
    shutil.copytree(REPORTS / "xfa-mhsa-1024", run)
    with pytest.raises(UserError, match="not deleted: say --yes"):
        CliRunner().invoke(app, ["delete", "mine"], catch_exceptions=False)
    monkeypatch.chdir(run)
    with pytest.raises(UserError, match="holds more than a run"):
        CliRunner().invoke(app, ["delete", ".", "--yes"], catch_exceptions=False)
    monkeypatch.chdir(tmp_path)
    assert run.exists()
    assert CliRunner().invoke(app, ["delete", "mine", "--yes"]).exit_code == 0
    assert not run.exists()
