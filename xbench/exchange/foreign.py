"""Whose JSON a file seems to be, told by the names of its fields, so that a refusal can say it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

# Each tool's fields, in its documents or in what lies in these; every set of a tool stands for one kind of file.
FIELDS: dict[str, tuple[set[str], ...]] = {
    "asv": ({"result_columns"}, {"commit_hash", "results"}, {"param_names", "params"}, {"environment_type"}),
    "Google Benchmark": ({"real_time", "cpu_time"}, {"run_type", "repetition_index"}),
    "hyperfine": ({"command", "mean", "user", "system"},),
    "criterion": (
        {"point_estimate", "confidence_interval"},
        {"criterion_benchmark_v1"},
        {"sampling_mode", "iters"},
        {"reason", "typical"},
    ),
    "pyperf": ({"benchmarks", "runs"}, {"metadata", "runs"}),
    "JMH": ({"jmhVersion"},),
    "BenchmarkDotNet": ({"HostEnvironmentInfo"},),
    "BenchmarkTools.jl": ({"BenchmarkTools"},),
    "github-action-benchmark": ({"repoUrl", "entries"}, {"name", "unit", "value"}),
    "pytest-json-report": ({"exitcode", "collectors"},),
    "xbench": ({"schema", "key", "metric", "samples"},),
}
BENCHER = "Bencher, in its Metric Format"
DEPTH, WIDTH = 3, 20  # how far a document is looked into, and at how many entries of each list or object


def whose(document: Any) -> str:
    """The tool that writes such documents; empty where none is known that does."""
    found = {name for entry in _objects(document, DEPTH) for name in entry}
    for tool, kinds in FIELDS.items():
        if any(fields <= found for fields in kinds):
            return tool
    return BENCHER if _is_bencher(document) else ""


def _objects(document: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The objects of a document, the document among them."""
    if isinstance(document, dict):
        yield document
    if depth and isinstance(document, dict | list):
        for entry in islice(document.values() if isinstance(document, dict) else document, WIDTH):
            yield from _objects(entry, depth - 1)


def _is_bencher(document: Any) -> bool:
    """By benchmark and measure, a value: https://bencher.dev/docs/reference/bencher-metric-format."""
    benchmarks = list(document.values()) if isinstance(document, dict) else []
    measures = [each for found in benchmarks if isinstance(found, dict) for each in found.values()]
    return bool(measures) and all(isinstance(each, dict) and "value" in each for each in measures)
