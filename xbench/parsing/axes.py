"""Values of a study's axes as a user writes them: sizes in pixels, numbers of tokens, threads, names from a list."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import psutil

from xbench.errors import UserError, unknown_name

LEVELS = ("op", "layer", "block", "model")
OF_TOKENS = ("op", "layer")  # levels that see tokens, and no image
DIRECTIONS = ("inference", "training")
ENGINES = ("onnxruntime", "onnxruntime_int8", "openvino")  # run by another library than torch
MODES_IN_WORDS = {
    "eager": "operation by operation, as it is written",
    "folded": "batch norms moved into the weights of convolutions; inference",
    "channels_last": "the channels of a pixel side by side in memory",
    "compile": "torch.compile, with code of its own for each shape",
    "cuda_graph": "kernels recorded once and started together; inference on a GPU",
    "onnxruntime": "exported to ONNX and run by ONNX Runtime; inference on the CPU",
    "onnxruntime_int8": "the same in int8, with the ranges of some inputs",
    "openvino": "exported to ONNX and run by OpenVINO; inference on the CPU",
}
MODES = tuple(MODES_IN_WORDS)
DTYPES = ("fp32", "bf16", "fp16")
DEVICES = ("cpu", "cuda")
TASKS = ("classify", "detect", "segment")
MIN_IMG_SIZE, MAX_IMG_SIZE = 32, 16384
MAX_TOKENS = 2**24
OWN, OWN_SIZE = "own", (0, 0)  # as a resolution: every arm at the size it is made for


def parse_img_size(value: str | int | tuple[int, int]) -> tuple[int, int]:
    """1024 or "1024" → (1024, 1024); "512x1024" → (512, 1024), height × width.

    Raises:
        UserError: not of that form, or a side outside 32 to 16384 pixels.
    """
    sides = value if isinstance(value, tuple | list) else re.split(r"[x×]", str(value))
    if not 1 <= len(sides) <= 2:
        raise UserError(f"resolution '{value}': write one side (1024) or height x width (512x1024).")
    checked = [whole("resolution", side, MIN_IMG_SIZE, MAX_IMG_SIZE) for side in sides]
    return checked[0], checked[-1]


def show_img_size(img_size: Sequence[int]) -> str:
    """(1024, 1024) → "1024"; (512, 1024) → "512x1024"; ``OWN_SIZE`` → "own"."""
    height, width = img_size
    if (height, width) == OWN_SIZE:
        return OWN
    return str(height) if height == width else f"{height}x{width}"


def in_label(mode: str) -> str:
    """What an arm's label has of its mode, behind the name: nothing for "eager"."""
    return {"eager": "", "compile": " compiled"}.get(mode, f" {mode}")


def grid_of(tokens: int) -> tuple[int, int]:
    """The most nearly square (rows, columns) with rows · columns = tokens: 4096 → (64, 64), 2048 → (32, 64)."""
    rows = next(n for n in range(math.isqrt(tokens), 0, -1) if tokens % n == 0)
    return rows, tokens // rows


def physical_cores() -> int:
    """Physical cores that this process may use."""
    return min(psutil.cpu_count(logical=False) or 1, usable_cpus())


def usable_cpus() -> int:
    """Logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole(what: str, value: Any, low: int, high: int) -> int:
    """The whole number that was written.

    Raises:
        UserError: no whole number, or one outside ``low`` to ``high``.
    """
    try:
        number = int(str(value))
    except ValueError:
        hint = " Separate several values by spaces." if "," in str(value) else ""
        raise UserError(f"{what} must be a whole number from {low} to {high}, not '{value}'.{hint}") from None
    if not low <= number <= high:
        raise UserError(f"{what} must be from {low} to {high}, not {str(value).strip()}.")
    return number


def thread_count(asked: Any) -> int:
    """As many threads as were asked for; the physical cores where nothing was.

    Raises:
        UserError: see ``whole``; more than there are processors.
    """
    return physical_cores() if asked is None else whole("threads", asked, 1, usable_cpus())


def one_of(what: str, name: str, allowed: Iterable[str]) -> None:
    """Refuses a name that is not allowed, with the closest that is.

    Raises:
        UserError: unknown name.
    """
    if name not in allowed:
        raise unknown_name(what, name, allowed)


def listed(values: Any) -> Any:
    """A lone value stands for a list of one."""
    return [values] if isinstance(values, str | int) else values


def unique(values: Iterable) -> tuple:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(values))
