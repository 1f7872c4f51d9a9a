"""Exports a model to ONNX and compares what an engine makes of it with torch: a process of its own, for ``engines``."""

import contextlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xbench.study.case import Case
from xbench.worker.engines import ExportError, Run, start
from xbench.worker.subject import Subject

CLOSE = 1e-3  # of the largest output; a right export is some 1e-6 off


def export(model: nn.Module, inputs: Tensor, path: Path) -> None:
    """The model for inputs of this shape, as torch exports it, optimized as it comes, in one file."""
    half = path.with_suffix(".half")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (inputs,), half, dynamo=True, external_data=False, verbose=False)
    os.replace(half, path)


def compare(run: Run, model: nn.Module, inputs: list[Tensor]) -> float:
    """The largest difference of an export's outputs, relative to the largest output.

    Raises:
        ExportError: it is not that of rounding.
    """
    worst = 0.0
    for x in inputs:
        with torch.inference_mode():
            expected = model(x)
        found = torch.from_numpy(run(x.numpy()))
        if found.shape != expected.shape:
            raise ExportError(f"the exported model returns {tuple(found.shape)}, not {tuple(expected.shape)}")
        off = float((found - expected).abs().max() / expected.abs().max())
        if not off <= CLOSE:
            raise ExportError(f"the exported model is wrong: its outputs are {off:.1e} of the largest off torch's")
        worst = max(worst, off)
    return worst


def _export_and_compare(case: Case, photos: list[Path], path: Path) -> dict[str, Any]:
    """Exports where that is not done yet.

    Returns how far the engine's outputs are ``off`` relative to the largest, also at another size, the file's ``bytes``
    and the ``seconds`` that exporting took.
    """
    eager = replace(case, arm=replace(case.arm, mode="eager"))
    subject = Subject(eager, photos)
    took = path.with_suffix(".seconds")
    if not path.exists():
        began = time.monotonic()
        export(subject.model, subject.inputs, path)
        took.write_text(str(time.monotonic() - began))
    noise = torch.randn(subject.inputs.shape, generator=torch.Generator().manual_seed(1))
    run = start(case.arm.mode, path, case.threads)
    off = compare(run, subject.model, [subject.inputs, noise, 3 * noise])
    for other in _at_another_size(eager):
        small, beside = Subject(other, photos), path.with_suffix(".small.onnx")
        export(small.model, small.inputs, beside)
        off = max(off, compare(start(case.arm.mode, beside, case.threads), small.model, [small.inputs]))
    return {"off": off, "bytes": path.stat().st_size, "seconds": float(took.read_text())}


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
            answer = {"error": f"cannot be exported: {type(error).__name__}: {first[:300]}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
