"""A case's model in an engine (``xbench.engines``).

A process that measures never exports: that is another's work (``exporting``), done once for all launches of a run. It
runs the engine on several inputs, and on one the same model exported at another size, and refuses an export whose
outputs are not torch's, so that no figure of a wrong one exists. What int8 changes is told, not refused.
"""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from xbench.engines.sessions import ExportError, Run, check_installed, start
from xbench.errors import UserError
from xbench.study.case import Case

FIXED = ("attn", "baseline", "level", "img_size", "tokens", "patch_size", "size", "dtype")  # of a case, for an export


def check_engine(case: Case) -> None:
    """Refuses what no engine is run for here.

    Raises:
        UserError: training, a GPU or half precision is asked for, or a package is missing.
    """
    mode = case.arm.mode
    if (case.direction, case.device, case.dtype) != ("inference", "cpu", "fp32"):
        raise UserError(f"mode '{mode}' is for inference in fp32 on the CPU.")
    check_installed(mode)


class Engine:
    """A case's model, run by its engine: an export for every number of images, made when first run.

    Args:
        folder: where exports lie, which the processes of a run share.

    Attributes:
        exported: of the export that was started last, how far it is ``off``, its ``bytes`` and ``seconds``.
    """

    def __init__(self, case: Case, photos: list[Path], folder: Path):
        self._case, self._photos, self._folder = case, photos, folder
        self._started: dict[int, Run] = {}
        self.exported: dict[str, Any] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """[B, …] → what the model returns.

        Raises:
            ExportError: see there.
        """
        if len(x) not in self._started:
            path = self._exported(len(x))
            self._started[len(x)] = start(self._case.arm.mode, path, self._case.threads)
        return torch.from_numpy(self._started[len(x)](x.numpy()))

    def _exported(self, batch: int) -> Path:
        case = replace(self._case, batch=batch)
        fixed = {key: value for key, value in case.request().items() if key in FIXED} | {"batch": batch}
        name = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]
        path = self._folder / f"{name}.onnx"
        compared = path.with_suffix(f".{case.arm.mode}")
        with FileLock(path.with_suffix(".lock")):
            if not compared.exists():
                asked = {"case": case.request(), "photos": [str(photo) for photo in self._photos], "path": str(path)}
                done = subprocess.run(
                    [sys.executable, "-P", "-m", "xbench.worker.exporting"],
                    input=json.dumps(asked),
                    capture_output=True,
                    text=True,
                )
                answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {"error": _last(done)}
                compared.write_text(json.dumps(answer))
        self.exported = json.loads(compared.read_text())
        if error := self.exported.get("error"):
            raise ExportError(error)
        return Path(self.exported["file"])


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    lines = done.stderr.strip().splitlines()
    return f"exporting ended with exit code {done.returncode}: {lines[-1] if lines else 'nothing on standard error'}"
