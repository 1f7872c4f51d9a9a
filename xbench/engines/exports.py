"""Exports to ONNX: made by torch, compared with torch, and quantized by ONNX Runtime."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xbench.engines.sessions import INT8, ExportError, Run, start

CLOSE = 1e-3  # of the largest output; a right export is some 1e-6 off


def off_by(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value that was expected."""
    return float((found - expected).abs().max() / expected.abs().max())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what exporters print, warn of and log, such as that the weights of a norm have one axis."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def export(model: nn.Module, inputs: Tensor, path: Path) -> None:
    """The model for inputs of this shape, as torch exports it, optimized as it comes, in one file.

    Raises:
        ExportError: torch cannot; it says why.
    """
    half = path.with_suffix(".half")
    try:
        with _quietly():
            torch.onnx.export(model, (inputs,), half, dynamo=True, external_data=False, verbose=False)
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")[:300]
        raise ExportError(f"the model cannot be exported: {type(error).__name__}: {first}") from error
    os.replace(half, path)


def compare(run: Run, model: nn.Module, inputs: Sequence[Tensor], close: float | None = CLOSE) -> float:
    """The largest difference of an export's outputs, relative to the largest output.

    Raises:
        ExportError: it is above ``close``, which is that of rounding; or shapes differ.
    """
    worst = 0.0
    for x in inputs:
        with torch.inference_mode():
            expected = model(x)
        found = torch.from_numpy(run(x.numpy()))
        if found.shape != expected.shape:
            raise ExportError(f"the exported model returns {tuple(found.shape)}, not {tuple(expected.shape)}")
        off = off_by(found, expected)
        if close is not None and not off <= close:
            raise ExportError(f"the exported model is wrong: its outputs are {off:.1e} of the largest off torch's")
        worst = max(worst, off)
    return worst


def quantize(path: Path, inputs: Sequence[Tensor], quantized: Path) -> None:
    """The exported model in int8: weights by channel, activations by the range that they have on the inputs.

    By ONNX Runtime: static quantization with explicit scales (QDQ).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Inputs(CalibrationDataReader):
        def __init__(self, name: str):
            self._left = iter([{name: x.numpy()} for x in inputs])

        def get_next(self) -> object:
            return next(self._left, None)

    import onnx

    half, ready = quantized.with_suffix(".half"), quantized.with_suffix(".ready")
    (given,) = (one.name for one in onnx.load(path, load_external_data=False).graph.input)
    with _quietly():
        quant_pre_process(path, ready, skip_symbolic_shape=True)  # shapes are fixed
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(ready, half, Inputs(given), per_channel=True, **types)
    ready.unlink()
    os.replace(half, quantized)


def in_engine(
    mode: str, path: Path, model: nn.Module, inputs: Sequence[Tensor], calibration: Sequence[Tensor], threads: int
) -> tuple[Path, Run, float]:
    """The model's export in the engine of ``mode``: the file that runs, what runs it, and how far it is off torch.

    It is compared on ``inputs`` in fp32. In int8, of which ``calibration`` gives the ranges, how far it is off is told.

    Raises:
        ExportError: the engine cannot run it, or it is wrong.
    """
    run = start(mode.removesuffix(INT8), path, threads)
    off = compare(run, model, inputs)
    if mode.endswith(INT8):
        quantized = path.with_suffix(".int8.onnx")
        quantize(path, calibration, quantized)
        path, run = quantized, start(mode, quantized, threads)
        off = compare(run, model, calibration, close=None)
    return path, run, off


class Deployed(nn.Module):
    """A model in an engine, for batches of at most as many inputs as it was exported for; smaller ones are filled up.

    Attributes:
        off: how far its outputs are off torch's, relative to the largest.
    """

    def __init__(self, mode: str, model: nn.Module, calibration: Sequence[Tensor], threads: int, folder: Path):
        """``calibration``: inputs [B, …] of one shape, on which it is compared and, in int8, its ranges are found.

        Raises:
            ExportError: it cannot be exported, or the export is wrong.
        """
        super().__init__()
        path = folder / "model.onnx"
        export(model, calibration[0], path)
        self._batch = len(calibration[0])
        _, self._run, self.off = in_engine(mode, path, model, calibration, calibration, threads)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, …]
        missing = self._batch - len(x)
        filled = torch.cat((x, x[:1].expand(missing, *x.shape[1:]))) if missing else x
        return torch.from_numpy(self._run(filled.contiguous().numpy()))[: len(x)]
