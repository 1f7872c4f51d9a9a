"""Whole checks of a user's own repository, at their real exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree

import pytest
from here import run_here
from own_attention import MINE
from places import ROOT

from xbench.records.ledger import read_records
from xbench.regression.against import check_against
from xbench.regression.session import Session
from xbench.runner.cache_key import forget_sources
from xbench.runner.launch import QUICK_PACE
from xbench.runner.progress import Silent
from xbench.runner.runner import Runner
from xbench.study.study import Study

pytestmark = pytest.mark.process

STUDY = 'attn = ["./mine.py:Mine"]\nlevel = ["op"]\ntokens = [16]\nsize = "xxs"\nthreads = [1]\n'
EXACT = STUDY + 'metrics = ["params", "macs", "peak_memory"]\n'
STATIC = STUDY + 'metrics = ["params", "macs"]\n'
TIMED = STUDY + 'metrics = ["throughput"]\n'


@pytest.fixture
def repository(tmp_path):
    """A user's own: one attention in a file, a study, and a commit."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "studies").mkdir()
    (folder / "studies" / "gate.toml").write_text(EXACT)
    (folder / ".gitignore").write_text("results/\n__pycache__/\n")
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")


def xbench(folder, *arguments):
    command = [sys.executable, "-P", "-m", "xbench", *arguments, "--trust"]  # the study names a file of the user's
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_check_against_a_commit_finds_what_was_changed_since_and_what_vanished_from_the_study(repository):
    (repository / "studies" / "gate.toml").write_text(EXACT.replace('["./mine', '["mhsa", "./mine'))
    commit(repository)
    (repository / "studies" / "gate.toml").write_text(EXACT.replace(', "macs"', ""))
    changed = MINE.replace("return self.proj(x)", "held = x.new_empty(1)\n        return self.proj(x)")
    (repository / "mine.py").write_text(changed)
    done = xbench(repository, "check", "--against", "main", "--json-file", "found.json")
    assert done.returncode == 1, done.stderr
    found = json.loads((repository / "found.json").read_text())["findings"]
    verdicts = {(f["arm"], f["metric"]): (f["verdict"], "vanished" in f["reason"]) for f in found}
    vanished = [*(("mhsa", metric) for metric in ("params", "macs", "peak_memory")), ("./mine.py:Mine", "macs")]
    here = {"params": ("PASS", False), "peak_memory": ("FAIL", False)}
    both = {("./mine.py:Mine", metric): verdict for metric, verdict in here.items()}
    assert verdicts == both | dict.fromkeys(vanished, ("FAIL", True))
    assert git(repository, "worktree", "list").count("\n") == 1, "nothing is left behind"
    records = [json.loads(line) for line in next(repository.rglob("records.jsonl")).read_text().splitlines()]
    sides = {r["case"]["arm"]: r["commit"] for r in records}
    assert sides["./mine.py:Mine @ main"] == git(repository, "rev-parse", "main")[:12]


def test_times_are_taken_in_turns_with_a_control_and_again_where_they_are_suspected(repository, monkeypatch):
    (repository / "studies" / "gate.toml").write_text(TIMED)
    commit(repository)
    slow = "for _ in range(9):\n            self.proj(x)\n        return self.proj(x)"
    (repository / "mine.py").write_text(MINE.replace("return self.proj(x)", slow))
    monkeypatch.chdir(repository)
    monkeypatch.setattr(Study, "launches", (1,))
    monkeypatch.setattr("xbench.runner.launch.PACE", QUICK_PACE)
    # A short launch shows nothing by itself; what is done about a suspicion is to be seen here.
    monkeypatch.setattr("xbench.regression.slowdown.shown", set)
    monkeypatch.setattr("xbench.regression.against.void", lambda *_: "")
    monkeypatch.setattr(Runner, "_measure_exact", lambda *_: None)
    session = Session(repository / "run", lambda study: nullcontext(Silent()), effect=0.05)
    (finding,) = check_against(Path("studies/gate.toml"), "main", session).findings
    assert finding.times.launches == 1
    assert finding.verdict == "FAIL"
    assert min(finding.times.value, finding.again.value) > 1.5
    first, rerun = (read_records([repository / "run" / part / "records.jsonl"]) for part in ("", "rerun"))
    sides = {r.case["arm"] for r in first}
    assert sides == {"./mine.py:Mine @ main", "./mine.py:Mine @ main again", "./mine.py:Mine"}
    assert {r.case["arm"] for r in rerun} == sides
    assert not {r.run for r in first} & {r.run for r in rerun}


