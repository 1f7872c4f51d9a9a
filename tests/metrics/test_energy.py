"""Energy is what a counter says, also where it begins again, and a row with the reason where there is none."""

import sys
import time
from types import SimpleNamespace

import pytest
import torch

import xbench
from xbench.errors import UserError
from xbench.metrics.energy import POWERCAP, Nvml, Rapl, energy

WATTS, RANGE = 40.0, 5_000_000  # µJ, at which the counter begins again: eight times a second


class Clocked:
    """A counter of so many watts, whatever happens."""

    name = "a clock"

    def joules(self):
        return WATTS * time.perf_counter()


def zones(root, packages=1):
    for number in range(packages):
        for name, said in ((f"intel-rapl:{number}", f"package-{number}"), (f"intel-rapl:{number}:0", "core")):
            (root / name).mkdir(parents=True)
            (root / name / "name").write_text(said + "\n")
            (root / name / "energy_uj").write_text("4900000\n")
            (root / name / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return root


def test_joules_of_an_image_are_watts_times_seconds():
    steps = []

    def step():
        time.sleep(0.01)
        steps.append(1)

    began = time.perf_counter()
    found = energy(step, 4, torch.device("cpu"), Clocked(), seconds=0.1)
    assert time.perf_counter() - began > 0.4  # rest and three samples
    assert found.rest_watts == pytest.approx(WATTS, rel=0.2)
    # Each step takes 10 ms at least and holds four images.
    assert all(WATTS * 0.01 / 4 <= joules < WATTS * 0.1 / 4 for joules in found.joules)
    assert found.counter == "a clock"
    assert len(steps) * WATTS * 0.01 <= sum(joules * 4 * len(steps) / 3 for joules in found.joules) * 1.01


def test_packages_are_added_up_and_may_begin_again(tmp_path):
    counter = Rapl(zones(tmp_path, packages=2))
    assert counter.joules() == 0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("4950000\n")
    assert counter.joules() == pytest.approx(0.05)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("10000\n")  # beyond its range
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("4900001\n")
    assert counter.joules() == pytest.approx(0.05 + 0.06 + 1e-6)
    assert counter.name == "RAPL, 2 packages"


def test_why_there_is_no_counter_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="the kernel shows no RAPL package"):
        Rapl(tmp_path)
    root = zones(tmp_path)

    def refuse(*_):
        raise PermissionError

    counter = Rapl(root)
    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(UserError, match=r"counted for root alone: .*energy_uj \(sudo chmod a\+r"):
        counter.joules()


def test_a_gpu_is_asked_by_its_own_name_for_millijoules(monkeypatch):
    counted = iter((5_000, 7_500))
    stub = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-12-34": "handle"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counted) if handle == "handle" else None,
    )
    monkeypatch.setitem(sys.modules, "pynvml", stub)
    properties = SimpleNamespace(uuid="12-34", name="a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    counter = Nvml(torch.device("cuda"))
    assert (counter.joules(), counter.name) == (7.5, "NVML, a GPU")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UserError, match="pip install nvidia-ml-py"):
        Nvml(torch.device("cuda"))


@pytest.mark.process
@pytest.mark.skipif(any(POWERCAP.glob("intel-rapl:*")), reason="this machine counts")
def test_a_machine_that_does_not_count_gets_a_row_that_says_so(tmp_path, workers_here):
    found = xbench.compare(
        attn=["identity"], res=[32], size="xxs", metrics=["energy", "params"], quick=True, quiet=True, out=tmp_path
    )
    frame = found.frame.set_index("metric")
    assert frame.loc["energy", "status"] == "unsupported"
    assert "the kernel shows no RAPL package" in frame.loc["energy", "reason"]
    assert frame.loc["params", "status"] == "ok"
