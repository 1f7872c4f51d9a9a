"""What attentions can do, asked on the command line: trained in processes of their own, kept, and not found twice."""

import json

import pytest
from here import run_here

ASKED = (
    *("compare", "--attn", "identity", "xfa", "--level", "layer", "--metrics", "recall", "params", "--pairs", "2", "4"),
    *("--tokens", "16", "--seeds", "2", "--recipe", "steps=4", "trial=2", "batch=4", "rates=0.001"),
)


def read(folder):
    return [json.loads(line) for line in (folder / "run" / "records.jsonl").read_text().splitlines()]


@pytest.mark.process
def test_recall_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_here([*ASKED, "--out", "run"], monkeypatch)
    assert code == 0, err
    assert "Recall, right answers · N = 16 · layers of XFormer-xxs alone" in out
    report = (tmp_path / "run" / "report.md").read_text()
    assert "still rising when training was stopped, so no verdict" in report
    assert "identity · recall · seed 0" in err
    records = read(tmp_path)
    found = {(r["case"]["arm"], r["launch"]): r["detail"] for r in records if r["metric"] == "recall"}
    assert set(found) == {(arm, seed) for arm in ("identity", "xfa") for seed in (0, 1)}
    assert all(detail["job"]["pairs"] == [2, 4] and detail["steps"] == 5 for detail in found.values())
    # Another seed is all that is still to be done.
    more = [*ASKED]
    more[more.index("--seeds") + 1] = "3"
    code, out, err = run_here([*more, "--out", "run"], monkeypatch)
    assert code == 0, err
    again = read(tmp_path)
    assert sorted(r["launch"] for r in again if r["metric"] == "recall") == [0, 0, 1, 1, 2, 2]
    code, out, _ = run_here([*more, "--out", "run", "--dry-run"], monkeypatch)
    assert code == 0
    assert "2 already measured" in out
