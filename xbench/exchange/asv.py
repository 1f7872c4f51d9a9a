"""airspeed velocity's results: a folder that ``asv show``, ``asv compare`` and ``asv publish`` read.

A benchmark is a metric at a level in a direction; its parameters are the arm and the conditions. asv knows commits
only: what was measured on changed sources stands under the commit they were changed from, in an environment of its own
whose name says so, and what names no commit of this checkout is left out.
"""

import json
import math
import os
import re
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from xbench.analysis.figures import Figure, figures, place_of, seconds
from xbench.errors import UserError
from xbench.files.writing import check_targets, write_file
from xbench.records.commits import find_commit, is_dirty
from xbench.records.record import Record
from xbench.statistics.estimates import CONFIDENCE

# Of asv's files, by the number that asv calls api_version.
BENCHMARKS_VERSION, MACHINE_VERSION, RESULTS_VERSION = 2, 1, 2
COLUMNS = [
    "result",
    "params",
    "version",
    "started_at",
    "duration",
    "stats_ci_99_a",
    "stats_ci_99_b",
    "stats_q_25",
    "stats_q_75",
    "stats_number",
    "stats_repeat",
    "samples",
]
PARAMETERS = ["arm", "conditions"]
REQUIREMENTS = ("torch", "timm")
MIB = 2**20
ASV_CONFIDENCE = 0.99


def write_asv(records: Iterable[Record], folder: Path, *, force: bool = False) -> tuple[int, int]:
    """Writes asv.conf.json and results/ into ``folder``; returns the figures written, and those left out.

    Args:
        force: writes also into a folder with results that asv itself made.

    Raises:
        UserError: the folder cannot be written, or is another project's, or no record names a commit that this
            checkout knows.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    left: list[Record] = []
    for record in records:
        if find_commit(record.commit) is None:
            left.append(record)
        else:
            groups.setdefault((record.commit, _environment(record)), []).append(record)
    places = {key: figures(own) for key, own in groups.items()}
    found = [figure for own in places.values() for figure in own]
    if not found:
        raise UserError("nothing to export: asv needs the commit, and no record names one that this checkout knows.")
    benchmarks = _benchmarks(found)
    known = folder / "asv.conf.json", folder / "results" / "benchmarks.json"
    check_targets(known, force=force)
    _write(known[0], _configuration(folder))
    _write(known[1], {**benchmarks, "version": BENCHMARKS_VERSION})
    for key, own in places.items():
        if own:
            failed = [record for record in groups[key] if record.case and not record.samples]
            _write_results(own, failed, benchmarks, folder / "results")
    return len(found), len(figures(left))


def _write(path: Path, values: dict[str, Any]) -> None:
    # asv reads NaN, which no JSON of other tools has, as "not measured", and null as "failed".
    write_file(path, json.dumps(values, indent=1) + "\n")


def _configuration(folder: Path) -> dict[str, Any]:
    checkout = Path(__file__).parents[2]
    return {
        "version": 1,
        "project": "xbench",
        "project_url": "",
        "repo": os.path.relpath(checkout, folder),
        "branches": ["HEAD"],
        "environment_type": "existing",
        "results_dir": "results",
        "html_dir": "html",
        "hash_length": 12,
    }


def _environment(record: Record) -> str:
    """Names what a result belongs to beside its commit: software, and whether the sources were changed."""
    names = ["python", *REQUIREMENTS]
    parts = [f"{name}{record.versions[name]}" for name in names if name in record.versions]
    named = "-".join([*parts, *(["changed"] if is_dirty(record.commit) else []), machine_of(record)])
    # It is part of a file's name, and records may come from anywhere.
    return re.sub(r"[^\w.+-]+|\.\.+", "-", named)


def machine_of(record: Record) -> str:
    """A name for the machine, made of what the record knows of it."""
    facts = record.machine
    text = facts.get("gpu") or f"{facts.get('cpu') or 'unknown'} {facts.get('physical_cores') or ''}"
    return re.sub(r"\W+", "-", text).strip("-") or "unknown"


def _benchmark_name(of: Figure | Record) -> str:
    """A lower bound is a benchmark of its own, so that asv never compares it with the figure."""
    kind = [of.case.get(key) for key in ("level", "direction")]
    bound = "_at_least" if isinstance(of, Figure) and of.estimate.bound else ""
    return ".".join([*map(str, filter(None, kind)), of.metric + bound])


def _benchmarks(found: Sequence[Figure]) -> dict[str, dict[str, Any]]:
    by_name: dict[str, list[Figure]] = {}
    for figure in found:
        by_name.setdefault(_benchmark_name(figure), []).append(figure)
    described = {}
    for name, own in by_name.items():
        first = own[0]
        kind, unit, _ = _kind(first)
        arms, places = (dict.fromkeys(values) for values in zip(*map(_parameters, own), strict=True))
        described[name] = {
            "name": name,
            "pretty_name": name,
            "code": f"xbench measures {first.metric}{', of which no rule counts all' * bool(first.estimate.bound)}.",
            "type": kind,
            "unit": unit,
            "param_names": PARAMETERS,
            "params": [list(arms), list(places)],
            "timeout": 60.0,
            "version": "1",
        }
    return described


def _parameters(of: Figure | Record) -> tuple[str, str]:
    """As asv keeps them: the source text of the values."""
    return repr(of.case["arm"]), repr(place_of(of.case))


def _kind(figure: Figure) -> tuple[str, str, float]:
    """asv's type and unit of the benchmark, and that unit's worth of the figure's; of rates the time of one image."""
    one = seconds(figure.unit, 1.0)
    if one is not None:
        return "time", "seconds", one
    if figure.unit == "MiB":
        return "peakmemory", "bytes", MIB
    return "track", figure.unit, 1.0


