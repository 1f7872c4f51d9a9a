"""What kill_trials.py kills: a small run of a verb in a repository of its own, and what is seen of it from outside."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--res", "32", "--size", "xxs", "--threads", "1"]
METRICS = ["--metrics", "macs", "throughput", "peak_memory"]
STUDY = 'attn = ["xfa"]\nres = [32]\nsize = "xxs"\nthreads = [1]\nmetrics = ["macs", "throughput", "peak_memory"]\n'
EPOCHS = 8
VERBS = {
    "compare": ["compare", "--attn", "xfa", "mhsa", *SMALL, "--quick", *METRICS],
    "sweep": ["sweep", "--attn", "xfa", "mhsa", "--level", "block", *SMALL, "--quick", *METRICS],
    "train": ["train", "--attn", "xfa", "--data", "digits", *SMALL, "--epochs", str(EPOCHS)],
    "check": ["check", "study.toml", "--against", "HEAD", "--budget", "0.1"],
}
MARK = "XBENCH_KILL_TRIAL"


@dataclass
class Run:
    """A verb in a folder that is a repository, with a folder for temporary files beside it."""

    verb: str
    place: Path
    repository: Path = field(init=False)
    temporary: Path = field(init=False)

    def __post_init__(self) -> None:
        self.repository, self.temporary = self.place / "mine", self.place / "tmp"
        self.temporary.mkdir()
        self.repository.mkdir()
        (self.repository / "study.toml").write_text(STUDY)
        (self.repository / ".gitignore").write_text("run/\n__pycache__/\n")
        if self.verb == "check":  # which measures what lies in the repository
            for package in ("xbench", "attention_variants"):
                shutil.copytree(ROOT / package, self.repository / package)
        self.shell("git", "init", "-q")
        self.shell("git", "add", "-A")
        self.shell("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")

    def shell(self, *command: str) -> str:
        return subprocess.run(command, cwd=self.repository, check=True, capture_output=True, text=True).stdout

    @property
    def folder(self) -> Path:
        return self.repository / "run"

    def start(self) -> subprocess.Popen:
        code = self.repository if self.verb == "check" else ROOT
        environment = {**os.environ, "PYTHONPATH": str(code), "TMPDIR": str(self.temporary)}
        environment |= {MARK: str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", "-m", "xbench", *VERBS[self.verb], "--out", "run"]
        with (self.place / "said.txt").open("w") as said:
            return subprocess.Popen(command, cwd=self.repository, env=environment, stdout=said, stderr=said)

    def lines(self) -> list[bytes]:
        """Whole lines of the ledgers."""
        texts = [path.read_bytes() for path in sorted(self.folder.rglob("records.jsonl"))]
        return [line for text in texts for line in text.splitlines(keepends=True) if line.endswith(b"\n")]

    def records(self) -> list[dict[str, Any]]:
        return [record for record in map(json.loads, self.lines()) if record["case"] and record["status"] == "ok"]

    def epochs(self) -> int:
        """Epochs that are on disk."""
        try:
            return len(torch.load(self.folder / "resume.pt", weights_only=True)["history"])
        except FileNotFoundError:
            return EPOCHS if (self.folder / "config.json").exists() else 0

    def timed(self) -> bool:
        """Whether it has come to what takes time."""
        if self.verb == "train":
            return any((self.folder / name).exists() for name in ("resume.pt", "config.json"))
        exact = {record["case"]["arm"] for record in self.records() if record["metric"] == "peak_memory"}
        return len(exact) >= 2

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.place) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "xbench.worker" in _command(process)]

    def temporaries(self) -> set[str]:
        return {path.name for path in self.temporary.iterdir()}

    def files(self) -> set[str]:
        """What lies in the folder of the run; TensorBoard's log has a file per attempt, by design."""
        names = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}
        return {name for name in names if not name.startswith("tensorboard")}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
