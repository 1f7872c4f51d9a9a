"""An ONNX file, run by an engine in this process."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xbench.errors import UserError


class ExportError(UserError):
    """A model cannot be exported, or what is exported does not compute what the model computes."""


Run = Callable[[np.ndarray], np.ndarray]
INT8 = "_int8"  # ends the name of a mode whose weights and activations are 8 bits wide
EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}  # of xbench, that bring an engine


def check_installed(mode: str) -> None:
    """Refuses a mode whose engine, or what exports for it, is missing.

    Raises:
        UserError: it names the package and the extra that brings it.
    """
    engine = mode.removesuffix(INT8)
    for package in ("onnx", "onnxscript", engine):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"mode '{mode}' needs {package}: pip install 'xbench[{EXTRAS[engine]}]'.")


def start(mode: str, path: Path, threads: int) -> Run:
    """What runs the file: an array [B, …] → an array.

    Raises:
        ExportError: the engine cannot run it; it says why.
    """
    engine = mode.removesuffix(INT8)
    try:
        return _onnxruntime(path, threads) if engine == "onnxruntime" else _openvino(path, threads)
    except Exception as error:
        said = [line for line in str(error).strip().splitlines() if not line.startswith("Exception from")]
        raise ExportError(f"{engine} cannot run the exported model: {''.join(said[:1])[:300]}") from error


def _onnxruntime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = (one.name for one in session.get_inputs())
    return lambda x: session.run(None, {given: x})[0]


def _openvino(path: Path, threads: int) -> Run:
    import openvino

    # A processor with bf16 would otherwise compute in it.
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.compile_model(path, "CPU", settings).create_infer_request()
    return lambda x: request.infer([x], share_inputs=True)[0]
