"""Other people's load: memory that others took, allocations that fail in libraries, runs into one folder at once."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from made_records import QUADRATIC, place, trained

from xbench.analysis.results import Results
from xbench.processes.child import failure
from xbench.processes.parent import ArmError, ChildProcess
from xbench.records.ledger import Ledger
from xbench.runner.runner import Runner
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import Study

HELD = 64 * 2**20  # bytes, which a process of the tests holds at least


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("could not create a primitive", "oom"),
        ("could not create a memory object", "oom"),
        ("std::bad_alloc", "oom"),
        ("bad allocation", "oom"),
        ("mkldnn: out_of_memory", "oom"),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried …", "oom"),
        ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", "oom"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "oom"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "oom"),
        ("could not create a primitive descriptor for a convolution forward propagation primitive", "crash"),
        ("expected a tensor of memory format channels_last", "crash"),
    ],
)
def test_a_failed_allocation_of_any_library_is_out_of_memory_and_no_crash(said, status):
    assert failure(RuntimeError(said))[0] == status


@pytest.mark.process
@pytest.mark.parametrize(
    ("ends", "kills", "free", "status", "says", "by_others"),
    [
        ("os.kill(os.getpid(), 9)", [5, 6], 2**40, "oom", "because of other processes: it held at most", True),
        ("os.kill(os.getpid(), 9)", [5, 6], HELD, "oom", "by the process's own size", False),
        ("os.kill(os.getpid(), 9)", [5, 5], 2**40, "crash", "killed by SIGKILL", False),
        ('os.write(2, b"what(): std::bad_alloc"), os.abort()', [5, 5], 2**40, "oom", "limit is 3.0 GiB", False),
        ('os.write(2, b"double free"), os.abort()', [5, 5], 2**40, "crash", "killed by SIGABRT", False),
        ('print(\'{"status": "oom", "reason": "R"}\')', [], 2**40, "oom", "R; its own limit is 3.0 GiB", False),
    ],
)
def test_of_a_process_that_memory_ended_it_is_told_whose_doing_it_was(
    tmp_path, monkeypatch, ends, kills, free, status, says, by_others
):
    (tmp_path / "ending.py").write_text(f"import os\nheld = b'x' * {HELD}\n{ends}\n")
    told = iter(kills)
    monkeypatch.setattr("xbench.processes.parent.oom_kills", lambda: next(told, 0))
    monkeypatch.setattr("xbench.processes.parent.free_bytes", lambda: free)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XBENCH_MEMORY_LIMIT": str(3 * 2**30)}
    process = ChildProcess("ending", environment)
    with pytest.raises(ArmError, match=says) as end:
        process.hear(60.0)
    process.stop()
    assert (end.value.status, end.value.by_others) == (status, by_others)


class Stub:
    """A worker without a process, which memory ends as often as planned when it is asked something."""

    ends: Counter[tuple[str, str]]
    by_others = True
    started: Counter[str]

    def __init__(self, case, *_):
        self._case, self.alive = case, True
        Stub.started[case.arm.label] += 1

    def ask(self, do, **_):
        if Stub.ends[self._case.arm.label, do] > 0:
            Stub.ends[self._case.arm.label, do] -= 1
            self.alive = False
            raise ArmError("oom", "planted", by_others=Stub.by_others)
        return {
            "vouch": {},
            "survey": {"cost": {"params": 1, "macs": 1}, "predicted_memory": {"total": 1, "traffic": 1}},
            "limits": {"samples": [1.0], "detail": {"copy_bytes_per_second": 1.0}},
            "memory": {"total": 1, "process": 1},
            "warm_up": {"seconds": 1.0, "block_iterations": 1},
            "block": {"seconds": 1.0, "parts": {}, "faults": 0, "involuntary_switches": 0, "steal_seconds": 0.0}
            | {"stall_seconds": 0.0},
        }.get(do, {})

    def send(self, do, **_):
        self._asked = do

    def receive(self, **_):
        return self.ask(self._asked)

    def stop(self):
        self.alive = False


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a study with workers that end as told, and gives its results."""

    def measure(ends, by_others=True):
        for where in ("workers", "precheck"):
            monkeypatch.setattr(f"xbench.runner.{where}.ArmProcess", Stub)
        monkeypatch.setattr(Study, "launches", (2,))
        monkeypatch.setattr(Stub, "ends", Counter(ends), raising=False)
        monkeypatch.setattr(Stub, "by_others", by_others)
        monkeypatch.setattr(Stub, "started", Counter(), raising=False)
        metrics = ["macs", "throughput", "peak_memory", "stock_latency"]
        study = make_study(StudyRequest(["xfa", "mhsa"], [32], size="xxs", metrics=metrics, threads=[1], quick=True))
        return Results(Runner(study, Ledger(tmp_path / "records.jsonl")).run())

    return measure


@pytest.mark.parametrize("asked", ["survey", "build", "memory", "warm_up", "block"])
@pytest.mark.parametrize("arm", ["xfa", "mhsa"])
def test_what_others_ended_is_tried_once_more_and_nothing_is_lost_or_doubled(run, asked, arm):
    results = run({(arm, asked): 1})
    assert {record.status for record in results.records} == {"ok"}
    found = Counter((r.case["arm"], r.metric, r.launch) for r in results.records)
    for label in ("xfa", "mhsa"):
        assert {key for key in found if key[0] == label} == {
            (label, "macs", 0),
            (label, "peak_memory", 0),
            *((label, metric, launch) for metric in ("throughput", "stock_latency") for launch in (1, 2)),
        }
    assert set(found.values()) == {1}


