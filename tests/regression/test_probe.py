"""What is asked of another commit's interpreter, also where that commit has another layout than this one."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT

CASE = """
class Case:
    @classmethod
    def from_flat(cls, values):
        self = cls()
        self.values = values
        return self
"""
BEFORE_REQUESTS = "    def flat(self):\n        return self.values\n"
SINCE = "    def request(self):\n        return self.values\n"
WORKER = "class Worker:\n    def block(self, batch): ...\n    def _own(self): ...\n"
LAYOUTS = {
    "flat, before cases had a request": {"worker.py": WORKER, "study.py": CASE + BEFORE_REQUESTS},
    "flat": {"worker.py": WORKER, "study.py": CASE + SINCE},
    "rooms": {
        "worker/requests.py": WORKER,
        "worker/__init__.py": "",
        "study/case.py": CASE + SINCE,
        "study/__init__.py": "",
    },
}


@pytest.mark.process
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_commit_is_understood_wherever_it_has_its_worker_and_its_case(tmp_path, layout):
    for name, text in {**LAYOUTS[layout], "__init__.py": ""}.items():
        file = tmp_path / "xbench" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    asked = json.dumps({"packages": ["xbench"], "case": {"batch": 1}})
    probe = ROOT / "xbench" / "regression" / "probe.py"
    there = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-P", probe, asked], env=there, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["origins"] == {"xbench": str(tmp_path / "xbench")}
    assert found["requests"] == {"block": ["batch"]}
    assert found["refused"] == ""
    assert found["versions"]["python"]
