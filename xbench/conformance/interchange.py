"""That an attention can be saved, copied, compiled and exported without becoming another."""

import copy
import io
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

import torch

from xbench.conformance.check import Candidate, check, first_line, require, require_close, require_finite
from xbench.engines.exports import export as export_onnx
from xbench.engines.sessions import ExportError, check_installed, start
from xbench.errors import UserError
from xbench.models.alone import Alone


@check("state dict")
def state_dict(candidate: Candidate) -> None:
    """Saved and loaded into an instance with other weights, it gives the same."""
    attention, other = candidate.build(seed=0), candidate.build(seed=7)
    x = candidate.tokens()
    with torch.no_grad():
        expected = attention(x, candidate.grid)
        other(x, candidate.grid)
    file = io.BytesIO()
    torch.save(attention.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    with torch.no_grad():
        require_close(other(x, candidate.grid), expected, "after loading the saved weights")


@check("deep copy")
def deep_copy(candidate: Candidate) -> None:
    """A deep copy made after use gives the same, and is not touched when the original changes."""
    attention = candidate.build()
    x = candidate.tokens()
    expected = attention(x, candidate.grid).detach()
    clone = copy.deepcopy(attention)
    with torch.no_grad():
        require_close(clone(x, candidate.grid), expected, "the copy")
        for parameter in attention.parameters():
            parameter.add_(1.0)
        require_close(clone(x, candidate.grid), expected, "the copy, after the original changed")


@check("torch.compile")
def compile_fullgraph(candidate: Candidate) -> None:
    """``torch.compile(fullgraph=True)`` takes it as one graph that gives the same (back end aot_eager)."""
    attention = candidate.build().requires_grad_(False)
    x = candidate.tokens()
    expected = attention(x, candidate.grid)
    torch.compiler.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = torch.compile(attention, fullgraph=True, backend="aot_eager", dynamic=False)
            found = compiled(x, candidate.grid)
    except Exception as error:
        require(False, f"does not compile: {first_line(error)}")
    finally:
        torch.compiler.reset()
    require_close(found, expected, "compiled")


@check("torch.export")
def export(candidate: Candidate) -> None:
    """``torch.export`` takes it, for one grid, and what comes out gives the same."""
    attention = candidate.build().requires_grad_(False)
    x = candidate.tokens()
    expected = attention(x, candidate.grid)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(Alone(attention, candidate.grid), (x,))
    except Exception as error:
        require(False, f"cannot be exported: {first_line(error)}")
    require_close(program.module()(x), expected, "exported")


@check("ONNX")
def onnx(candidate: Candidate) -> None:
    """What torch exports for ONNX Runtime, optimized as it comes, gives the same on several inputs.

    There are as many sequences as heads, which a rewrite of the exporter has taken for one another.
    """
    try:
        check_installed("onnxruntime")
    except UserError as missing:
        raise SkipTest(str(missing)) from missing
    attention = candidate.build().requires_grad_(False)
    batch = candidate.widths["num_heads"]
    with TemporaryDirectory() as folder:
        path = Path(folder, "attention.onnx")
        try:
            export_onnx(Alone(attention, candidate.grid), candidate.tokens(batch=batch), path)
            run = start("onnxruntime", path, torch.get_num_threads())
        except ExportError as error:
            require(False, str(error))
    for seed in (1, 2, 3):
        x = candidate.tokens(batch=batch, seed=seed)
        found = torch.from_numpy(run(x.numpy()))
        require_finite(found, "exported")
        require_close(found, attention(x, candidate.grid), "exported")
