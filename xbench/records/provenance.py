"""Where a figure comes from: machine, software, commit. Two figures compare when these are equal. No torch here."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil

import xbench
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import ENGINES, usable_cpus
from xbench.records.commits import DIRTY, repository
from xbench.records.record import Record
from xbench.records.software import LIBRARIES, OF_ENGINES, library_versions

PROVENANCE = ("memory_mib", "system")  # facts of a machine that decide no figure


# Of a user's environment, what reaches a worker and decides how fast it is.
SURROUNDINGS = ("LD_PRELOAD", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "TORCHINDUCTOR_FREEZING")


@cache
def machine(device: str) -> dict[str, Any]:
    """The hardware that a comparable figure needs to be the same: CPU model, cores, memory, and GPU with its driver."""
    facts: dict[str, Any] = {
        "cpu": _cpu_model(),
        "physical_cores": psutil.cpu_count(logical=False) or 0,
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if device == "cuda":
        facts["gpu"] = _gpu()
    return facts


def surroundings() -> dict[str, Any]:
    """What of the environment decides a time: variables that are set, and the logical CPUs that may be used."""
    return {name: os.environ[name] for name in SURROUNDINGS if name in os.environ} | {"cpus": usable_cpus()}


@cache
def versions() -> dict[str, str]:
    """Versions of the software that can change a figure."""
    return {"xbench": xbench.__version__, **library_versions()}


@cache
def commit() -> str:
    """The commit of the source that runs, "-dirty" where it was changed since; empty outside a checkout of it."""
    folder = repository()
    if folder is None:
        return ""
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + (DIRTY if changed.stdout.strip() else "")


def provenance(device: str) -> dict[str, Any]:
    """Where a figure of the code that runs comes from, as fields of its record."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"machine": machine(device), "versions": versions(), "commit": commit(), "time": time}


def unlike(one: Record, other: Record) -> list[str]:
    """What, other than the code, decides this figure and differs between two records of it, in words.

    A count of parameters takes nothing but the code and the library that a model comes from; MACs also torch, which
    counts them; peak memory the machine and the policy of the workers; a time all that is known.
    """
    how = METRICS[one.metric].how
    libraries = {"xbench"} | ({"torch"} if one.metric != "params" else set())
    libraries |= {"timm"} if one.case["baseline"] else set()
    if how == "timed":
        libraries |= set(LIBRARIES) | {"python"} | (set(OF_ENGINES) if one.case["mode"] in ENGINES else set())
    elif one.case["mode"] == "compile":
        libraries.add("triton")
    found = _differences(one.versions, other.versions, libraries)
    if how != "static":
        found += _differences(one.machine, other.machine, {*one.machine, *other.machine} - {*PROVENANCE})
        # As JSON, because a record that was read has lists for tuples.
        before, after = (json.loads(json.dumps(record.policy)) for record in (one, other))
        # Older records have photographs, too, where random numbers were the inputs.
        unseen = set() if one.case["level"] == "model" else {"inputs"}
        found += _differences(before, after, {*before, *after} - unseen)
    return found


def _differences(one: dict[str, Any], other: dict[str, Any], names: set[str]) -> list[str]:
    differing = sorted(name for name in names if one.get(name) != other.get(name))
    return [f"{name} was {one.get(name, 'unknown')}, is {other.get(name, 'unknown')}" for name in differing]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpu() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        found = subprocess.run([*query, f"--id={visible or 0}"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
