"""How sure a count is: exact, or at least so much, where an operation multiplies and no rule says how often.

The one place that decides it. A lower bound is an ``Estimate`` from the figure to infinity, so whatever compares
figures by their intervals treats it rightly; ``Estimate.bound`` tells how it is written.
"""

from typing import Any

from xbench.records.record import Record
from xbench.statistics.estimates import Estimate


def exact_figure(record: Record) -> Estimate:
    """The figure of an exact metric, which repeats to the last digit; from it to infinity where it is a lower bound."""
    return count(record.samples[0], record.detail)


def count(value: float, detail: dict[str, Any]) -> Estimate:
    """The same of a value, with what is known of how it was counted: the fields of ``metrics.counting.cost.Cost``."""
    return Estimate.at_least(value) if unknown_operations(detail) else Estimate.exact(value)


def unknown_operations(detail: dict[str, Any]) -> list[str]:
    """Operations that multiply, that no rule counts, and that a figure with this detail therefore leaves out."""
    return list(detail.get("at_least") or ())


def left_out(detail: dict[str, Any]) -> dict[str, float]:
    """By operation, products that are no matrix products and that are not counted, as a share of what is."""
    return dict(detail.get("left_out") or {})
