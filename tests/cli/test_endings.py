"""How a command ends that is not left to end by itself: whole processes, their exit codes, what they leave."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_folder import lay_out
from places import ROOT

pytestmark = pytest.mark.process

# Sends this process a signal when it comes to import a module: at a moment, and not after a time.
AT_IMPORT = """
import os, signal, sys
where, number, *sys.argv = sys.argv[1:]
class Hook:
    def find_spec(self, name, *_):
        if name == where: os.kill(os.getpid(), int(number))
sys.meta_path.insert(0, Hook())
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
    done = start(sys.executable, "-P", "-c", AT_IMPORT, where, str(int(number)), "xbench", *verb, folder=tmp_path)
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