@pytest.mark.parametrize(
    ("by_others", "attempts", "says"), [(True, 2, "planted; this was the second attempt"), (False, 1, "planted")]
)
def test_once_only_and_only_where_others_are_to_blame(run, by_others, attempts, says):
    results = run({("mhsa", "memory"): 9}, by_others)
    lost = {(r.case["arm"], r.metric): (r.status, r.reason) for r in results.records if r.status != "ok"}
    assert lost == {("mhsa", metric): ("oom", says) for metric in ("peak_memory", "throughput", "stock_latency")}
    assert Stub.ends["mhsa", "memory"] == 9 - attempts
    (conditions,) = results.conditions
    assert results.cell(conditions, "xfa", "throughput").figure.launches == 2


(TRAINED,) = trained(QUADRATIC, place(32), [50.0])
TOLD = {"correct": 5, "images": 10, "low": 40.0, "high": 60.0, **TRAINED.detail}


class TrainingStub:
    """A training process without a process, which memory ends as often as planned before it tells a result."""

    ends: Counter[tuple[str, int]]
    by_others = True
    started: Counter[tuple[str, int]]
    pending = False

    def __init__(self, *_):
        self._reading, self._writing = os.pipe()
        os.write(self._writing, b"something to say")

    def fileno(self):
        return self._reading

    def say(self, job, folder):
        self._asked = job["attn"], job["seed"]
        TrainingStub.started[self._asked] += 1

    def hear(self, seconds):
        if TrainingStub.ends[self._asked] > 0:
            TrainingStub.ends[self._asked] -= 1
            raise ArmError("oom", "planted", by_others=TrainingStub.by_others)
        return {"result": {"top1": 50.0, **TOLD}}

    def stop(self):
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains two arms with two seeds by processes that end as told: status and reason, by arm and seed."""

    def measure(ends, by_others=True):
        monkeypatch.setattr("xbench.runner.precheck.ArmProcess", Stub)
        monkeypatch.setattr("xbench.runner.trainings.ChildProcess", TrainingStub)
        monkeypatch.setattr(Stub, "ends", Counter(), raising=False)
        monkeypatch.setattr(Stub, "started", Counter(), raising=False)
        monkeypatch.setattr(TrainingStub, "ends", Counter(ends), raising=False)
        monkeypatch.setattr(TrainingStub, "by_others", by_others)
        monkeypatch.setattr(TrainingStub, "started", Counter(), raising=False)
        study = make_study(StudyRequest(["xfa", "mhsa"], [32], size="xxs", metrics=["top1"], seeds=2, threads=[1]))
        records = Runner(study, Ledger(tmp_path / "records.jsonl")).run()
        found = {(r.case["arm"], r.launch): (r.status, r.reason) for r in records}
        assert len(found) == len(records), "nothing is doubled"
        return found

    return measure


EACH_TRAINING = [(arm, seed) for arm in ("xfa", "mhsa") for seed in (0, 1)]


def test_a_training_that_others_ended_is_tried_once_more_and_so_is_each_of_its_seeds(train):
    found = train({("mhsa", 0): 1, ("mhsa", 1): 1})
    assert found == dict.fromkeys(EACH_TRAINING, ("ok", ""))
    assert TrainingStub.started == {("xfa", 0): 1, ("xfa", 1): 1, ("mhsa", 0): 2, ("mhsa", 1): 2}


def test_a_training_that_others_ended_twice_is_lost_and_its_other_seeds_are_not(train):
    found = train({("mhsa", 0): 9})
    lost = {("mhsa", 0): ("oom", "planted; this was the second attempt")}
    assert found == {**dict.fromkeys(EACH_TRAINING, ("ok", "")), **lost}
    assert TrainingStub.started["mhsa", 0] == 2


def test_a_training_that_its_own_size_ended_is_not_tried_again_nor_are_its_other_seeds(train):
    found = train({("mhsa", 0): 9}, by_others=False)
    assert found == {("xfa", 0): ("ok", ""), ("xfa", 1): ("ok", ""), ("mhsa", 0): ("oom", "planted")}
    assert TrainingStub.started["mhsa", 1] == 0


def test_a_run_again_trains_the_seeds_that_are_new_and_what_failed(train):
    train({("mhsa", 0): 9}, by_others=False)
    assert train({}) == dict.fromkeys(EACH_TRAINING, ("ok", ""))
    assert TrainingStub.started == {("mhsa", 0): 1, ("mhsa", 1): 1}


def test_each_training_is_on_disk_before_the_next_is_asked(train, tmp_path, monkeypatch):
    hear, held, ledger = TrainingStub.hear, [], tmp_path / "records.jsonl"

    def looking(process, seconds):
        held.append(len(ledger.read_text().splitlines()) if ledger.exists() else 0)
        return hear(process, seconds)

    monkeypatch.setattr(TrainingStub, "hear", looking)
    train({})
    assert held == [0, 1, 2, 3]


MEASURES = """
import sys, time
from pathlib import Path
from xbench.records.ledger import Ledger
with Ledger(Path(sys.argv[1])).alone(lambda text: print(text, flush=True)):
    print("measuring", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.process
def test_a_second_run_into_a_folder_waits_for_the_first_however_that_ends(tmp_path):
    ledger = tmp_path / "run" / "records.jsonl"

    def start(seconds):
        return subprocess.Popen(
            [sys.executable, "-c", MEASURES, ledger, str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start(600) as first:
        assert first.stdout.readline() == "measuring\n"
        with start(0) as second, start(0) as third:
            for other in (second, third):
                assert "another run is measuring into" in other.stdout.readline()
            second.send_signal(2)
            assert "KeyboardInterrupt" in second.communicate()[1]
            assert Ledger(ledger).read() == [], "whoever reads does not wait"
            first.kill()
            assert third.stdout.readline() == "measuring\n"
    assert [path.name for path in ledger.parent.iterdir()] == ["records.jsonl"]
