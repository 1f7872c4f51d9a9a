"""What can be measured, in which unit, and which direction is better. One file per kind of metric."""

from dataclasses import dataclass
from typing import Literal

from xbench.parsing.axes import TASKS

How = Literal["static", "exact", "timed", "trained"]
METHODS: tuple[How, ...] = ("static", "exact", "timed", "trained")

ALIASES = {"memory": "peak_memory", "speed": "throughput"}
PUBLISHED = "published_top1"  # of timm models, by others
ACCURACY = "accuracy"  # stands for the scores of the task

# The parts that a breakdown has; see breakdown.py for what belongs to each.
COMPONENTS = ("attention", "MLP", "convolutions", "norms", "unfold/fold", "other")
# What says how much memory a step needs, the measured first.
MEMORY = ("peak_memory", "predicted_memory")


@dataclass(frozen=True)
class Metric:
    """A measurable quantity.

    ``how`` it is found: "static" on paper, without a run; "exact" in one run, to the last digit the same each time;
    "timed" in launches; "trained" by training from several seeds. Exact and static figures are compared by equality,
    timed ones by the interval of their ratio, trained ones by that of their difference. ``better`` is the direction of
    improvement. ``paired`` metrics are sampled in turns, so that sample i of two arms of a launch belongs
    to the same round. ``directions``, ``levels`` and
    ``tasks`` say where the metric has a meaning.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    how: How
    label: str
    paired: bool = True
    directions: tuple[str, ...] = ("inference", "training")
    levels: tuple[str, ...] = ("op", "layer", "block", "model")
    tasks: tuple[str, ...] = TASKS

    @property
    def exact(self) -> bool:
        """Whether the figure repeats to the last digit on one software stack."""
        return self.how in ("static", "exact")


def _inference(name: str, unit: str, label: str, **rest: tuple[str, ...]) -> Metric:
    return Metric(name, unit, "lower", "timed", label, paired=False, directions=("inference",), **rest)


def _trained(name: str, label: str, task: str, levels: tuple[str, ...] = ("model",)) -> Metric:
    return Metric(name, "%", "higher", "trained", label, False, ("inference",), levels, (task,))


def _step(name: str, label: str) -> Metric:
    return Metric(name, "ms", "lower", "timed", label, directions=("training",))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("params", "count", "lower", "static", "parameters"),
        Metric("macs", "MACs", "lower", "static", "multiply–accumulates of a forward pass per image"),
        Metric(
            *(PUBLISHED, "%", "higher", "static", "published top-1 accuracy"),
            directions=("inference",),
            levels=("model",),
            tasks=("classify",),
        ),
        Metric("predicted_memory", "MiB", "lower", "static", "predicted peak memory"),
        Metric("latency", "ms", "lower", "timed", "latency at batch 1", directions=("inference",)),
        Metric("throughput", "img/s", "higher", "timed", "throughput"),
        _step("forward_time", "forward pass of a training step"),
        _step("backward_time", "backward pass of a training step"),
        _step("optimizer_time", "optimizer step"),
        _inference("device_time", "ms", "device time of a batch, L2 cache cold"),
        Metric("energy", "J", "lower", "timed", "energy of an image", paired=False),
        Metric("peak_memory", "MiB", "lower", "exact", "peak memory"),
        Metric("max_batch", "images", "higher", "exact", "largest batch that fits"),
        _inference("stock_latency", "ms", "latency at batch 1 in a plain script", levels=("model",)),
        _inference("breakdown", "ms", "time of a batch by component", levels=("block", "model")),
        _inference("limits", "MAC/s", "the machine's own limits"),
        _trained("top1", "top-1 accuracy", "classify"),
        _trained("ap", "average precision (COCO's)", "detect"),
        _trained("ap50", "average precision at an overlap of 0.5", "detect"),
        _trained("miou", "mean intersection over union", "segment"),
        _trained("recall", "recall", "classify", ("layer", "model")),
        _trained("two_hop", "two-hop recall", "classify", ("layer", "model")),
    )
}

# Trained metrics whose data are made up: what an attention can do, see ``probing``.
PROBES = ("recall", "two_hop")

# Trained metrics that score a task, found by one training.
TASK_SCORES = tuple(name for name, metric in METRICS.items() if metric.how == "trained" and name not in PROBES)
