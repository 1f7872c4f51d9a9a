"""A planted history: the commit that made it worse is found, and nothing is guessed where a step cannot tell."""

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from own_attention import MINE

from xbench.errors import UserError
from xbench.regression import bisect as searching
from xbench.regression.bisect import bisect
from xbench.regression.session import Session
from xbench.regression.verdicts import CellVerdict
from xbench.runner.progress import Silent

pytestmark = pytest.mark.process

STUDY = 'attn = ["./mine.py:Mine"]\nlevel = ["op"]\ntokens = [16]\nsize = "xxs"\nthreads = [1]\n'
STUDY += 'metrics = ["params", "macs"]\n'
CULPRIT = 5  # of seven commits
WORSE = MINE.replace("nn.Linear(embed_dim, embed_dim)", "nn.Linear(embed_dim, embed_dim, False)")


def git(*arguments):
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def history(tmp_path, monkeypatch):
    """Seven commits, one of which changes the parameters; the others only a comment."""
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY)
    Path(".gitignore").write_text("__pycache__/\nrun/\n")
    git("init", "-q", "-b", "main")
    commits = []
    for number in range(1, 8):
        Path("mine.py").write_text((WORSE if number >= CULPRIT else MINE) + f"# {number}\n")
        git("add", "-A")
        git("commit", "-qm", f"change {number}")
        commits.append(git("rev-parse", "HEAD"))
    return commits


def session(tmp_path):
    return Session(tmp_path / "run", lambda study: nullcontext(Silent()), effect=0.05)


def test_the_first_commit_that_is_worse_is_found(history, tmp_path):
    found = bisect(Path("study.toml"), history[0], "HEAD", session(tmp_path))
    assert found.culprit.subject == f"change {CULPRIT}"
    assert (found.good, found.bad, found.left, found.reason) == (history[CULPRIT - 2], history[CULPRIT - 1], 0, "")
    assert len(found.steps) <= 4
    assert {finding.place.metric for finding in found.culprit.findings if finding.verdict == "FAIL"} == {"params"}
    assert git("worktree", "list").count("\n") == 0, "nothing is left behind"


def test_where_nothing_is_worse_there_is_nothing_to_find(history, tmp_path):
    found = bisect(Path("study.toml"), history[0], history[2], session(tmp_path))
    assert found.culprit is None
    assert found.reason.endswith("there is nothing to find.")


def test_a_step_that_cannot_tell_ends_the_search_without_a_guess(history, tmp_path, monkeypatch):
    whole = searching.compare_sides

    def unsure(study, before, now, *rest):
        found = whole(study, before, now, *rest)
        open_ones = [CellVerdict(one.place, "INCONCLUSIVE", "noise", one.before, one.now) for one in found]
        return found if now.commit == history[-1] else open_ones

    monkeypatch.setattr(searching, "compare_sides", unsure)
    found = bisect(Path("study.toml"), history[0], "HEAD", session(tmp_path))
    assert found.culprit is None
    assert "cannot be told from" in found.reason
    assert (found.good, found.bad, found.left) == (history[0], history[-1], 5)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("nowhere", "HEAD", "no commit 'nowhere'"),
        ("HEAD", "HEAD", "are one commit"),
        ("HEAD", "HEAD~2", "is no ancestor"),
    ],
)
def test_what_is_no_history_is_refused(history, tmp_path, good, bad, said):
    with pytest.raises(UserError, match=said):
        bisect(Path("study.toml"), good, bad, session(tmp_path))
