"""The whole line from study to records, with arms that fail in every way beside arms that do not."""

import json
import sys
from pathlib import Path

import pytest

import xbench
from xbench.records import Ledger, read_records
from xbench.results import Results
from xbench.runner import Runner
from xbench.study import make_study
from xbench.watch import Limits

FAULTS = {
    "ReturnsNaN": ("crash", "the output has NaN in 1000 of 1000 places"),
    "WrongShape": ("crash", "attention WrongShape returned (4, 1, 64) for (4, 16, 64), [B, N, C]"),
    "KillsItself": ("crash", "killed by SIGKILL"),
    "NeedsTooMuch": ("oom", "can't allocate memory"),
    "Hangs": ("timeout", "no answer within the time limit"),
    "Raises": ("crash", "ZeroDivisionError: planted"),
    "Refuses": ("unsupported", "planted refusal"),
}


@pytest.fixture
def faulty(monkeypatch):
    """The folder that a user would stand in, holding a module of his own."""
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda name: f"faulty_attentions:{name}"


def test_every_fault_is_a_row_with_its_reason_and_the_others_finish(tmp_path, faulty):
    attn = ["xfa", *map(faulty, FAULTS), faulty("PrintsALot")]
    study = make_study(attn, [64], size="xxs", metrics=["macs", "peak_memory"], threads=[1])
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger, limits=Limits(turn_seconds=5.0)).run()
    results = Results(ledger.read())
    (conditions,) = results.conditions
    for name, (status, reason) in FAULTS.items():
        cell = results.cell(conditions, faulty(name), "peak_memory")
        assert (cell.status, cell.figure) == (status, None), name
        assert reason in cell.reason, name
    for name in ("xfa", faulty("PrintsALot")):
        assert results.cell(conditions, name, "peak_memory").figure.value > 1
    assert len(results.failures) == len(FAULTS)


def test_an_arm_that_dies_in_a_launch_leaves_the_others_and_its_exact_figures(tmp_path, faulty):
    attn = ["mhsa", faulty("KillsItselfLater")]
    study = make_study(attn, [32], size="xxs", metrics=["macs", "latency"], threads=[1], quick=True)
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger).run()
    results = Results(ledger.read())
    (conditions,) = results.conditions
    assert results.cell(conditions, "mhsa", "latency").figure.launches == 3
    dead = results.cell(conditions, attn[1], "latency")
    assert (dead.status, dead.figure) == ("crash", None)
    assert results.cell(conditions, attn[1], "macs").status == "ok"


def test_arms_share_the_memory_of_the_machine_not_the_limit_of_one_worker(tmp_path):
    study = make_study(["xfa", "mhsa"], [64], size="xxs", threads=[1], quick=True)
    runner = Runner(study, Ledger(tmp_path / "records.jsonl"), limits=Limits(memory_bytes=2**20))
    (group,) = runner._plan.groups
    group.peak_bytes = {"xfa": 2**20, "mhsa": 2**20}
    runner._check_fits(group)
    assert len(group.open) == 2
    group.peak_bytes["mhsa"] = 2**60
    runner._check_fits(group)
    assert [case.arm.label for case in group.open] == ["xfa"]
    lost = [record for record in runner.records if record.status == "oom"]
    assert {record.case["arm"] for record in lost} == {"mhsa"}
    assert "measure it alone" in lost[0].reason


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return xbench.compare(
        attn=["xfa", "mhsa"],
        res=[64, "32x96"],
        batch=[2],
        size="xxs",
        threads=[1],
        quick=True,
        quiet=True,
        out=tmp_path_factory.mktemp("run"),
    )


def test_a_comparison_gives_every_figure_with_intervals_and_ratios(comparison):
    frame = comparison.frame
    assert len(frame) == 2 * 2 * 5
    assert (frame.status == "ok").all()
    assert set(frame.metric) == {"params", "macs", "latency", "throughput", "peak_memory"}
    timed = frame[frame.metric.isin(["latency", "throughput"])]
    assert (timed.launches == 3).all()
    assert ((timed.low < timed.value) & (timed.value < timed.high)).all()
    assert len(comparison.ratios) == 2 * 5
    others = comparison.ratios.set_index(["res", "metric"]).ratio
    macs = frame[frame.metric == "macs"].set_index(["res", "arm"]).value
    assert others["64", "macs"] == macs["64", "mhsa"] / macs["64", "xfa"]


def test_latency_is_at_batch_1_and_throughput_at_the_batch_asked_for(comparison):
    batches = {(r.metric, r.detail["batch"]) for r in comparison.results.records if r.launch}
    assert batches == {("latency", 1), ("throughput", 2)}


def test_everything_said_can_be_made_again_from_the_records_alone(comparison):
    again = Results(read_records([comparison.folder / "records.jsonl"]))
    assert again.frame.equals(comparison.frame)
    assert again.against == "xfa"
    assert 0 <= again.overhead["share"] < 1


def test_report_and_plots_lie_in_the_folder(comparison):
    report = (comparison.folder / "report.md").read_text()
    assert "This is a look, not a claim" in report
    for name in ("cost", "throughput", "latency", "memory"):
        assert (comparison.folder / "plots" / f"{name}.png").stat().st_size > 1000
        assert (comparison.folder / "plots" / f"{name}.svg").read_text().startswith("<?xml")
        assert f"plots/{name}.png" in report
    assert comparison.plot("throughput").axes[0].get_ylabel() == "throughput [images per second]"


def test_a_run_again_measures_only_what_is_missing(comparison, tmp_path, monkeypatch):
    lines = (comparison.folder / "records.jsonl").read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    ledger = Ledger(tmp_path / "records.jsonl")
    ledger.path.write_text("".join(lines))

    def no_process(*args):
        raise AssertionError("nothing is missing")

    with monkeypatch.context() as patched:
        patched.setattr("xbench.runner.ArmProcess", no_process)
        Runner(comparison.study, ledger).run()

    lost = {
        n for n, r in enumerate(records) if r["metric"] == "macs" or (r["launch"] == 2 and r["case"]["arm"] == "xfa")
    }
    ledger.path.write_text("".join(line for n, line in enumerate(lines) if n not in lost))
    again = Runner(comparison.study, ledger)
    again.run()
    new = [record for record in ledger.read() if record.run == again.run_id]
    assert {record.metric for record in new if not record.launch} == {"macs"}
    assert len(new) == 4 + 2 * 2 * 2, "four counts, and for each size one launch of both arms with both metrics"
    frame = Results(again.records).frame
    assert (frame[frame.metric == "latency"].launches == 3).all()


def test_samples_of_the_arms_are_paired_by_round(comparison):
    found: dict[tuple, set[int]] = {}
    for record in comparison.results.records:
        if record.metric == "latency":
            found.setdefault((tuple(record.case["img_size"]), record.launch), set()).add(len(record.samples))
    assert all(len(lengths) == 1 for lengths in found.values())
    assert len(found) == 2 * 3
