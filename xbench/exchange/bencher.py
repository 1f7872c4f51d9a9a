"""Bencher Metric Format: JSON by benchmark and measure, with the ends of the interval.

Format: https://bencher.dev/docs/reference/bencher-metric-format. Bencher has two measures of its own, "latency" in
nanoseconds and "throughput" in operations per second; the names of all others carry their unit.
"""

import math
from collections.abc import Iterable
from typing import Any

from xbench.analysis.figures import FOREIGN_TIME, Figure, seconds
from xbench.errors import UserError

LONGEST_NAME = 1024
NANO = 1e9
PLAIN = {"MiB": "mib"}


def bencher_metrics(figures: Iterable[Figure]) -> dict[str, dict[str, dict[str, float]]]:
    """By the name of the case and the measure, value, lower_value and upper_value; these where an interval is known.

    Raises:
        UserError: two figures have the same name and measure, or a name is longer than Bencher takes.
    """
    found: dict[str, dict[str, Any]] = {}
    for figure in figures:
        if len(figure.name) > LONGEST_NAME:
            raise UserError(f"Bencher takes names of up to {LONGEST_NAME} letters, not '{figure.name[:60]}…'.")
        measure, factor = _measure(figure)
        measures = found.setdefault(figure.name, {})
        if measure in measures:
            raise UserError(f"two figures are called '{figure.name}', {measure}: export these runs one by one.")
        estimate = figure.estimate
        metric = {"value": estimate.value, "lower_value": estimate.low, "upper_value": estimate.high}
        measures[measure] = {end: value * factor for end, value in metric.items() if math.isfinite(value)}
    return found


def _measure(figure: Figure) -> tuple[str, float]:
    """The measure and what its unit is of the figure's."""
    if figure.metric == "throughput":
        return "throughput", 1.0
    name = figure.metric.replace("_", "-")
    one = seconds(figure.unit, 1.0)
    if one is not None:
        return "latency" if figure.metric in ("latency", FOREIGN_TIME) else f"{name}-ns", one * NANO
    # A lower bound has a measure of its own, so that no threshold takes it for the figure.
    bound = "-at-least" if figure.estimate.bound else ""
    return f"{name}-{PLAIN[figure.unit]}" if figure.unit in PLAIN else name + bound, 1.0
