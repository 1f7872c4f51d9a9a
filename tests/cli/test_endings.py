"""How a command ends that is not left to end by itself: whole processes, their exit codes, what they leave."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from here import run_here
from hostile_folder import lay_out, records
from places import ROOT, SUPPORT

from xbench.records.ledger import Ledger
from xbench.training.checkpoint import read_weights
from xbench.training.job import digest

pytestmark = pytest.mark.process

# Sends this process a signal when it comes to import a module, or to put a file in its place: at a moment, and not
# after a time.
AT = """
import os, signal, sys
where, number, *sys.argv = sys.argv[1:]
def at(event, arguments):
    name = {"import": 0, "os.rename": 1}.get(event)
    if name is not None and str(arguments[name]) == where: os.kill(os.getpid(), int(number))
sys.addaudithook(at)
if where == "fork": os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), int(number)))
from xbench.cli.main import main
main()
"""
COMPARE = ["compare", "--attn", "xfa", "--res", "64", "--size", "xxs", "--threads", "1", "--metrics", "macs"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(*command: str, folder: Path, **options) -> subprocess.CompletedProcess:
    options.setdefault("env", ENVIRONMENT)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, **options)


@pytest.mark.parametrize(
    ("where", "number", "verb"),
    [
        ("rich", signal.SIGINT, ["list"]),
        ("typer", signal.SIGTERM, ["list"]),
        ("xbench.report.tables.listing", signal.SIGHUP, ["list"]),
        ("fork", signal.SIGTERM, COMPARE),  # before the first record; what a handler of a fork raises Python swallows
    ],
)
def test_a_signal_at_any_moment_has_its_exit_code_and_leaves_nothing(tmp_path, where, number, verb):
    done = start(sys.executable, "-P", "-c", AT, where, str(int(number)), "xbench", *verb, folder=tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert "Interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("mkdir gone && cd gone && rmdir ../gone && exec $XBENCH list", 2, "is no longer there"),
        ("exec $XBENCH list >&- 2>&- <&-", 0, ""),
        ("exec $XBENCH show r >/dev/full", 2, "cannot write to standard output: No space left on device"),
        ("exec $XBENCH verify nosuch 2>/dev/full", 2, ""),
        ("$XBENCH list | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii exec $XBENCH list", 0, "O(N^2)"),
        ("unset HOME; MPLCONFIGDIR=notes.txt/no exec $XBENCH history r r2 -o new", 0, "Charts: new/"),
    ],
)
def test_a_process_in_poor_surroundings_ends_with_a_sentence(tmp_path, script, code, says):
    lay_out(tmp_path)
    environment = {**ENVIRONMENT, "XBENCH": f"{sys.executable} -P -m xbench"}
    done = start("bash", "-c", script, folder=tmp_path, env=environment)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.process
def test_a_signal_during_the_last_plot_keeps_what_was_measured(tmp_path):
    place = tmp_path / "run" / "plots" / "cost.png"  # of macs alone there is one plot, and its PNG comes last
    command = [*COMPARE, "--out", "run"]
    done = start(
        sys.executable, "-P", "-c", AT, str(place), str(int(signal.SIGTERM)), "xbench", *command, folder=tmp_path
    )
    assert done.returncode == 143, done.stderr
    assert "Interrupted. What was finished is kept." in done.stderr
    assert "Traceback" not in done.stderr
    assert "18.7 M" in done.stdout  # and shown
    left = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*")}
    assert left == {"records.jsonl", "plots", "plots/cost.svg"}
    again = start(sys.executable, "-P", "-m", "xbench", *command, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert place.exists()
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.process
def test_runs_started_at_once_into_one_folder_measure_each_cell_once(tmp_path):
    command = [sys.executable, "-P", "-m", "xbench", *COMPARE, "--json", "--out", "run"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **streams) for _ in range(3)]
    said = [run.communicate(timeout=180) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    figures = [[json.loads(line) for line in shown.splitlines() if json.loads(line)["case"]] for shown, _ in said]
    assert len(figures[0]) == 1
    assert figures[0] == figures[1] == figures[2]  # of one run; the others waited, and took it over
    assert sum(bool(record.case) for record in Ledger(tmp_path / "run" / "records.jsonl").read()) == 1


@pytest.mark.process
def test_a_training_ends_by_any_signal_and_the_same_command_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    train = ["train", "--attn", "identity", "--size", "xxs", "--res", "32"]
    train += ["--epochs", "6", "--threads", "1", "--recipe", "batch=256", "--out"]
    command = [sys.executable, "-P", "-m", "xbench", *train, "run"]
    epochs = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, None):
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if number is not None and len(lines) == 1:
                    process.send_signal(number)
        said = "".join(lines)
        # A signal that comes while a line is being written may have it written twice.
        epochs += sorted({int(number) for number in re.findall(r"^epoch (\d+):", said, re.MULTILINE)})
        kills = number == signal.SIGKILL
        assert process.returncode == (-number if kills else 128 + number if number else 0), said
        assert ("The same command goes on from the last whole epoch." in said) == (number is not None and not kills)
        assert "Traceback" not in said
    assert epochs == [1, 2, 3, 4, 5, 6], said  # none is trained again
    monkeypatch.setattr("xbench.processes.child.keep_heap", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert run_here([*train, "whole"], monkeypatch)[0] == 0
    assert digest(read_weights(tmp_path / "run")) == digest(read_weights(tmp_path / "whole"))
    left = {"README.md", "config.json", "tensorboard", "weights.safetensors"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == left


# What root may do beside the permissions of files is taken from it.
AS_ANYONE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
TRAIN = ["train", "--attn", "identity", "--size", "xxs", "--res", "32", "--epochs", "1", "--threads", "1"]


@pytest.fixture(scope="module")
def anyone() -> list[str]:
    """What a command starts with so that permissions hold for it, whoever runs the tests."""
    if os.geteuid():
        return []
    try:
        able = subprocess.run([*AS_ANYONE, "test", "-w", "/etc/shadow"], capture_output=True).returncode in (0, 1)
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("no setpriv, and root may write everywhere")
    return AS_ANYONE


WHERE_NOTHING_MAY_BE_WRITTEN = [
    ("locked", COMPARE, "cannot write results to results/runs/"),
    ("locked", [*COMPARE, "--out", "new"], "cannot write new/report.md: the folder "),
    ("locked", [*COMPARE, "--out", "r"], "cannot write r/report.md: the folder "),
    ("locked", TRAIN, "cannot train into results/runs/"),
    ("open", [*COMPARE, "--out", "../locked/r"], "cannot write ../locked/r/report.md: the folder "),
    ("open", [*COMPARE, "--out", "ledger"], "cannot write results to ledger: "),
    ("open", [*TRAIN, "--out", "../locked/new"], "cannot train into ../locked/new: Permission denied"),
    ("open", [*COMPARE, "--save", "../locked/s.toml"], "cannot write ../locked/s.toml: the folder "),
    ("open", ["report", "../locked/r", "-o", "../locked/r.html"], "cannot write ../locked/r.html: the folder "),
    ("open", ["export", "../locked/r", "--format", "bmf", "-o", "../locked/b"], "cannot write ../locked/b"),
    ("locked", ["show", "r"], ""),
    ("open", ["report", "../locked/r", "-o", "r.html"], ""),
]
# Runs the command lines of standard input one after the other, and tells how each ended and what then lay there.
EACH = """
import json, os, sys
from pathlib import Path
import pytest
from here import run_here
for place, command, _ in json.load(sys.stdin):
    os.chdir(place)
    code, _, errors = run_here(command, pytest.MonkeyPatch())
    os.chdir("..")
    print(json.dumps([code, errors, sorted(path.name for path in Path("locked").rglob("*"))]))
