"""Other tools read what is exported, by their own code; what is imported is what was exported."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_records import LINEAR, QUADRATIC, exact, failed, place, timed
from pytest_benchmark.stats import Stats
from typer.testing import CliRunner

from xbench.analysis.figures import figures, place_of
from xbench.analysis.history import histories
from xbench.analysis.runs import find_runs, newest
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.exchange.bencher import bencher_metrics
from xbench.exchange.pytest_benchmark import from_pytest_benchmark, statistics_of, to_pytest_benchmark
from xbench.records.ledger import Ledger, read_records
from xbench.records.provenance import commit

ORIGIN = {
    "machine": {"cpu": "AMD EPYC", "physical_cores": 2, "system": "Linux 6.1 x86_64", "memory_mib": 100},
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "commit": commit().removesuffix("-dirty"),
    "time": "2026-01-02T03:04:05+00:00",
}
# https://bencher.dev/bmf.json
BMF = {
    "$schema": "http://json-schema.org/draft-07/schema",
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
                    "required": ["value"],
                }
            },
        }
    },
}


@pytest.fixture
def records():
    places = [place(256), place(512)]
    made = [r for at in places for arm in (QUADRATIC, LINEAR) for r in [*exact(arm, at), *timed(arm, at, launches=3)]]
    made += [*failed(QUADRATIC, place(1024)), *timed(LINEAR, place(1024), launches=3), *timed(LINEAR, place(128))]
    return [replace(record, **ORIGIN) for record in made]


@pytest.fixture
def run(tmp_path, records):
    Ledger(tmp_path / "run" / "records.jsonl").append(records)
    return tmp_path / "run"


def xbench(*args):
    return CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 20])
def test_statistics_are_those_of_pytest_benchmark(n):
    theirs = Stats()
    theirs.data = list(np.random.default_rng(n).lognormal(0, 2, n))
    ours = statistics_of(theirs.data)
    for name, value in theirs.as_dict().items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value)), name


@pytest.mark.process
def test_pytest_benchmark_compares_what_was_exported(run, tmp_path):
    out = tmp_path / "run.json"
    assert xbench("export", run, "--format", "pytest-benchmark", "-o", out).exit_code == 0
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(out), "--group-by=group", "--columns=median"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("throughput[xfa · 256 px") == 1
    assert "throughput · 512 px" in done.stdout


def test_what_was_exported_comes_back(run, records, tmp_path):
    xbench("export", run, "--format", "pytest-benchmark", "-o", tmp_path / "run.json")
    # A second import adds nothing.
    for added in ("42", "0"):
        done = xbench("import", tmp_path / "run.json", "--out", tmp_path / "back")
        assert done.exit_code == 0
        assert f"{added} records in" in done.stderr
    back = read_records([tmp_path / "back" / "records.jsonl"])
    kept = [r for r in records if r.metric in ("throughput", "latency") and r.samples]

    def essence(record):
        samples = [float(f"{x:.12g}") for x in record.samples]
        return replace(record, samples=samples, detail={}, schema=2)

    assert sorted(map(essence, back), key=str) == sorted(map(essence, kept), key=str)


@pytest.mark.process
def test_a_suite_of_somebody_else_keeps_its_names_and_nothing_is_made_up(tmp_path):
    (tmp_path / "test_theirs.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('n', [10, 20])\ndef test_sum(benchmark, n):\n"
        "    benchmark.group = 'sums'\n    benchmark.pedantic(sum, (range(n),), rounds=4)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "test_theirs.py",
        "--benchmark-json=theirs.json",
        "-p",
        "no:cacheprovider",
    ]
    # pytest-benchmark measures nothing where it sees that tests run side by side, as these here may.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    subprocess.run(command, cwd=tmp_path, env=alone, check=True, capture_output=True, timeout=120)
    assert xbench("import", tmp_path / "theirs.json", "--out", tmp_path / "theirs").exit_code == 0
    found = read_records([tmp_path / "theirs" / "records.jsonl"])
    theirs = json.loads((tmp_path / "theirs.json").read_text())["benchmarks"]
    assert [r.case["arm"] for r in found] == ["test_sum[10]", "test_sum[20]"]
    assert [r.samples for r in found] == [b["stats"]["data"] for b in theirs]
    assert {(r.metric, r.unit, r.status, r.case["benchmark"]) for r in found} == {("time", "s", "ok", "sums")}
    assert not {"level", "img_size", "batch"} & found[0].case.keys()
    assert [series.arm for series in histories(found)] == ["test_sum[10]", "test_sum[20]"]
    shown = xbench("show", tmp_path / "theirs")
    assert "test_sum[20] · sums" in shown.stdout
    assert find_runs(tmp_path)[0].ok == 2
    assert len(bencher_metrics(figures(found))) == 2


TIMES = {"data": [2e-3, 3e-3, 4e-3], "median": 3e-3}
# As version 2.5 of pytest-benchmark wrote it (tests/test_storage/0002_… of its repository), the first that wrote any.
OLDEST = {
    "benchmarks": [
        {
            "fullname": "tests/test_normal.py::test_xfast_parametrized[0]",
            "stats": {"min": 2.169e-07, "median": 2.1981029975705031e-07, "rounds": 11009, "iterations": 410},
            "name": "test_xfast_parametrized[0]",
            "group": None,
            "options": {"timer": "time"},
        }
    ],
    "version": "2.5.0",
    "machine_info": {"machine": "x86_64", "processor": "x86_64", "system": "Linux", "python_version": "2.7.3"},
    "commit_info": {"dirty": True, "id": "5b78858eb718649a31fb93d8dc96ca2cee41a4cd"},
    "datetime": "2015-08-15T00:01:51.557705",
}


def suite(*names, commit="a" * 40, dirty=False, stats=None, **info):
    """A document with a benchmark per whole name, all in one group."""
    benchmarks = [
        {"group": "g", "name": name.partition("::")[2], "fullname": name, "stats": stats or TIMES} for name in names
    ]
    commit_info = {"id": commit, "dirty": dirty}
    return {"benchmarks": benchmarks, "machine_info": info, "commit_info": commit_info, "version": "5.1.0"}


def imported(tmp_path, *documents):
    """The records of a run that these were imported into, one after the other."""
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
        done = xbench("import", tmp_path / f"{number}.json", "--out", tmp_path / "theirs")
        assert done.exit_code == 0, done.output
    return read_records([tmp_path / "theirs" / "records.jsonl"])


def test_tests_of_one_name_in_two_files_are_two_rows(tmp_path):
    found = imported(tmp_path, suite("a/test_x.py::test_it", "b/test_x.py::test_it"))
    names = ["test_it · g · a/test_x.py", "test_it · g · b/test_x.py"]
    assert [figure.name for figure in figures(newest(found))] == names
    assert [len(figure.samples) for figure in figures(found)] == [3, 3]
    assert len(bencher_metrics(figures(found))) == len(histories(found)) == 2
    shown = xbench("show", tmp_path / "theirs").stdout
    assert all(name in shown for name in names)


def test_the_same_test_twice_in_a_file_is_two_launches(tmp_path):
    (figure,) = figures(imported(tmp_path, suite("a.py::t", "a.py::t")))
    assert figure.estimate.launches == 2


@pytest.mark.parametrize(
    ("second", "launches"),
    [
        ({}, 2),
        ({"commit": "b" * 40}, 1),
        ({"dirty": True}, 1),
        ({"commit": ""}, 1),
        ({"python_version": "3.99"}, 1),
    ],
)
def test_figures_of_one_commit_and_machine_are_launches_of_one_and_others_are_not_pooled(tmp_path, second, launches):
    later = {"data": [3e-3, 4e-3, 5e-3], "median": 4e-3}
    found = imported(tmp_path, suite("a.py::t"), suite("a.py::t", stats=later, **second))
    assert len(found) == 2, "history has both"
    (figure,) = figures(newest(found))
    assert figure.estimate.launches == launches
    assert launches == 2 or figure.samples == later["data"], "the newer stands"


def test_files_of_all_versions_and_encodings_are_read(tmp_path):
    (record,) = imported(tmp_path, OLDEST)
    assert record.samples == [2.1981029975705031e-07]
    assert record.commit == "5b78858eb718-dirty"
    assert record.time == "2015-08-15T00:01:51.557705+00:00"
    assert find_runs(tmp_path)[0].ok == 1
    for cpu, name in (({"brand": "i7"}, "i7"), ({"brand_raw": "EPYC"}, "EPYC"), ({}, "")):
        (tmp_path / "cpu.json").write_text(json.dumps(suite("a.py::t", cpu=cpu)))
        assert from_pytest_benchmark(tmp_path / "cpu.json")[0].machine["cpu"] == name
    text = json.dumps(suite("a.py::größe"), ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "coded.json").write_bytes(text.encode(encoding))
        assert from_pytest_benchmark(tmp_path / "coded.json")[0].case["arm"] == "größe"


def test_a_time_of_zero_is_below_the_clock_and_one_below_zero_is_none(tmp_path):
    some = suite("a.py::some", stats={"data": [0.0, 2e-7, 2e-7]})
    none = suite("a.py::none", stats={"data": [0.0, 0.0, 2e-7]})
    found = imported(tmp_path, {**some, "benchmarks": some["benchmarks"] + none["benchmarks"]})
    assert [(record.status, record.samples) for record in found] == [("ok", [0.0, 2e-7, 2e-7]), ("unsupported", [])]
    assert histories(found)[0].points[0].estimate.value == pytest.approx(2e-7)
    shown = " ".join(xbench("show", tmp_path / "theirs").stdout.split())
    assert "none · g · a.py: half of its rounds, or more, took less time than its clock can tell" in shown
    out = tmp_path / "again.json"
    assert xbench("export", tmp_path / "theirs", "--format", "pytest-benchmark", "-o", out).exit_code == 0
    for wrong in (-1e-9, math.nan):
        (tmp_path / "wrong.json").write_text(json.dumps(suite("a.py::t", stats={"data": [wrong, 1.0]})))
        with pytest.raises(UserError, match=r"'a\.py::t' has a time that is none"):
            from_pytest_benchmark(tmp_path / "wrong.json")


# The least of each that tells it; whole files of each tool's own tests are told by the same.
THEIRS = {
    "Google Benchmark": {"context": {"num_cpus": 4}, "benchmarks": [{"name": "x", "real_time": 1, "cpu_time": 1}]},
    "hyperfine": {"results": [{"command": "x", "mean": 1, "user": 1, "system": 1, "times": [1]}]},
    "criterion": {"mean": {"confidence_interval": {}, "point_estimate": 1.0, "standard_error": 0.1}},
    "pyperf": {"benchmarks": [{"runs": [{"values": [1.0]}]}], "version": "1.0"},
    "JMH": [{"jmhVersion": "1.29", "benchmark": "x", "primaryMetric": {}}],
    "BenchmarkDotNet": {"Title": "x", "HostEnvironmentInfo": {}, "Benchmarks": []},
    "github-action-benchmark": [{"name": "x", "unit": "ns", "value": 1}],
}


@pytest.mark.parametrize("tool", THEIRS)
def test_the_json_of_another_tool_is_refused_by_saying_whose_it_seems_to_be(tmp_path, tool):
    (tmp_path / "theirs.json").write_text(json.dumps(THEIRS[tool]))
    with pytest.raises(UserError, match=f"it seems to be {tool}'s"):
        from_pytest_benchmark(tmp_path / "theirs.json")


def test_what_we_write_for_others_and_for_ourselves_is_told_too(run, tmp_path):
    def refused(path, words):
        with pytest.raises(UserError, match=words):
            from_pytest_benchmark(path)

    xbench("export", run, "--format", "bmf", "-o", tmp_path / "bmf.json")
    refused(tmp_path / "bmf.json", "seems to be Bencher")
    refused(run / "records.jsonl", "seems to be xbench's. A run of xbench needs no import")
    if commit():
        xbench("export", run, "--format", "asv", "-o", tmp_path / "asv")
        results = tmp_path / "asv" / "results"
        for path in [*results.rglob("*-*.json"), results / "benchmarks.json"]:
            refused(path, "seems to be asv's")


def test_what_is_no_file_of_pytest_benchmark_is_a_message(tmp_path):
    for text in ("", "[]", "null", "3", "{", '{"benchmarks": 3}', '{"benchmarks": [3]}', '{"benchmarks": []}', "\xff"):
        (tmp_path / "odd.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=r"odd.json (is not a file of pytest-benchmark's JSON|holds no benchmarks)"):
            from_pytest_benchmark(tmp_path / "odd.json")
    (tmp_path / "odd.json").write_text('{"benchmarks": [{"name": 3}]}')
    with pytest.raises(UserError, match="is not a file of pytest-benchmark's JSON"):
        from_pytest_benchmark(tmp_path / "odd.json")
    with pytest.raises(UserError, match="cannot read"):
        from_pytest_benchmark(tmp_path / "none.json")


def test_bencher_takes_what_was_exported(run, records, tmp_path):
    out = tmp_path / "bmf.json"
    assert xbench("export", run, "--format", "bmf", "-o", out).exit_code == 0
    document = json.loads(out.read_text())
    jsonschema.validate(document, BMF)
    assert all(len(measure) <= 64 for measures in document.values() for measure in measures)
    (xfa,) = [measures for name, measures in document.items() if name.startswith("xfa · 256 px")]
    figure = next(f for f in figures(records) if f.metric == "latency" and f.case["arm"] == "xfa")
    assert xfa["latency"]["value"] == pytest.approx(figure.estimate.value * 1e6)  # ms in ns
    assert xfa["latency"]["lower_value"] < xfa["latency"]["value"] < xfa["latency"]["upper_value"]
    assert xfa["params"]["value"] == 5_475_688
    assert "peak-memory-mib" in xfa


def test_two_runs_of_one_case_are_two_files_and_not_one_name_twice(records, run, tmp_path):
    Ledger(tmp_path / "other" / "records.jsonl").append(records)
    assert xbench("export", run, tmp_path / "other", "--format", "bmf", "-o", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001_run.json", "0002_other.json"]
    with pytest.raises(UserError, match="export these runs one by one"):
        bencher_metrics([*figures(records), *figures(records)])


@pytest.mark.process
@pytest.mark.skipif(not commit(), reason="asv's results belong to commits; this is no checkout")
def test_asv_shows_and_publishes_what_was_exported(run, records, tmp_path):
    small = [r for r in records if r.case["img_size"] == [256, 256]]
    changed = [replace(r, commit=r.commit + "-dirty", run="changed") for r in small]
    unknown = [replace(r, commit="0" * 12, run="unknown") for r in records]
    Ledger(run / "records.jsonl").append([*changed, *unknown])
    out = tmp_path / "asv"
    assert xbench("export", run, "--format", "asv", "-o", out).exit_code == 0

    def asv(*args):
        done = subprocess.run(
            [sys.executable, "-m", "asv", *args], cwd=out, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    name = ORIGIN["commit"]
    assert name[:8] in asv("show")
    shown = asv("show", name, "--details")
    assert "model.inference.throughput" in shown
    assert "model.inference.peak_memory" in shown
    assert "xfa" in shown
    from asv.results import iter_results

    results = {result.env_name: result for result in iter_results(str(out / "results"))}
    committed = next(result for env, result in results.items() if "changed" not in env)
    key = "model.inference.throughput"
    params = committed.get_result_params(key)
    values = dict(zip(_product(params), committed.get_result_value(key, params), strict=True))
    xfa = next(f for f in figures(records) if f.metric == "throughput" and f.case["arm"] == "xfa")
    assert values[repr("xfa"), repr(xfa.place)] == pytest.approx(1 / xfa.estimate.value)
    small, big = (repr(place_of(_at(records, size).case)) for size in (128, 1024))
    assert math.isnan(values[repr("mhsa"), small]), "was not measured"
    assert values[repr("mhsa"), big] is None, "failed"
    assert len(results) == 2
    asv("publish", "--no-pull")
    assert key in json.loads((out / "html" / "index.json").read_text())["benchmarks"]


def _at(records, size):
    return next(record for record in records if record.case["img_size"] == [size, size])


def _product(params):
    return [(arm, where) for arm in params[0] for where in params[1]]


def test_nothing_to_export_is_a_message(tmp_path, records):
    Ledger(tmp_path / "paper" / "records.jsonl").append([r for r in records if r.metric == "params"])
    with pytest.raises(UserError, match="has nothing that pytest-benchmark could take"):
        xbench("export", tmp_path / "paper", "--format", "pytest-benchmark", "-o", tmp_path / "x.json")
    Ledger(tmp_path / "old" / "records.jsonl").append([replace(records[0], commit="")])
    with pytest.raises(UserError, match="no record names one"):
        xbench("export", tmp_path / "old", "--format", "asv", "-o", tmp_path / "asv")
    assert not Path(tmp_path / "x.json").exists()
    assert to_pytest_benchmark(figures(records))["benchmarks"]