def until_checked_out(repository) -> subprocess.Popen:
    """A check that has the commit's worktree, and goes on."""
    command = [sys.executable, "-P", "-m", "xbench", "check", "--against", "main", "--trust"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(repository.parent)}
    before = set(repository.parent.glob("xbench-*/code/mine.py"))
    process = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not set(repository.parent.glob("xbench-*/code/mine.py")) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def end(process, number):
    """Sends the signal, whose exit code the check then has."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors


def test_an_ended_check_leaves_nothing_and_what_a_killed_one_left_the_next_one_removes(repository):
    git(repository, "worktree", "add", "--detach", "--quiet", str(repository.parent / "users"))
    end(until_checked_out(repository), signal.SIGINT)
    assert not list(repository.parent.glob("xbench-*"))
    assert not (repository / "results").exists()
    end(until_checked_out(repository), signal.SIGKILL)
    (left,) = repository.parent.glob("xbench-*")
    end(until_checked_out(repository), signal.SIGTERM)
    assert not left.exists()
    assert not list(repository.parent.glob("xbench-*"))
    assert git(repository, "worktree", "list").count("\n") == 2, "that of the user is left alone"
    assert (repository.parent / "users" / "mine.py").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "nowhere"], "no commit 'nowhere'"),
        (["--against", "--help"], "no commit '--help'"),
        ([], "either --against COMMIT or --baseline FOLDER"),
        (["--against", "main", "--baseline", "x"], "either --against COMMIT or --baseline FOLDER"),
        (["none.toml", "--against", "main"], "cannot read the study none.toml"),
        (["--baseline", "results/baselines/none"], "holds no baseline"),
        (["--against", "main", "--effect", "0"], "--effect is in percent"),
        (["--against", "main", "--intended", "mac"], "Did you mean 'macs'"),
        (["--against", "main", "--junit", "no/such/folder.xml"], "there is no folder no/such"),
        (["--against", "main", "--python-against", "/no/python"], "cannot run /no/python"),
    ],
)
def test_bad_input_is_a_message_and_leaves_nothing(repository, monkeypatch, arguments, message):
    monkeypatch.chdir(repository)
    code, _, errors = run_here(["check", *arguments, "--trust"], monkeypatch)
    assert code == 2, errors
    assert message in errors
    assert "Traceback" not in errors
    assert not git(repository, "status", "--porcelain")
    assert not (repository / "results").exists()


def test_a_baseline_is_made_shown_and_held_against(repository, monkeypatch, workers_here):
    monkeypatch.chdir(repository)

    def xbench(*arguments):
        """Its exit code, and what it printed."""
        forget_sources()  # files are edited between two commands
        code, out, _ = run_here([*arguments, "--trust"], monkeypatch)
        return code, out

    folder = "results/baselines/mine"
    (repository / "studies" / "gate.toml").write_text(STATIC)
    update = ["baseline", "update", folder, "--study", "studies/gate.toml"]
    assert xbench(*update)[0] == 2, "nobody was asked"
    assert not (repository / folder).exists()
    code, out = xbench(*update, "--yes")
    assert code == 0, out
    assert "Written to" in out
    assert xbench("check", "--baseline", folder)[0] == 0
    before = (repository / folder / "records.jsonl").read_text()
    assert xbench("baseline", "update", folder)[0] == 0, "nothing is different, so nobody has to be asked"
    assert (repository / folder / "records.jsonl").read_text() == before

    (repository / "mine.py").write_text(
        MINE.replace("nn.Linear(embed_dim, embed_dim)", "nn.Linear(embed_dim, embed_dim, False)")
    )
    code, out = xbench("check", "--baseline", folder)
    assert code == 1
    assert f"xbench baseline update {folder}" in out
    assert "parameters changed" in xbench("baseline", "update", folder, "--yes")[1]
    assert xbench("check", "--baseline", folder)[0] == 0

    study = repository / folder / "study.toml"
    study.write_text(study.read_text().replace('    "macs",\n', ""))
    assert "vanished" in xbench("check", "--baseline", folder)[1]


def test_nothing_measured_has_its_own_exit_code(repository):
    (repository / "mine.py").write_text(
        MINE.replace("super().__init__()", "super().__init__()\n        raise ValueError('planted')")
    )
    commit(repository)
    done = xbench(repository, "check", "--against", "HEAD", "--junit", "found.xml", "--json")
    assert done.returncode == 4, done.stdout + done.stderr
    assert {finding["verdict"] for finding in json.loads(done.stdout)["findings"]} == {"INCONCLUSIVE"}
    assert ElementTree.parse(repository / "found.xml").find("testsuite").get("errors") == "1"