"""


@pytest.mark.process
def test_where_nothing_may_be_written_a_sentence_says_so_and_reading_goes_on(tmp_path, anyone):
    folders = {name: tmp_path / name for name in ("locked", "open")}
    for folder in folders.values():
        folder.mkdir()
    Ledger(folders["locked"] / "r" / "records.jsonl").append(records("r"))
    Ledger(folders["open"] / "ledger" / "records.jsonl").append(records("r"))
    (folders["open"] / "ledger" / "records.jsonl").chmod(0o444)
    (folders["locked"] / "r").chmod(0o555)
    folders["locked"].chmod(0o555)
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)])}
    asked = json.dumps(WHERE_NOTHING_MAY_BE_WRITTEN)
    try:
        done = start(*anyone, sys.executable, "-P", "-c", EACH, folder=tmp_path, env=environment, input=asked)
    finally:  # pytest removes the folder
        folders["locked"].chmod(0o755)
        (folders["locked"] / "r").chmod(0o755)
    assert done.returncode == 0, done.stderr
    ends = map(json.loads, done.stdout.splitlines())
    for (_, command, says), (code, errors, left) in zip(WHERE_NOTHING_MAY_BE_WRITTEN, ends, strict=True):
        assert code == (2 if says else 0), (command, errors)
        assert says in errors, command
        assert "Traceback" not in errors
        assert left == ["r", "records.jsonl"], command