def _write_results(
    found: Sequence[Figure], failed: Iterable[Record], benchmarks: dict[str, dict[str, Any]], folder: Path
) -> None:
    """One file: the figures of one commit in one environment on one machine."""
    last = found[-1].records[-1]
    commit = find_commit(last.commit)
    assert commit is not None
    machine = _machine(last)
    environment = _environment(last)
    by_name: dict[str, dict[tuple[str, str], Figure]] = {}
    for figure in found:
        by_name.setdefault(_benchmark_name(figure), {})[_parameters(figure)] = figure
    lost = {(_benchmark_name(record), _parameters(record)) for record in failed}
    rows = {name: _row(own, lost, benchmarks[name]) for name, own in by_name.items()}
    requirements = {name: last.versions[name] for name in REQUIREMENTS if name in last.versions}
    source = "changed" if is_dirty(last.commit) else "committed"
    _write(folder / machine["machine"] / "machine.json", {**machine, "version": MACHINE_VERSION})
    _write(
        folder / machine["machine"] / f"{commit.hash[:8]}-{environment}.json",
        {
            "commit_hash": commit.hash,
            "date": commit.time * 1000,
            "env_name": environment,
            "env_vars": {},
            "params": {**machine, "python": _python(last), **requirements, "source": source},
            "python": _python(last),
            "requirements": requirements,
            "result_columns": COLUMNS,
            "results": rows,
            "durations": {},
            "version": RESULTS_VERSION,
        },
    )


def _python(record: Record) -> str:
    return ".".join(record.versions.get("python", "").split(".")[:2])


def _machine(record: Record) -> dict[str, str]:
    facts = record.machine
    system, _, architecture = facts.get("system", "").rpartition(" ")
    return {
        "machine": machine_of(record),
        "os": system,
        "arch": architecture,
        "cpu": facts.get("cpu", ""),
        "num_cpu": str(facts.get("physical_cores", "")),
        "ram": str(facts.get("memory_mib", "")),
    }


def _row(own: dict[tuple[str, str], Figure], lost: Container[Any], benchmark: dict[str, Any]) -> list[Any]:
    """The columns of a benchmark; each holds a list over the product of its parameters."""
    places = list(product(*benchmark["params"]))
    points = [own.get(place) for place in places]
    times = [figure.records[-1].time for figure in points if figure and figure.records[-1].time]
    started = round(datetime.fromisoformat(max(times)).timestamp() * 1000) if times else None
    spreads = [_spread(figure) if figure else [None] * 6 for figure in points]
    nothing = [None if (benchmark["name"], place) in lost else math.nan for place in places]
    result = [
        _in_unit(figure, figure.estimate.value) if figure else none
        for figure, none in zip(points, nothing, strict=True)
    ]
    samples = [[_in_unit(figure, x) for x in figure.samples] if figure else None for figure in points]
    columns = [list(column) for column in zip(*spreads, strict=True)]
    return [result, benchmark["params"], benchmark["version"], started, None, *columns, samples]


def _in_unit(figure: Figure, value: float) -> float:
    time = seconds(figure.unit, value)
    return value * _kind(figure)[2] if time is None else time


def _spread(figure: Figure) -> list[float | None]:
    """The ends of the 99 % interval, quartiles, calls per sample and samples; none for what repeats exactly."""
    estimate, n = figure.estimate, figure.estimate.launches
    if estimate.low == estimate.high or estimate.bound:
        return [None] * 6
    quartiles = np.quantile([_in_unit(figure, x) for x in figure.samples], [0.25, 0.75])
    ends: list[float | None] = [None, None]
    if math.isfinite(estimate.half_width):
        level = (1 + ASV_CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
        wider = float(stats.t.ppf(level[0], n - 1) / stats.t.ppf(level[1], n - 1))
        middle = _in_unit(figure, estimate.value)
        half = math.exp(wider * estimate.half_width)
        ends = [middle / half, middle * half]
    return [*ends, float(quartiles[0]), float(quartiles[1]), 1, len(figure.samples)]
