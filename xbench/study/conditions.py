"""The conditions of a figure, and how much there is to attend to under them."""

import math
from typing import Any

from xbench.parsing.axes import show_img_size

Conditions = dict[str, Any]


STAGE_3_STRIDE = 8  # pixels a side of one position of the map that the XF block of stage 3 sees


def extent(conditions: Conditions) -> float:
    """How much there is to attend to: tokens at level "op", else pixels (h · w), to which N is proportional.

    0 for what was imported from elsewhere, of which that is not known.
    """
    if conditions.get("level") is None:
        return 0.0
    if conditions["level"] == "op":
        return float(conditions["tokens"])
    height, width = conditions["img_size"]
    return float(height * width)


def tokens_of(conditions: Conditions) -> int:
    """N, the tokens of one sequence; at the levels "block" and "model" those of stage 3, the most in the model."""
    if conditions["level"] == "op":
        return int(conditions["tokens"])
    sides = (math.ceil(side / STAGE_3_STRIDE) for side in conditions["img_size"])
    rows, cols = (math.ceil(side / conditions["patch_size"]) for side in sides)
    return rows * cols


def show_extent(conditions: Conditions) -> str:
    """ "4,096 tokens" at level "op", else "1024" or "512x1024", in pixels; "" for what was imported from elsewhere."""
    if conditions.get("level") is None:
        return ""
    if conditions["level"] == "op":
        return f"{conditions['tokens']:,} tokens"
    return show_img_size(conditions["img_size"])


def axis_value(extent: float, axis: str) -> float:
    """An extent as it stands on the axis of a plot: tokens, or pixels a side of the square with as many pixels."""
    return extent if axis == "tokens" else math.sqrt(extent)
