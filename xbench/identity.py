"""What a figure belongs to: case, code, software, machine. Two figures compare when these are equal. No torch here."""

import hashlib
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
from xbench.attention import attention_origin, attention_sources
from xbench.axes import usable_cpus
from xbench.metrics import METRICS
from xbench.probe import LIBRARIES, library_versions
from xbench.records import Record
from xbench.study import Arm, Case

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
    """The commit of the source that runs, "-dirty" where it was changed since; empty outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def case_key(case: Case, metric: str, policy: dict[str, Any]) -> str:
    """Hash over everything that makes a figure comparable.

    Labels, load, commit, size of memory and release of the kernel are provenance, not in it; and what is found on paper
    is the same on every machine.
    """
    asked = {key: value for key, value in case.flat().items() if key not in ("arm", "control")}
    checkout = case.arm.checkout
    code = checkout.commit if checkout else source_hash(case.arm.attn)
    hardware = {key: value for key, value in machine(case.device).items() if key not in PROVENANCE}
    on_paper = METRICS[metric].how == "static"
    identity = [metric, asked, policy, {} if on_paper else hardware, _software(case.arm), code]
    if METRICS[metric].how == "trained":
        identity.append(training_hash())
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def provenance(device: str, arm: Arm | None = None) -> dict[str, Any]:
    """Where a figure comes from, as fields of its record. An attention from outside adds its package or file."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    of = arm.checkout.commit[:12] if arm and arm.checkout else commit()
    return {"machine": machine(device), "versions": _software(arm) if arm else versions(), "commit": of, "time": time}


def _software(arm: Arm) -> dict[str, str]:
    return dict(arm.checkout.versions) if arm.checkout else {**versions(), **origin(arm.attn)}


@cache
def source_hash(attn: str | None) -> str:
    """Hash of the code that decides a figure: models, inputs, metrics, the worker, and the attention's own file."""
    package = Path(__file__).parent
    sources = [*(package / "models").glob("*.py"), *(package / "metrics").glob("*.py")]
    sources += [package / "worker.py", package / "subject.py", package / "axes.py", package / "data" / "photos.py"]
    if attn is not None:
        sources += attention_sources(attn) + ([package / "adapter.py", package / "layouts.py"] if origin(attn) else [])
    return _hash_of(sources)


@cache
def training_hash() -> str:
    """Hash of the code that decides what a model has learnt, beside the model's own."""
    package = Path(__file__).parent
    return _hash_of([*(package / "training").glob("*.py"), *(package / "data").glob("*.py")])


def _hash_of(sources: list[Path]) -> str:
    """By name and content, not by where they lie: the same code has the same hash everywhere."""
    digest = hashlib.sha256()
    for content in sorted(path.name.encode() + b"\0" + path.read_bytes() for path in sources):
        digest.update(content)
    return digest.hexdigest()[:16]


@cache
def origin(attn: str | None) -> dict[str, str]:
    """The package and version, or the file and hash of its content, that an attention from outside comes from."""
    return attention_origin(attn) if attn else {}


def unlike(one: Record, other: Record) -> list[str]:
    """What, other than the code, decides this figure and differs between two records of it, in words.

    A count of parameters takes nothing but the code and the library that a model comes from; MACs also torch, which
    counts them; peak memory the machine and the policy of the workers; a time all that is known.
    """
    how = METRICS[one.metric].how
    libraries = {"xbench"} | ({"torch"} if one.metric != "params" else set())
    libraries |= {"timm"} if one.case["baseline"] else set()
    if how == "timed":
        libraries |= set(LIBRARIES) | {"python"}
    elif one.case["mode"] == "compile":
        libraries.add("triton")
    found = _differences(one.versions, other.versions, libraries)
    if how != "static":
        found += _differences(one.machine, other.machine, {*one.machine, *other.machine} - {*PROVENANCE})
        # As JSON, because a record that was read has lists for tuples.
        before, after = (json.loads(json.dumps(record.policy)) for record in (one, other))
        found += _differences(before, after, {*before, *after})
    return found


def _differences(one: dict[str, Any], other: dict[str, Any], names: set[str]) -> list[str]:
    differing = sorted(name for name in names if one.get(name) != other.get(name))
    return [f"{name} was {one.get(name, 'unknown')}, is {other.get(name, 'unknown')}" for name in differing]


def forget_sources() -> None:
    """Makes the next hash see the files as they are: in a session that goes on, a user edits his attention."""
    source_hash.cache_clear()
    training_hash.cache_clear()
    origin.cache_clear()


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
