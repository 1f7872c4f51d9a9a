"""What can be measured, in which unit, and which direction is better. One file per kind of metric."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A measurable quantity.

    ``exact`` figures repeat to the last digit on one software stack and are compared by equality; the others are
    sampled and compared by interval. ``better`` is the direction of improvement. ``paired`` metrics are sampled in
    turns, so that sample i of two arms of a launch belongs to the same round.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    exact: bool
    label: str
    paired: bool = True


METRICS = {
    metric.name: metric
    for metric in (
        Metric("params", "count", "lower", exact=True, label="parameters"),
        Metric("macs", "MACs", "lower", exact=True, label="multiply–accumulates per image"),
        Metric("latency", "ms", "lower", exact=False, label="latency at batch 1"),
        Metric("throughput", "img/s", "higher", exact=False, label="throughput"),
        Metric("device_time", "ms", "lower", exact=False, label="device time of a batch, L2 cache cold", paired=False),
        Metric("peak_memory", "MiB", "lower", exact=True, label="peak memory"),
    )
}
