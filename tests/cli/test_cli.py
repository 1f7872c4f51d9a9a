"""The command line as a user and a script meet it: whole processes, their output and their exit codes."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from here import run_here
from typer.testing import CliRunner

from xbench.cli.verbs import app

XBENCH = [sys.executable, "-m", "xbench"]
TINY = ["--size", "xxs", "--threads", "1", "--quick"]


@pytest.mark.process
@pytest.mark.parametrize("args", [["--help"], ["list"], ["compare", "--help"], ["compare", "--attn", "xfo"]])
def test_answers_that_need_no_torch_do_not_import_it(args):
    code = (
        f"import sys; sys.argv = ['xbench', *{args!r}]\n"
        "from xbench.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_shows_name_paper_cost_and_options():
    done = CliRunner().invoke(app, ["list"], env={"COLUMNS": "120"})
    (xfa,) = [line for line in done.output.splitlines() if line.strip().startswith("xfa ")]
    assert "2207.07268" in xfa
    assert "O(N)" in xfa
    assert "rank=1" in xfa
    for name in ("mhsa", "mhsa-sdpa", "separable"):
        assert f" {name} " in done.output


def test_json_prints_records_alone_and_several_values_may_be_written_either_way(tmp_path, monkeypatch, workers_here):
    monkeypatch.chdir(tmp_path)
    asked = ["compare", "--attn", "xfa", "mhsa", "--res=32", "64", "--patch", "1", "--metrics", "macs", "--json"]
    code, out, errors = run_here([*asked, *TINY], monkeypatch)
    assert code == 0, errors
    records = [json.loads(line) for line in out.splitlines()]
    macs = [(r["case"]["img_size"], r["case"]["arm"]) for r in records if r["metric"] == "macs"]
    assert macs == [([32, 32], "xfa"), ([32, 32], "mhsa"), ([64, 64], "xfa"), ([64, 64], "mhsa")]
    assert "\x1b" not in out + errors

    again = ["compare", "--attn", "xfa", "--attn", "mhsa", "--res", "32", "--res", "64", "--patch", "1"]
    _, out, _ = run_here([*again, *TINY, "--metrics", "macs", "--json", "--out", "again"], monkeypatch)
    assert [json.loads(line)["key"] for line in out.splitlines()] == [r["key"] for r in records]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--attn", "xfo", "--res", "64"], "Did you mean 'xfa'"),
        (["--attn", "xfa", "--res", "-1"], "from 32 to 16384, not -1"),
        (["--attn", "xfa", "--res", "64", "--budget", "0"], "--budget must be a number above 0"),
        (["--attn", "xfa", "--res", "64", "--budget", "soon"], "--budget"),
        (["--attn", "xfa", "--res", "64", "--out", "/proc/nowhere"], "cannot write"),
        (["--attn", "xfa", "--res", "64", "stray"], "stray"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_here(["compare", *args], monkeypatch)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir()), "nothing is created for a mistake"


@pytest.mark.process
def test_a_process_that_measures_loads_torch_and_little_else():
    heavy = {"timm", "torchvision", "torch._dynamo", "pandas"}
    code = f"import sys, xbench.worker.requests; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n", "every start of every launch would pay for it"


@pytest.mark.process
def test_an_interrupt_while_a_process_is_started_is_not_lost():
    code = """
import os, signal
from xbench.processes.parent import ChildProcess
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))  # Python swallows what this raises
ChildProcess("json.tool", dict(os.environ))
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert "went on" not in done.stdout


@pytest.mark.process
def test_an_interrupt_keeps_what_was_finished(tmp_path):
    asked = ["compare", "--attn", "xfa", "--res", "64", "--metrics", "macs", "latency", *TINY, "--out", "run"]
    process = subprocess.Popen(
        [*XBENCH, *asked], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ledger = tmp_path / "run" / "records.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (ledger.exists() and '"launch": 1' in ledger.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert "xfa" in out
    assert "This is a look, not a claim" in (tmp_path / "run" / "report.md").read_text()
    deadline = time.monotonic() + 10
    while (left := _workers_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _workers_in(folder) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "xbench.worker" in (process.info["cmdline"] or []) and process.info["cwd"] == str(folder):
            found.append(process)
    return found


def test_nothing_measured_and_some_missing_have_exit_codes_of_their_own(tmp_path, monkeypatch, workers_here):
    monkeypatch.chdir(tmp_path)
    asked = ["compare", "--res", "64", "--metrics", "macs", *TINY, "--attn", "xfa:kernel=2"]
    code, out, _ = run_here(asked, monkeypatch)
    assert code == 4
    assert "kernel must be odd" in out
    assert run_here([*asked, "xfa"], monkeypatch)[0] == 3
