"""Versions of what can change a figure. The standard library alone is imported: others run this file, too."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "timm", "fvcore", "ptflops", "numpy", "triton")
OF_ENGINES = ("onnx", "onnxscript", "onnxruntime", "openvino")  # which change figures of what they run alone


def library_versions() -> dict[str, str]:
    """Of Python and of the libraries that can change a figure, as far as they are installed."""
    found = {"python": platform.python_version()}
    return found | _installed(LIBRARIES)


def engine_versions() -> dict[str, str]:
    """Of what exports a model and runs it without torch, as far as it is installed."""
    return _installed(OF_ENGINES)


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
