"""pytest-benchmark's JSON, both ways. Its unit is the second; what is not a time stands in ``extra_info``.

Exported benchmarks carry their case and the samples of each launch, so they come back as they were. A benchmark of
another suite keeps its names and its samples; of its conditions nothing is known, and nothing is made up.

Read are the files of all versions since 2.5, the first that wrote any.
"""

import hashlib
import json
import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from xbench.analysis.figures import FOREIGN_TIME, Figure, seconds
from xbench.errors import UserError
from xbench.exchange.foreign import whose
from xbench.files.reading import read_bytes
from xbench.metrics.definitions import METRICS
from xbench.records.commits import DIRTY, find_commit, is_dirty
from xbench.records.record import Record
from xbench.records.schema import check
from xbench.study.conditions import ARM_FIELDS

OURS = "xbench"  # the key in extra_info
# What a launch has of its own.
LAUNCH = ("run", "launch", "heat", "commit", "time")
VERSION = "5.0.0"  # of pytest-benchmark, whose fields these are


def to_pytest_benchmark(figures: Sequence[Figure]) -> dict[str, Any]:
    """The document of one run: a benchmark for each figure that is a time or a rate.

    Benchmarks that compare stand in one group. ``extra_info`` has the exact figures of the case (parameters,
    multiply–accumulates, memory), and under "xbench" what an import needs.
    """
    timed = [figure for figure in figures if seconds(figure.unit, 1.0) is not None]
    last = timed[-1].records[-1] if timed else None
    exact: dict[str, dict[str, float]] = {}
    for figure in figures:
        if seconds(figure.unit, 1.0) is None:
            bound = ", at least" if figure.estimate.bound else ""
            exact.setdefault(figure.name, {})[f"{figure.metric} [{figure.unit}]{bound}"] = figure.estimate.value
    return {
        "machine_info": _machine_info(last) if last else {},
        "commit_info": _commit_info(last) if last else {},
        "benchmarks": [_benchmark(figure, exact.get(figure.name, {})) for figure in timed],
        "datetime": last.time if last else "",
        "version": VERSION,
    }


def _benchmark(figure: Figure, exact: dict[str, float]) -> dict[str, Any]:
    launches = [
        {key: getattr(record, key) for key in LAUNCH} | {"samples": len(record.samples)} for record in figure.records
    ]
    last = figure.records[-1]
    ours = {"case": figure.case, "metric": figure.metric, "launches": launches, "key": last.key, "study": last.study}
    name = f"{figure.metric}[{figure.name}]"
    return {
        "group": f"{figure.metric} · {figure.place}",
        "name": name,
        "fullname": f"{last.study}::{name}",
        "params": {"arm": figure.case["arm"], "conditions": figure.place},
        "param": figure.case["arm"],
        "extra_info": {**exact, OURS: {**ours, "against": last.against}},
        "options": {},
        "stats": statistics_of([_seconds(figure, sample) for sample in figure.samples]),
    }


def _seconds(figure: Figure, sample: float) -> float:
    value = seconds(figure.unit, sample)
    assert value is not None
    return value


def statistics_of(data: Sequence[float]) -> dict[str, Any]:
    """The fields that pytest-benchmark keeps of a benchmark's seconds, defined as it defines them."""
    ordered = sorted(data)
    n = len(ordered)
    mean, deviation = statistics.mean(ordered), statistics.stdev(ordered) if n > 1 else 0.0
    q1, q3 = _quartile(ordered), -_quartile([-x for x in reversed(ordered)])
    fence = 1.5 * (q3 - q1)
    beyond_deviation = sum(abs(x - mean) > deviation for x in ordered)
    beyond_fence = sum(x < q1 - fence or x > q3 + fence for x in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": statistics.median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_fence,
        "stddev_outliers": beyond_deviation,
        "outliers": f"{beyond_deviation};{beyond_fence}",
        "ld15iqr": ordered[bisect_left(ordered, q1 - fence)],
        "hd15iqr": ordered[bisect_right(ordered, q3 + fence) - 1],
        "ops": n / sum(ordered),
        "total": sum(ordered),
        "data": list(data),
        "iterations": 1,
    }


