"""Energy of a step, by counters of the machine itself: RAPL's of its processors, NVML's of a GPU. Never an estimate.

What is counted is what the whole package, or the whole GPU, took meanwhile: also for whatever else ran there, and what
it takes at rest. That rest is told beside, measured in a pause before.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from xbench.errors import UserError

POWERCAP = Path("/sys/class/powercap")  # the Linux kernel's, of Intel's processors and of AMD's
SECONDS, REST_SECONDS = 2.0, 1.0  # of steps, and of rest: NVML's counter moves ten times a second, RAPL's a thousand
SAMPLES = 3
MICRO, MILLI = 1e-6, 1e-3


class Counter(Protocol):
    """Counts energy.

    Attributes:
        name: what it is, in words.
    """

    name: str

    def joules(self) -> float:
        """Since some moment, the same for all readings of this counter."""
        ...


@dataclass(frozen=True)
class Energy:
    """Joules per image of each sample, watts at rest, and which counter told so."""

    joules: list[float]
    rest_watts: float
    counter: str


class Rapl:
    """The processor packages of this machine, by the kernel's ``intel-rapl`` zones, which count AMD's as well.

    Raises:
        UserError: there is none, or it may not be read.
    """

    def __init__(self, root: Path = POWERCAP):
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        self._zones = [zone for zone in self._zones if (zone / "name").read_text().startswith("package")]
        if not self._zones:
            raise UserError("the processor's energy cannot be counted here: the kernel shows no RAPL package.")
        self._before = [self._read(zone / "energy_uj") for zone in self._zones]
        # A counter begins again from zero there.
        self._range = [self._read(zone / "max_energy_range_uj") for zone in self._zones]
        self._total = 0.0
        self.name = f"RAPL, {len(self._zones)} package{'s' if len(self._zones) > 1 else ''}"

    def joules(self) -> float:
        """Since the counter was made; it is to be asked once in a minute at least, before it begins again twice."""
        now = [self._read(zone / "energy_uj") for zone in self._zones]
        for before, after, highest in zip(self._before, now, self._range, strict=True):
            self._total += after - before + (highest if after < before else 0)
        self._before = now
        return MICRO * self._total

    def _read(self, file: Path) -> int:
        try:
            return int(file.read_text())
        except PermissionError as error:
            raise UserError(
                f"the processor's energy is counted for root alone: {file} (sudo chmod a+r {file} lets others read it)."
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"the processor's energy cannot be read from {file}: {error}.") from error


class Nvml:
    """One GPU, by NVML's counter (Volta and newer).

    Raises:
        UserError: NVML's Python package is not installed, or the driver does not count.
    """

    def __init__(self, device: torch.device):
        try:
            import pynvml
        except ImportError:
            raise UserError("the GPU's energy is counted by NVML: pip install nvidia-ml-py.") from None
        properties: Any = torch.cuda.get_device_properties(device)
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
            self.joules()
        except pynvml.NVMLError as error:
            raise UserError(f"the GPU's energy cannot be counted here: {error}.") from error
        self.name = f"NVML, {properties.name}"

    def joules(self) -> float:
        """Since the driver was loaded."""
        return MILLI * self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)


def find_counter(device: torch.device) -> Counter:
    """That of the device.

    Raises:
        UserError: its energy cannot be counted here, and why.
    """
    return Nvml(device) if device.type == "cuda" else Rapl()


def energy(
    step: Callable[[], Any], batch: int, device: torch.device, counter: Counter, seconds: float = SECONDS
) -> Energy:
    """Of steps of ``batch`` images, repeated for so many ``seconds`` a sample."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    before, began = counter.joules(), time.perf_counter()
    time.sleep(min(REST_SECONDS, seconds))
    rest = (counter.joules() - before) / (time.perf_counter() - began)
    found = []
    for _ in range(SAMPLES):
        steps, before, began = 0, counter.joules(), time.perf_counter()
        while time.perf_counter() - began < seconds:
            step()
            wait()
            steps += 1
        found.append((counter.joules() - before) / (steps * batch))
    return Energy(found, rest, counter.name)
