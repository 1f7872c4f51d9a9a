"""Writes the findings of a check into a comment of the pull request that they are about. Standard library only.

The findings were made by a run of the pull request's own code, so they may say anything. Which pull request it is, is
taken from the event; of the findings only names, numbers and verdicts are read, and every text is shown as code, in
which GitHub makes no links, no mentions and no HTML.
"""

import json
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- xbench check -->"
AUTHOR = "github-actions[bot]"
LARGEST = 2**20  # bytes of findings
ROWS = 50
VERDICTS = ("FAIL", "INCONCLUSIVE", "PASS")
HEADS = ("verdict", "arm", "where", "metric", "before", "now", "times as long", "why")


def main() -> None:
    run = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))["workflow_run"]
    repository = os.environ["GITHUB_REPOSITORY"]
    body = comment(read_findings(Path(sys.argv[1])), run)
    for number in pull_requests(repository, run):
        write_comment(repository, number, body)


def read_findings(path: Path) -> Any:
    """None where there are none, or nothing that can be read."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            text = file.read(LARGEST + 1)
        return json.loads(text) if len(text) <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None


def comment(findings: Any, run: dict[str, Any]) -> str:
    """Markdown. ``run`` is the event's, from GitHub itself."""
    where = f"[run {run['id']}]({run['html_url']}) of {run['head_sha'][:12]}"
    rows = [finding for finding in field(findings, "findings", list) if isinstance(finding, dict)]
    if not rows:
        ended = f"The {where} left no findings that can be read; it ended in {run['conclusion']}."
        return f"{MARKER}\n### xbench check\n\n{ended}\n"
    verdicts = [field(row, "verdict", str) for row in rows]
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    worst = next((verdict for verdict in VERDICTS if counts[verdict]), "INCONCLUSIVE")
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    against = literal(field(findings, "against", str))
    lines = [MARKER, f"### xbench check: {worst}", "", f"{said}, against {against}, by the {where}.", ""]
    shown = [row for verdict in VERDICTS[:2] for row in rows if field(row, "verdict", str) == verdict]
    if shown:
        lines += ["| " + " | ".join(HEADS) + " |", "| " + " | ".join(["---"] * len(HEADS)) + " |"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in shown[:ROWS]]
    if len(shown) > ROWS:
        lines += ["", f"… and {len(shown) - ROWS} more in the artifact."]
    return "\n".join(lines) + "\n"


def cells(row: dict[str, Any]) -> list[str]:
    texts = [literal(field(row, key, str)) for key in ("arm", "where", "metric")]
    numbers = [number(field(row, key, dict).get("value")) for key in ("before", "now", "times")]
    return [field(row, "verdict", str), *texts, *numbers, literal(field(row, "reason", str))]


def field(values: Any, key: str, kind: type) -> Any:
    """The value where it is of the kind that it should be, else an empty one."""
    found = values.get(key) if isinstance(values, dict) else None
    return found if isinstance(found, kind) else kind()


def literal(text: str) -> str:
    """As code on one line; what could end the code or the cell of a table is replaced."""
    plain = "".join(c if c.isprintable() and c not in "`|" else "·" for c in text[:200]).strip()
    return f"`{plain}`" if plain else ""


def number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, int | float) and abs(value) < 1e30 else ""


def pull_requests(repository: str, run: dict[str, Any]) -> list[int]:
    """The open ones whose newest commit was checked. The event names none where the branch is of a fork."""
    head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
    found = call("GET", f"/repos/{repository}/pulls?state=open&head={urllib.parse.quote(head)}")
    return [pull["number"] for pull in found if pull["head"]["sha"] == run["head_sha"]]


def write_comment(repository: str, pull: int, body: str) -> None:
    """In place of the last one, so that there is one."""
    page, found = 1, call("GET", f"/repos/{repository}/issues/{pull}/comments?per_page=100&page=1")
    while found:
        for one in found:
            if one["user"]["login"] == AUTHOR and one["body"].startswith(MARKER):
                call("PATCH", f"/repos/{repository}/issues/comments/{one['id']}", {"body": body})
                return
        page += 1
        found = call("GET", f"/repos/{repository}/issues/{pull}/comments?per_page=100&page={page}")
    call("POST", f"/repos/{repository}/issues/{pull}/comments", {"body": body})


def call(method: str, path: str, data: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        os.environ["GITHUB_API_URL"] + path,
        method=method,
        data=json.dumps(data).encode() if data else None,
        headers={"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
