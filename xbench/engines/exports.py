"""Exports to ONNX: made by torch, compared with torch, and quantized by ONNX Runtime."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xbench.engines.sessions import INT8, ExportError, Run, start

CLOSE = 1e-3  # of the largest output; a right export is some 1e-6 off


def export(model: nn.Module, inputs: Tensor, path: Path) -> None:
    """The model for inputs of this shape, as torch exports it, optimized as it comes, in one file.

    Raises:
        ExportError: torch cannot; it says why.
    """
    half = path.with_suffix(".half")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
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
        off = float((found - expected).abs().max() / expected.abs().max())
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
    logging.disable(logging.WARNING)  # of every norm it says that its weights have one axis
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        quant_pre_process(path, ready, skip_symbolic_shape=True)  # shapes are fixed
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(ready, half, Inputs(given), per_channel=True, **types)
    logging.disable(logging.NOTSET)
    ready.unlink()
    os.replace(half, quantized)


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
        self._run, self._batch = start(mode.removesuffix(INT8), path, threads), len(calibration[0])
        self.off = compare(self._run, model, calibration)
        if mode.endswith(INT8):
            quantize(path, calibration, folder / "int8.onnx")
            self._run = start(mode, folder / "int8.onnx", threads)
            self.off = compare(self._run, model, calibration, close=None)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, …]
        missing = self._batch - len(x)
        filled = torch.cat((x, x[:1].expand(missing, *x.shape[1:]))) if missing else x
        return torch.from_numpy(self._run(filled.contiguous().numpy()))[: len(x)]
