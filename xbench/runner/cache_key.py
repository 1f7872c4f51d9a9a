"""What a figure belongs to: case, code, software, machine. Its hash is the key that its records have."""

import hashlib
import json
from functools import cache
from typing import Any

from xbench.attention.spec import attention_origin, attention_sources
from xbench.metrics.definitions import METRICS, PROBES
from xbench.parsing.axes import ENGINES
from xbench.records.provenance import PROVENANCE, machine, provenance, versions
from xbench.records.software import engine_versions
from xbench.runner.code import EXPORTING, PROBING, TRAINING, TURNS, WORKER, deciding_files, file_of, hash_of
from xbench.study.case import Arm, Case


def case_key(case: Case, metric: str, policy: dict[str, Any]) -> str:
    """Hash over everything that makes a figure comparable.

    Labels, load, commit, size of memory and release of the kernel are provenance, not in it; and what is found on paper
    is the same on every machine.
    """
    asked = {key: value for key, value in case.flat().items() if key not in ("arm", "control")}
    checkout = case.arm.checkout
    how = METRICS[metric].how
    roots = [PROBING if metric in PROBES else TRAINING if how == "trained" else WORKER]
    if how == "timed" and case.arm.mode in ENGINES:
        roots.append(EXPORTING)
    code = checkout.commit if checkout else source_hash(case.arm.attn, *roots)
    hardware = {key: value for key, value in machine(case.device).items() if key not in PROVENANCE}
    identity = [metric, asked, policy, {} if how == "static" else hardware, _software(case.arm), code]
    if how == "timed":
        identity.append(turns_hash())
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def provenance_of(case: Case) -> dict[str, Any]:
    """``records.provenance`` of a case, whose code may be another commit's or come from outside."""
    checkout = case.arm.checkout
    code = {"commit": checkout.commit[:12]} if checkout else {}
    return {**provenance(case.device), "versions": _software(case.arm), **code}


def _software(arm: Arm) -> dict[str, str]:
    if arm.checkout:
        return dict(arm.checkout.versions)
    engines = engine_versions() if arm.mode in ENGINES else {}
    return {**versions(), **engines, **origin(arm.attn)}


@cache
def source_hash(attn: str | None, *roots: str) -> str:
    """Hash of the code that decides a figure: the processes that find it, a worker if none is named, with all that they
    use, and the attention's own file.
    """
    files = [file for root in roots or (WORKER,) for file in _deciding_files(root)]
    return hash_of([*files, *(attention_sources(attn) if attn is not None else [])])


_deciding_files = cache(deciding_files)


@cache
def turns_hash() -> str:
    """Hash of the controller's code that decides a time."""
    return hash_of(map(file_of, TURNS))


@cache
def origin(attn: str | None) -> dict[str, str]:
    """The package and version, or the file and hash of its content, that an attention from outside comes from."""
    return attention_origin(attn) if attn else {}


def forget_sources() -> None:
    """Makes the next hash see the files as they are: in a session that goes on, a user edits his attention."""
    for found in (source_hash, _deciding_files, turns_hash, origin):
        found.cache_clear()