def _quartile(ordered: Sequence[float]) -> float:
    """The lower one: the median of the lower half; for odd numbers between the halves with and without the middle."""
    n = len(ordered)
    if n == 1:
        return ordered[0]
    without, within = ordered[: n // 2], ordered[: (n + 1) // 2]
    return (statistics.median(without) + statistics.median(within)) / 2


def _machine_info(last: Record) -> dict[str, Any]:
    machine = last.machine
    system, _, rest = machine.get("system", "").partition(" ")
    release, _, architecture = rest.rpartition(" ")
    return {
        "node": "",
        "processor": architecture,
        "machine": architecture,
        "python_version": last.versions.get("python", ""),
        "release": release,
        "system": system,
        "cpu": {"brand_raw": machine.get("cpu", ""), "count": machine.get("physical_cores", 0)},
        OURS: {"machine": machine, "versions": last.versions},
    }


def _commit_info(last: Record) -> dict[str, Any]:
    known = find_commit(last.commit)
    return {
        "id": known.hash if known else last.commit.removesuffix(DIRTY),
        "dirty": is_dirty(last.commit),
        "project": "xbench",
    }


def from_pytest_benchmark(path: Path) -> list[Record]:
    """The benchmarks of a file as records, their samples kept.

    Of ours everything is as it was exported. Another suite's have the metric "time" in seconds, and a case of three
    entries beside those of every arm: "arm", the name; "benchmark", the group or else the whole name; and "test", the
    whole name with its file, by which tests of one name are told apart. Where a file was saved without data, the median
    is the one sample. What took no time that its clock could tell has no figure, and a reason.

    Figures of one commit and machine are launches of one figure. Where the commit is unknown or was changed, they are
    those of this file alone.

    Raises:
        UserError: the file cannot be read or is not of pytest-benchmark, or one of its times is none.
    """
    content = read_bytes(path, "the benchmarks")
    document = _parsed(content, path)
    try:
        found = list(_all_records(document, source=hashlib.sha256(content).hexdigest()[:12]))
        for record in found:
            check(asdict(record), {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(_refusal(path, document, error)) from error
    if not found:
        raise UserError(f"{path} holds no benchmarks.")
    return found


def _parsed(content: bytes, path: Path) -> Any:
    """The document, in whichever of JSON's encodings, with or without a byte-order mark."""
    try:
        return from_json(content.decode(json.detect_encoding(content)))
    except ValueError as error:
        # Some tools write an object per line.
        try:
            first = from_json(content.lstrip().partition(b"\n")[0])
        except ValueError:
            first = None
        raise UserError(_refusal(path, first, error)) from error


def _refusal(path: Path, document: Any, error: Exception) -> str:
    """That this is no file of pytest-benchmark, and whose it seems to be."""
    said = f"{path} is not a file of pytest-benchmark's JSON"
    if tool := whose(document):
        hint = " A run of xbench needs no import: xbench show, and the name of its folder." if tool == OURS else ""
        return f"{said}; it seems to be {tool}'s.{hint}"
    return f"{said} ({f'it has no {error}' if isinstance(error, KeyError) else error})."


def _all_records(document: dict[str, Any], source: str) -> Iterator[Record]:
    origin = replace(_provenance(document), run=source, study="pytest-benchmark")
    times: Counter[str] = Counter()
    for benchmark in document["benchmarks"]:
        # A whole name that occurs again is the same test once more: another launch of it.
        times[benchmark["fullname"]] += 1
        yield from _records(benchmark, origin, times[benchmark["fullname"]])


def _records(benchmark: dict[str, Any], origin: Record, launch: int) -> Iterator[Record]:
    stats = benchmark["stats"]
    data = [float(x) for x in stats.get("data") or [stats["median"]]]
    if not all(math.isfinite(x) and x >= 0 for x in data):
        raise UserError(f"'{benchmark['fullname']}' has a time that is none: below zero, or not finite.")
    ours = (benchmark.get("extra_info") or {}).get(OURS)
    if ours is None:
        case = {**dict.fromkeys(ARM_FIELDS), "control": False, "arm": benchmark["name"]}
        case |= {"benchmark": benchmark.get("group") or benchmark["fullname"], "test": benchmark["fullname"]}
        ours = {"case": case, "metric": FOREIGN_TIME}
    metric = ours["metric"]
    code = origin.run if is_dirty(origin.commit) or not origin.commit else origin.commit
    identity = json.dumps([ours["case"], metric, origin.machine, origin.versions, code], sort_keys=True)
    origin = replace(origin, key=hashlib.sha256(identity.encode()).hexdigest()[:16])
    if not statistics.median(data):
        reason = "half of its rounds, or more, took less time than its clock can tell"
        yield replace(origin, case=ours["case"], metric=metric, unit="s", status="unsupported", reason=reason)
        return
    unit = METRICS[metric].unit if metric in METRICS else "s"
    start = 0
    for part in ours.get("launches") or [{"launch": launch, "samples": len(data)}]:
        own = data[start : start + part["samples"]]
        start += part["samples"]
        yield replace(
            origin,
            **{key: part[key] for key in LAUNCH if key in part},
            **{key: ours[key] for key in ("key", "study", "against") if key in ours},
            case=ours["case"],
            metric=metric,
            unit=unit,
            samples=[_in_unit(x, unit) for x in own],
        )


def _in_unit(time: float, unit: str) -> float:
    """The inverse of ``seconds``."""
    one = seconds(unit, 1.0)
    if one is None:
        raise ValueError(f"{unit} is no unit of a time")
    return 1 / time if unit == METRICS["throughput"].unit else time / one


def _provenance(document: dict[str, Any]) -> Record:
    """A record with machine, versions, commit and time as far as the file says, and nothing else."""
    info, commit = document.get("machine_info") or {}, document.get("commit_info") or {}
    ours = info.get(OURS)
    if ours:
        machine, versions = ours["machine"], ours["versions"]
    else:
        cpu = info.get("cpu") or {}
        system = " ".join(filter(None, (info.get("system"), info.get("release"), info.get("machine"))))
        # "brand" until py-cpuinfo 6, and no entry at all before pytest-benchmark 3.1.
        brand = cpu.get("brand_raw") or cpu.get("brand") or info.get("processor", "")
        machine = {"cpu": brand, "system": system}
        versions = {"python": info["python_version"]} if info.get("python_version") else {}
    name = str(commit.get("id") or "")[:12]
    return Record(
        run="",
        study="",
        key="",
        case={},
        metric="",
        unit="",
        machine=machine,
        versions=versions,
        commit=name + (DIRTY if name and commit.get("dirty") else ""),
        time=_time(document.get("datetime")),
    )


def _time(said: str | None) -> str:
    """In the form of a record's. Where no zone is said, as in some files of version 2.5, it is UTC."""
    if not said:
        return ""
    time = datetime.fromisoformat(said)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
