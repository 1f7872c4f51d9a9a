"""The whole line from study to records, with arms that fail in every way beside arms that do not."""

import json
import os
import signal
import sys

import pytest
from places import SUPPORT
from workers_here import Death

import xbench
from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results
from xbench.processes.parent import ArmError
from xbench.records.ledger import Ledger, read_records
from xbench.runner.launch import QUICK_PACE, heats
from xbench.runner.progress import RunLimits
from xbench.runner.runner import Runner
from xbench.runner.workers import Ending, Standing
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import Study

STEP = ("throughput", "forward_time", "backward_time", "optimizer_time")
ANSWERED = {
    "ReturnsNaN": ("crash", "the output has NaN in 1000 of 1000 places"),
    "WrongShape": ("crash", "attention WrongShape returned (4, 1, 64) for (4, 16, 64), [B, N, C]"),
    "Raises": ("crash", "ZeroDivisionError: planted"),
    "Refuses": ("unsupported", "planted refusal"),
}
OF_A_PROCESS = {
    "KillsItself": ("crash", "killed by SIGKILL"),
    "KillsItselfLater": ("crash", "killed by SIGKILL"),
    "NeedsTooMuch": ("oom", "can't allocate memory"),
    "Hangs": ("timeout", "no answer within the time limit"),
}


