"""The worker's answers, in this process."""

import io
import json
import sys
import types
from dataclasses import replace

import pytest
import torch

from xbench.data.photos import load_photos, photo_paths
from xbench.errors import UserError
from xbench.metrics import timing
from xbench.study.request import StudyRequest, make_study
from xbench.worker.requests import Worker, answer, serve
from xbench.worker.subject import Subject

PHOTOS = [str(path) for path in photo_paths()]


@pytest.fixture
def worker():
    (case,) = make_study(StudyRequest(["xfa"], ["32x64"], size="xxs", batch=[2], threads=[1])).cases()
    worker = Worker()
    worker.build(case.request(), PHOTOS)
    return worker


def test_a_case_is_the_same_in_every_process(worker):
    again = Worker()
    again.build(worker.subject.case.request(), PHOTOS)
    assert torch.equal(worker.subject.forward(), again.subject.forward())
    assert worker.subject.forward(1).shape == (1, 1000)


def test_the_largest_batch_fills_the_limit_and_the_next_would_not_fit(worker, monkeypatch):
    monkeypatch.setattr("xbench.worker.requests.limit_memory", lambda _: None)  # it would be this process's for good
    case = worker.subject.case
    found = worker.max_batch(limit=12 * 2**20)
    batch = found["batch"]
    assert batch > 2

    def peak(batch):
        return worker._peak(Subject(replace(case, batch=batch), worker._photos))["total"]

    assert peak(batch) == found["peak_mib"] * 2**20 <= 12 * 2**20 < peak(batch + 1)


def test_protocol_is_one_line_of_json_each_way(worker):
    asked = [
        {"do": "build", "case": worker.subject.case.request(), "photos": PHOTOS},
        {"do": "warm_up", "batch": 1, "seconds": 0.01, "at_least": 2},
        {"do": "block", "batch": 1},
    ]
    requests = io.StringIO("".join(json.dumps(request) + "\n" for request in asked))
    replies = io.StringIO()
    serve(requests, replies)
    built, warm, block = map(json.loads, replies.getvalue().splitlines())
    assert built == {"result": None}
    assert warm["result"]["iterations"] >= 2
    assert block["result"]["seconds"] > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("x"), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "oom"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "crash"),
        (UserError("not for this model"), "unsupported"),
    ],
)
def test_an_error_becomes_a_status_and_one_line(worker, monkeypatch, error, status):
    def fail(*_):
        raise error

    monkeypatch.setattr(worker.subject, "forward", fail)
    reply = answer(worker, {"do": "memory"})
    assert reply["status"] == status
    assert "\n" not in reply["reason"]


def test_device_time_is_every_sample_of_do_bench_in_seconds(worker, monkeypatch):
    calls = []

    def do_bench(step, return_mode):
        calls.append(return_mode)
        step()
        return [1.0, 2.5]

    monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))
    monkeypatch.setitem(sys.modules, "triton.testing", types.SimpleNamespace(do_bench=do_bench))
    assert worker.device_time() == {"samples": [1.0, 2.5], "detail": {}}
    assert calls == ["all"]


def test_warm_up_ends_when_time_and_memory_settle():
    durations = iter([0.05, 0.02, *[0.001] * 10_000])
    warm = timing.warm_up(lambda: spin(next(durations)), seconds=5.0, at_least=2)
    assert warm.settled
    assert warm.first_seconds >= 0.05
    assert warm.block_iterations == pytest.approx(timing.BLOCK_SECONDS / warm.seconds, abs=1)
    slow = timing.warm_up(lambda: spin(0.02), seconds=0.03, at_least=2)
    assert slow.iterations == 3, "the first call does not count"


def spin(seconds):
    end = timing.time.perf_counter() + seconds
    while timing.time.perf_counter() < end:
        pass


def test_photos_are_photographs_cropped_to_size_and_repeated(tmp_path):
    photos = load_photos(photo_paths(), 3, (40, 64))
    assert photos.shape == (3, 3, 40, 64)
    assert torch.equal(photos[0], photos[2])
    assert not torch.equal(photos[0], photos[1])
    assert photos.std() > 0.5, "normalised, neither zeros nor constant"
    (tmp_path / "broken.jpg").write_text("not an image")
    with pytest.raises(UserError, match=r"broken.jpg.*cannot be read"):
        load_photos(photo_paths(str(tmp_path)), 1, (32, 32))
