"""Under which settings models run: what each policy sets, that workers keep out of each other's way, what is said."""

import threading
import time
from pathlib import Path

import psutil
import pytest
from made_records import CONTROL, LINEAR, QUADRATIC, launches, make, place, timed
from typer.testing import CliRunner

from xbench.analysis.results import Results
from xbench.cli.verbs import app
from xbench.data.photos import photo_paths
from xbench.processes import child
from xbench.processes.parent import ArmError, worker_environment
from xbench.processes.policy import KEPT_HEAP, POLICIES, find_policy
from xbench.records.ledger import Ledger
from xbench.records.record import Record
from xbench.report.page.commands import command_of
from xbench.report.text.answers import caveats
from xbench.report.text.protocol import circumstances
from xbench.runner.arm_process import ArmProcess
from xbench.runner.progress import Silent
from xbench.runner.recorder import Recorder
from xbench.study.request import StudyRequest, make_study


def test_a_policy_alone_decides_what_of_the_allocator_and_of_waiting_reaches_a_worker(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MALLOC_ARENA_MAX", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "1")
    decided = ("OMP_WAIT", "GOMP_", "KMP_", "MALLOC_", "LD_PRELOAD")

    def found(policy):
        environment = worker_environment("cpu", 2, 0, policy)
        return {name: value for name, value in environment.items() if name.startswith(decided)}

    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert found("stock") == {}
    assert found("tuned") == KEPT_HEAP
    assert found("passive") == {**KEPT_HEAP, "OMP_WAIT_POLICY": "passive"}
    monkeypatch.setattr("ctypes.util.find_library", lambda name: f"lib{name}.so.2")
    assert found("jemalloc") == {"LD_PRELOAD": "libjemalloc.so.2"}
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(ArmError, match=r"unsupported: the allocator libjemalloc is not installed.*libjemalloc2"):
        found("jemalloc")


def test_policies_are_arms_with_keys_of_their_own(tmp_path):
    study = make_study(
        StudyRequest(["xfa"], [64], policy=["tuned", "stock"], metrics=["macs", "latency"], threads=[1], quick=True)
    )
    tuned, stock = study.cases()
    assert [case.arm.label for case in (tuned, stock)] == ["xfa", "xfa stock"]
    assert tuned.conditions == stock.conditions
    assert tuned.request()["mode"] == "eager"
    assert "policy" not in tuned.request(), "workers of older commits know no such thing"
    policy = {"static": {}, "exact": {}, "timed": {}}
    recorder = Recorder(study, Ledger(tmp_path / "records.jsonl"), Silent(), policy, photo_paths()[:1])
    assert recorder.key(tuned, "latency") != recorder.key(stock, "latency")
    record = recorder.record(stock, "latency", [1.0])
    assert record.case["policy"] == "stock"
    assert not record.policy.keys() & KEPT_HEAP.keys()
    assert recorder.record(tuned, "latency", [1.0]).policy.items() >= KEPT_HEAP.items()


def test_before_there_was_a_choice_threads_slept_at_once():
    case = {"arm": "xfa", "level": "model", "mode": "eager"}
    old = {"run": "r", "study": "s", "key": "k", "case": case, "metric": "latency", "unit": "ms", "schema": 2}
    assert Record.from_dict(old).case["policy"] == "passive"
    imported = {**old, "case": {"arm": "test_something"}}
    assert "policy" not in Record.from_dict(imported).case


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are watched in /proc")
def test_a_worker_rests_until_its_other_threads_sleep(monkeypatch):
    monkeypatch.setattr(child, "REST_SECONDS", 0.05)
    assert child.rest()
    release = threading.Event()

    def busy():
        while not release.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        states = set()
        end = time.monotonic() + 5
        while False not in states and time.monotonic() < end:
            states.add(child.rest())
        assert False in states, "a thread that never sleeps is told"
    finally:
        release.set()
        thread.join()
    assert child.rest()


@pytest.mark.process
@pytest.mark.skipif((psutil.cpu_count() or 1) < 2, reason="one thread waits for no other")
def test_a_worker_whose_threads_never_sleep_is_stopped_between_its_turns():
    (case,) = make_study(
        StudyRequest(["mhsa"], [64], size="xxs", policy=["active"], metrics=["latency"], threads=[2], quick=True)
    ).cases()
    process = ArmProcess(case, memory_limit=0, time_limit=60)
    try:
        process.send("build", case=case.request(), photos=[str(path) for path in photo_paths()])
        process.receive(extra_seconds=60)
        process.ask("warm_up", batch=1, seconds=0.1, at_least=1)
        deadline = time.monotonic() + 5  # until the signal has arrived
        while (status := psutil.Process(process._process.pid).status()) != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, status
            time.sleep(0.01)
        assert process.ask("block", batch=1)["seconds"] > 0
    finally:
        process.stop()


def test_settings_for_a_shell_are_those_of_the_workers(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    tuned, stock = (CliRunner().invoke(app, ["env", *policy]).output.splitlines() for policy in ([], ["stock"]))
    assert tuned[1:] == [f"export {name}={value}" for name, value in find_policy("tuned").settings.items()]
    assert stock[1:] == ["unset MALLOC_TRIM_THRESHOLD_"], "only what is set is taken back"
    assert set(POLICIES) >= {"tuned", "stock", "jemalloc", "tcmalloc", "passive", "active"}


def test_what_a_plain_script_gets_is_said_in_one_sentence():
    where = place(1024)
    records = []
    for arm, ms, stock in ((QUADRATIC, 1400.0, 2800.0), (LINEAR, 400.0, 1240.0)):
        records += launches(arm, [ms] * 6, where, "latency") + launches(arm, [stock] * 2, where, "stock_latency")
    (said,) = [note for note in caveats(Results(records)) if "plain script" in note]
    assert "about 2,800 ms with mhsa (2.0 times as long) and 1,240 ms with xfa (3.1 times as long) at 1024 px" in said
    assert 'eval "$(xbench env)"' in said
    small = [make(QUADRATIC, place(64), metric, [20.0], 1) for metric in ("latency", "stock_latency")]
    (said,) = [note for note in caveats(Results(records + small)) if "plain script" in note]
    assert "takes about 1.0 (mhsa at 64 px) to 3.1 (xfa at 1024 px) times as long" in said
    assert not [note for note in caveats(Results(timed(QUADRATIC, where) + timed(CONTROL, where))) if "script" in note]


def test_a_report_tells_the_policy_of_its_records_and_how_to_have_it_again():
    where = place(64)
    kept = [make(QUADRATIC, where, "latency", [1.0], n, policy={**KEPT_HEAP, "warm_up": [5.0, 2]}) for n in (1, 2)]
    (told,) = [text for name, text in circumstances(Results(kept)) if name == "policy"]
    assert told == "tuned (MALLOC_MMAP_THRESHOLD_=1099511627776, MALLOC_TRIM_THRESHOLD_=1099511627776)"
    before = [Record.from_dict({**kept[0].__dict__, "case": {k: v for k, v in kept[0].case.items() if k != "policy"}})]
    assert "--policy passive" in command_of(Results(before), where, "mhsa")
    assert "Superseded" in caveats(Results(before))[-1]
    assert not [note for note in caveats(Results(kept)) if "Superseded" in note]
