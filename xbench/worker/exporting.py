"""Exports a model to ONNX and compares what an engine makes of it with torch: a process of its own, for ``engines``."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from xbench.engines.exports import compare, export, in_engine
from xbench.engines.sessions import ExportError, start
from xbench.study.case import Case
from xbench.worker.subject import Subject


def _export_and_compare(case: Case, photos: list[Path], path: Path) -> dict[str, Any]:
    """Exports where that is not done yet.

    Returns the ``file`` that the engine runs and its ``bytes``, how far its outputs are ``off`` relative to the largest
    one, also at another size, and the ``seconds`` that exporting took.
    """
    eager = replace(case, arm=replace(case.arm, mode="eager"))
    subject = Subject(eager, photos)
    took = path.with_suffix(".seconds")
    if not path.exists():
        began = time.monotonic()
        export(subject.model, subject.inputs, path)
        took.write_text(str(time.monotonic() - began))
    noise = torch.randn(subject.inputs.shape, generator=torch.Generator().manual_seed(1))
    inputs = [subject.inputs, noise, 3 * noise]
    file, _, off = in_engine(case.arm.mode, path, subject.model, inputs, inputs[:1], case.threads)
    for other in _at_another_size(eager):
        small, beside = Subject(other, photos), path.with_suffix(".small.onnx")
        export(small.model, small.inputs, beside)
        small_off = compare(start(case.arm.mode, beside, case.threads), small.model, [small.inputs])
        off = max(off, small_off)
    return {"file": str(file), "off": off, "bytes": file.stat().st_size, "seconds": float(took.read_text())}


def _at_another_size(case: Case) -> Iterator[Case]:
    """The case, smaller; none where it has a size of its own, as some timm models."""
    if case.tokens:
        yield replace(case, tokens=16 if case.tokens != 16 else 36, batch=1)
    elif case.arm.baseline is None:
        smaller = 32 * case.patch_size
        yield replace(case, img_size=(smaller, 2 * smaller), batch=1)


def main() -> None:
    """Reads what to export, writes what came of it, one line of JSON each."""
    asked = json.loads(sys.stdin.read())
    case = Case.from_flat(asked["case"])
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = _export_and_compare(case, [Path(photo) for photo in asked["photos"]], Path(asked["path"]))
        except ExportError as error:
            answer = {"error": str(error)}
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            answer = {"error": f"{type(error).__name__}: {first[:300]}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