@pytest.fixture(autouse=True, scope="module")
def brisk():
    """Launches as few and as short as they can be: what is measured here is looked at, not believed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xbench.study.study.LOOK_LAUNCHES", 2)
        patch.setattr("xbench.runner.runner.LOOK_LAUNCHES", 2)
        patch.setitem(QUICK_PACE, "warm_up", (0.1, 1))
        patch.setitem(QUICK_PACE, "rounds", (1, 2, 0.2))
        yield


@pytest.fixture
def faulty(monkeypatch):
    """The folder that a user would stand in, holding a module of his own."""
    monkeypatch.chdir(SUPPORT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda name: f"faulty_attentions:{name}"


def check_faults(folder, faulty, faults, sound, metric):
    """A study of arms with faults and of one without, each of which ends as it should."""
    attn = [sound, *map(faulty, faults)]
    study = make_study(StudyRequest(attn, [64], size="xxs", metrics=["macs", metric], threads=[1], quick=True))
    ledger = Ledger(folder / "records.jsonl")
    Runner(study, ledger, limits=RunLimits(turn_seconds=20.0)).run()
    results = Results(ledger.read())
    (conditions,) = results.conditions
    for name, (status, reason) in faults.items():
        cell = results.cell(conditions, faulty(name), metric)
        assert (cell.status, cell.figure) == (status, None), name
        assert reason in cell.reason, name
    assert results.cell(conditions, sound, metric).figure.value > 1
    assert {arm for _, arm, _ in results.failures} == set(map(faulty, faults))


def test_every_fault_is_a_row_with_its_reason_and_the_others_finish(tmp_path, faulty, workers_here):
    check_faults(tmp_path, faulty, ANSWERED, "xfa", "peak_memory")


@pytest.mark.process
def test_so_is_every_way_in_which_a_process_ends(tmp_path, faulty, monkeypatch):
    monkeypatch.setattr(Study, "launches", (1,))
    check_faults(tmp_path, faulty, OF_A_PROCESS, faulty("PrintsALot"), "latency")


def test_arms_that_do_not_fit_side_by_side_run_in_heats_each_with_the_reference_and_its_control():
    (cases,) = make_study(StudyRequest(["xfa", "mhsa", "pool", "linear"], [64], size="xxs", threads=[1])).groups()
    standing, held = Standing(tuple(cases), "xfa"), dict.fromkeys(["xfa", "mhsa", "pool", "linear"], 2**30)
    each = 2**30

    def labels(room):
        placed, refused = heats(standing, held, room)
        return [[case.arm.label for case in heat] for heat in placed], [case.arm.label for case in refused]

    assert labels(5 * each) == ([["xfa", "mhsa", "pool", "linear", "xfa again"]], [])
    assert labels(3 * each) == ([["xfa", "mhsa", "pool"], ["xfa", "linear", "xfa again"]], [])
    held["pool"] = 2**40
    assert labels(3 * each) == ([["xfa", "mhsa", "linear"], ["xfa", "xfa again"]], ["pool"])
    left = standing.after(Ending(cases[0], ArmError("crash", "planted")))
    assert [case.arm.label for case in left.open] == ["mhsa", "pool", "linear"], "no control without the reference"


def test_every_heat_is_measured_and_taken_over(tmp_path, monkeypatch, workers_here):
    monkeypatch.setattr(Study, "launches", (1,))
    monkeypatch.setattr("xbench.runner.launch._fits", lambda cases, *_: len(cases) <= 2)
    study = make_study(
        StudyRequest(["xfa", "mhsa", "pool"], [32], size="xxs", metrics=["throughput"], threads=[1], quick=True)
    )
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger).run()
    results = Results(ledger.read())
    (conditions,) = results.conditions
    placed = {(r.case["arm"], r.heat) for r in results.records if r.launch}
    assert placed == {("xfa", 0), ("mhsa", 0), ("xfa", 1), ("pool", 1)}
    for arm in ("mhsa", "pool"):
        assert results.speed_ratio(conditions, arm).launches == 1
    again = Runner(study, ledger)
    again.run()
    assert not [record for record in ledger.read() if record.run == again.recorder.run_id]


def test_what_cannot_be_is_a_row_before_any_time_is_spent(tmp_path, monkeypatch, workers_here):
    study = make_study(StudyRequest(["xfa", "mhsa"], [64, 1024], patch=[1, 8], size="xxs", quick=True))
    monkeypatch.setattr(Runner, "_measure_exact", lambda *_: None)
    monkeypatch.setattr(Runner, "_measure_timed", lambda *_: None)
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger, limits=RunLimits(memory_bytes=2 * 2**30)).run()
    places = {(r.case["arm"], r.case["img_size"][0], r.case["patch_size"]): r.reason for r in ledger.read() if r.reason}
    assert set(places) == {("xfa", 64, 8), ("mhsa", 64, 8), ("mhsa", 1024, 1)}
    assert "patch size 8 is larger" in places["xfa", 64, 8]
    assert "needs at least 8.1 GiB of memory; the limit is 2.0 GiB" in places["mhsa", 1024, 1]
    lost = [record for record in ledger.read() if record.reason]
    assert {record.status for record in lost} == {"unsupported"}
    too_large = {record.metric for record in lost if record.case["patch_size"] == 1}
    assert "throughput" in too_large
    assert "macs" not in too_large, "what is known on paper is kept"


def test_what_fails_in_launches_is_tried_again_alone(tmp_path, faulty, monkeypatch, workers_here):
    def die(*_):
        raise Death

    monkeypatch.setattr(os, "kill", die)
    metrics = ["macs", "latency", "breakdown"]
    attn = ["mhsa", faulty("KillsItselfLater"), faulty("RefusesInstruments")]
    study = make_study(StudyRequest(attn, [32], size="xxs", metrics=metrics, threads=[1], quick=True))
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger).run()
    (conditions,) = (results := Results(ledger.read())).conditions
    assert results.cell(conditions, "mhsa", "latency").figure.launches == 2
    assert results.cell(conditions, attn[2], "latency").status == "ok", "what fails alone takes nothing with it"
    lost = {(r.case["arm"], r.metric) for r in results.records if r.status != "ok"}
    assert lost == {(attn[1], "latency"), (attn[1], "breakdown"), (attn[2], "breakdown")}
    again = Runner(study, ledger)
    again.run()
    new = [r for r in ledger.read() if r.run == again.recorder.run_id]
    assert {r.launch for r in new if r.samples} == {1}, "one launch tries it again, and what it cannot give is there"


def test_levels_and_directions_give_their_figures(tmp_path, monkeypatch, workers_here):
    monkeypatch.setattr(Study, "launches", (1,))
    axes = {"level": ["op", "model"], "direction": ["inference", "training"], "tokens": [64], "batch": [2]}
    study = make_study(StudyRequest(["xfa"], [64], size="xxs", threads=[1], quick=True, **axes))
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger).run()
    blocks: dict[tuple, dict[str, list[float]]] = {}
    for r in ledger.read():
        if r.launch and r.case["direction"] == "training":
            blocks.setdefault((r.case["level"], r.case["arm"]), {})[r.metric] = r.samples
    for found in blocks.values():
        for images_per_second, *parts in zip(*(found[name] for name in STEP), strict=True):
            assert 0 < sum(parts) <= 2e3 / images_per_second, "parts of the same block"
    frame = tidy_frame(Results(ledger.read()))
    assert (frame.status == "ok").all(), frame[frame.status != "ok"].reason.unique()
    trained = frame[frame.direction == "training"].set_index(["level", "metric"]).value
    inferred = frame[frame.direction == "inference"].set_index(["level", "metric"]).value
    for level in ("op", "model"):
        assert trained[level, "peak_memory"] > inferred[level, "peak_memory"]
        assert trained[level, "macs"] == inferred[level, "macs"]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return xbench.compare(
        attn=["xfa", "mhsa"],
        res=["32x96"],
        batch=[2],
        size="xxs",
        threads=[1],
        quick=True,
        quiet=True,
        out=tmp_path_factory.mktemp("run"),
    )


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_a_comparison_gives_every_figure_with_intervals_and_ratios(comparison):
    frame = comparison.frame
    assert len(frame) == 2 * 7
    assert (frame.status == "ok").all()
    shares = {"attention_share", "ceiling"}
    assert set(frame.metric) == {"params", "macs", "latency", "throughput", "peak_memory"} | shares
    timed = frame[frame.metric.isin(["latency", "throughput"])]
    assert (timed.launches == 2).all()
    assert ((timed.low < timed.value) & (timed.value < timed.high)).all()
    assert len(comparison.ratios) == 5
    others = comparison.ratios.set_index("metric").ratio
    macs = frame[frame.metric == "macs"].set_index("arm").value
    assert others["macs"] == macs["mhsa"] / macs["xfa"]


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_latency_is_at_batch_1_and_throughput_at_the_batch_asked_for(comparison):
    batches = {(r.metric, r.detail["batch"]) for r in comparison.results.records if "batch" in r.detail}
    assert batches == {("latency", 1), ("stock_latency", 1), ("throughput", 2)}


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_everything_said_can_be_made_again_from_the_records_alone(comparison):
    again = Results(read_records([comparison.folder / "records.jsonl"]))
    assert tidy_frame(again).equals(comparison.frame)
    assert again.against == "xfa"
    assert 0 <= again.overhead["share"] < 1


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_report_and_plots_lie_in_the_folder(comparison):
    report = (comparison.folder / "report.md").read_text()
    assert "This is a look, not a claim" in report
    for name in ("cost", "throughput", "latency", "memory"):
        assert (comparison.folder / "plots" / f"{name}.png").stat().st_size > 1000
        assert (comparison.folder / "plots" / f"{name}.svg").read_text().startswith("<?xml")
        assert f"plots/{name}.png" in report
    assert comparison.plot("throughput").axes[0].get_xlabel() == "throughput [images per second]"


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_a_run_again_measures_only_what_is_missing(comparison, tmp_path, monkeypatch, workers_here):
    lines = (comparison.folder / "records.jsonl").read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    ledger = Ledger(tmp_path / "records.jsonl")
    ledger.path.write_text("".join(lines))

    def no_process(*args):
        raise AssertionError("nothing is missing")

    with monkeypatch.context() as patched:
        patched.setattr("xbench.runner.workers.ArmProcess", no_process)
        patched.setattr("xbench.runner.precheck.ArmProcess", no_process)
        Runner(comparison.study, ledger).run()

    lost = {
        n for n, r in enumerate(records) if r["metric"] == "macs" or (r["launch"] == 2 and r["case"]["arm"] == "xfa")
    }
    ledger.path.write_text("".join(line for n, line in enumerate(lines) if n not in lost))
    again = Runner(comparison.study, ledger)
    again.run()
    new = [record for record in ledger.read() if record.run == again.recorder.run_id]
    assert {record.metric for record in new if not record.launch} == {"macs"}
    launch = 2 * 4 + 1  # of both arms latency, also a plain script's, throughput and breakdown; the limits once
    assert len(new) == 2 + launch, "two counts, and one launch"
    frame = tidy_frame(again.results())
    compared = frame[(frame.metric == "latency") & (frame.arm == "mhsa")]
    assert (compared.launches == 3).all(), "the launch that lost its other side is still a launch of this one"
    assert (frame[(frame.metric == "latency") & (frame.arm == "xfa")].launches == 2).all()


@pytest.mark.process
@pytest.mark.xdist_group("comparison")
def test_samples_of_the_arms_are_paired_by_round(comparison):
    found: dict[tuple, set[int]] = {}
    for record in comparison.results.records:
        if record.metric == "latency":
            found.setdefault((tuple(record.case["img_size"]), record.launch), set()).add(len(record.samples))
    assert all(len(lengths) == 1 for lengths in found.values())
    assert len(found) == 2


def test_what_was_on_disk_when_a_signal_came_is_in_the_results(tmp_path, monkeypatch):
    study = make_study(StudyRequest(["xfa"], [64], metrics=["params"]))
    recorder = Runner(study, Ledger(tmp_path / "records.jsonl")).recorder
    append = Ledger.append
    monkeypatch.setattr(Ledger, "append", lambda *given: (append(*given), signal.raise_signal(signal.SIGINT)))
    records = [recorder.record(next(study.cases()), "params", [1.0], {})]
    with pytest.raises(KeyboardInterrupt):
        recorder.keep(records)
    assert recorder.records == records == read_records([tmp_path / "records.jsonl"])
