"""What a figure belongs to: case, code, software, machine. Two figures compare when these are equal. No torch here."""

import hashlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import xbench
from xbench.attention import attention_origin, attention_sources
from xbench.axes import usable_cpus
from xbench.metrics import METRICS
from xbench.study import Case

LIBRARIES = ("torch", "timm", "fvcore", "ptflops", "numpy", "triton")
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
    found = {"python": platform.python_version(), "xbench": xbench.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
    software = {**versions(), **origin(case.arm.attn)}
    hardware = {key: value for key, value in machine(case.device).items() if key not in PROVENANCE}
    on_paper = METRICS[metric].how == "static"
    identity = [metric, asked, policy, {} if on_paper else hardware, software, source_hash(case.arm.attn)]
    if METRICS[metric].how == "trained":
        identity.append(training_hash())
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def provenance(device: str, attn: str | None = None) -> dict[str, Any]:
    """Where a figure comes from, as fields of its record. An attention from outside adds its package or file."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"machine": machine(device), "versions": {**versions(), **origin(attn)}, "commit": commit(), "time": time}


@cache
def source_hash(attn: str | None) -> str:
    """Hash of the code that decides a figure: models, inputs, metrics, the worker, and the attention's own file."""
    package = Path(__file__).parent
    sources = [*(package / "models").glob("*.py"), *(package / "metrics").glob("*.py")]
    sources += [package / "worker.py", package / "subject.py", package / "axes.py", package / "data" / "photos.py"]
    if attn is not None:
        sources += attention_sources(attn) + ([package / "adapter.py"] if origin(attn) else [])
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
