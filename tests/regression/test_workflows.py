"""The workflows are valid, give away no more rights than they need, and their own steps run here too."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from own_attention import MINE
from places import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
COMMENT = ROOT / ".github" / "actions" / "comment" / "comment.py"


def load(path):
    return yaml.safe_load(path.read_text())


def steps(path):
    found = load(path)
    return found["runs"]["steps"] if "runs" in found else [s for job in found["jobs"].values() for s in job["steps"]]


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not installed; the workflow ci runs it")
def test_actionlint_finds_nothing():
    done = subprocess.run(["actionlint", "-no-color", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_text_of_a_stranger_reaches_a_shell_and_actions_are_pinned(path):
    for step in steps(path):
        assert "${{" not in step.get("run", ""), "expressions go through the environment, where they are data"
        if "actions/" in step.get("uses", "") and not step["uses"].startswith("./"):
            assert re.fullmatch(r"[0-9a-f]{40}", step["uses"].partition("@")[2]), "by hash: a tag can be moved"
            assert re.search(rf"{re.escape(step['uses'])} # v\d+\.\d+\.\d+\n", path.read_text()), "and named"


def test_the_workflow_that_may_write_runs_nothing_of_a_pull_request():
    comment = load(ROOT / ".github" / "workflows" / "comment.yml")
    assert comment["permissions"] == {}
    (job,) = comment["jobs"].values()
    assert job["permissions"] == {"actions": "read", "contents": "read", "pull-requests": "write"}
    (checkout,) = [step for step in job["steps"] if step["uses"].startswith("actions/checkout")]
    assert set(checkout["with"]) == {"persist-credentials"}, "without a ref this is the default branch"
    assert not any("run" in step for step in job["steps"])
    assert load(ROOT / ".github" / "workflows" / "ci.yml")["permissions"] == {"contents": "read"}


@pytest.fixture
def runner(tmp_path):
    """Runs the step in a user's repository, with a pull request that adds a parameter, as a runner has it."""
    work = tmp_path / "work"
    (work / "studies").mkdir(parents=True)
    study = 'attn = ["./mine.py:Mine"]\nlevel = ["op"]\ntokens = [16]\nsize = "xxs"\nmetrics = ["params", "macs"]\n'
    (work / "studies" / "gate.toml").write_text(study)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    for text in (
        MINE,
        MINE.replace("super().__init__()", "super().__init__()\n        self.a = nn.LayerNorm(1)"),
    ):
        (work / "mine.py").write_text(text)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
            subprocess.run([*git, *command], cwd=work, check=True)
    program = tmp_path / "bin" / "xbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m xbench "$@"\n')
    program.chmod(0o755)

    def run(**inputs):
        (step,) = [one for one in steps(ROOT / ".github/actions/check/action.yml") if one["name"] == "Check"]
        defaults = {name: given["default"] for name, given in load(ACTIONS[0])["inputs"].items()}
        given = {name.upper(): value for name, value in {**defaults, **inputs}.items()}
        files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **path, **files, "FOUND": str(tmp_path / "found")}
        environment |= {name: given[name] for name in step["env"] if name in given}
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(shell, cwd=work, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.mark.process
def test_the_check_action_fails_a_pull_request_and_says_why(runner, tmp_path):
    assert ACTIONS[0].parent.name == "check"
    done = runner()
    assert done.returncode == 1, done.stderr
    assert "parameters changed" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"found={tmp_path / 'found'}\n"
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"check.md", "check.xml", "check.json", "records"}
    body = comment_module().comment(json.loads((tmp_path / "found" / "check.json").read_text()), RUN)
    assert "`./mine.py:Mine`" in body
    assert "### xbench check: FAIL" in body
    assert runner(intended="params macs").returncode == 0
    assert runner(against="HEAD~7").returncode == 2


RUN = {
    "id": 7,
    "html_url": "https://github.com/o/r/actions/runs/7",
    "head_sha": "a" * 40,
    "head_branch": "b&c",
    "head_repository": {"owner": {"login": "stranger"}},
    "conclusion": "failure",
}


def comment_module():
    spec = importlib.util.spec_from_file_location("comment", COMMENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EVIL = "`|\n<img src=x> @everyone [x](http://evil) \u202e" + "x" * 999


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {"findings": "x"},
        {"findings": [1, None]},
        {
            "findings": [
                {"verdict": "FAIL", "arm": EVIL, "where": 7, "metric": [], "now": {"value": EVIL}, "reason": EVIL}
            ]
        },
        {"against": EVIL, "findings": [{"verdict": EVIL, "before": {"value": float("inf")}}]},
        {"findings": [{"verdict": "FAIL", "reason": EVIL}] * 5000},
    ],
)
def test_a_comment_made_of_anything_is_short_and_all_of_it_is_code(found):
    body = comment_module().comment(found, RUN)
    assert len(body) < 65536, "what a comment may hold"
    outside = "".join(body.split("`")[::2])
    for live in ("@", "<img", "evil", "\u202e"):
        assert live not in outside
        assert live != "\u202e" or live not in body


@pytest.mark.process
@pytest.mark.parametrize("there", [False, True])
def test_the_comment_goes_to_the_pull_request_of_the_commit_and_replaces_its_last(tmp_path, there):
    asked = []
    comments = [{"id": 1, "user": {"login": "someone"}, "body": "<!-- xbench check --> mine"}]
    comments += [{"id": 2, "user": {"login": "github-actions[bot]"}, "body": "<!-- xbench check --> old"}] * there
    pulls = [{"number": 5, "head": {"sha": "a" * 40}}, {"number": 6, "head": {"sha": "b" * 40}}]

    class GitHub(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            asked.append((self.command, self.path, self.rfile.read(length).decode()))
            found = pulls if "/pulls" in self.path else comments if self.path.endswith("page=1") else []
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found if self.command == "GET" else {}).encode())

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), GitHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    (tmp_path / "check.json").symlink_to("/etc/passwd")
    environment = {"GITHUB_EVENT_PATH": str(tmp_path / "event.json"), "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t"}
    environment["GITHUB_API_URL"] = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, "-I", COMMENT, tmp_path / "check.json"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=60)
    server.shutdown()
    assert asked[0][1] == "/repos/o/r/pulls?state=open&head=stranger%3Ab%26c"
    method, path, body = asked[-1]
    expected = ("PATCH", "/repos/o/r/issues/comments/2") if there else ("POST", "/repos/o/r/issues/5/comments")
    assert (method, path) == expected
    assert "left no findings that can be read" in json.loads(body)["body"]
    assert sum(method != "GET" for method, _, _ in asked) == 1, "the other pull request is of another commit"
