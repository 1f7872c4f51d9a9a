"""The machine's limits come out as rates of work that was really done."""

import pytest
import torch

from xbench.metrics import machine as limits


def test_rates_are_work_over_the_shortest_time(monkeypatch):
    monkeypatch.setattr(limits, "SIDES", {"cpu": (8, 16)})
    monkeypatch.setattr(limits, "COPIED_BYTES", {"cpu": 4096})
    monkeypatch.setattr(limits, "_best", lambda work, device, seconds: work() is not None and 0.5)
    found = limits.machine_limits(torch.device("cpu"), torch.bfloat16)
    assert found.macs_per_second == 16**3 / 0.5
    assert found.copy_bytes_per_second == 2 * 4096 / 0.5


def test_a_slow_dtype_is_measured_on_small_products_alone(monkeypatch):
    sides = []
    monkeypatch.setattr(limits, "_best", lambda work, device, seconds: sides.append(len(work.args[0])) or 1.0)
    monkeypatch.setattr(limits, "SECONDS", 0.0)
    limits._product_rate(torch.device("cpu"), torch.float16)
    assert sides == [256]


def test_the_first_repetition_does_not_count(monkeypatch):
    clock = iter([0, 1, 10, 30, 40, 70, 100, 140])
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(clock))
    assert limits._best(lambda: None, torch.device("cpu"), 5) == pytest.approx(20)
