"""A Study is a question with axes; a Case is one point of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from pathlib import Path

from xbench.data.names import STOP
from xbench.metrics.definitions import METRICS, PROBES, PUBLISHED
from xbench.parsing.axes import ENGINES, OF_TOKENS
from xbench.probing.job import ProbeJob
from xbench.probing.recipe import ProbeRecipe
from xbench.processes.policy import TUNED
from xbench.study.case import Arm, Case
from xbench.study.conditions import Conditions
from xbench.training.job import Job
from xbench.training.recipe import Recipe
from xbench.training.starts import start_of

PLOTS = (
    "cost",
    "throughput",
    "latency",
    "device_time",
    "training",
    "memory",
    "speed",
    "scaling",
    "memory_scaling",
    "threads",
    "breakdown",
    "roofline",
    "max_batch",
    "accuracy",
    "learning",
    "ability",
    "ability_learning",
    "pareto",
)
LOOK_LAUNCHES, CLAIM_LAUNCHES, GATE_LAUNCHES = 3, 6, 10


@dataclass(frozen=True)
class Study:
    """A question, the axes it is asked over, and how hard to look.

    ``against`` is the label of the reference arm, ``task`` what the models are for. ``launches`` are the numbers of
    launches at which the run may stop: three make a look, six a claim. Accuracy is that of models trained on ``data``
    by the ``recipe``, from so many ``seeds``, each from the weights that a run left in ``start``, where one is named;
    images that cannot be read end it or are left out, as ``unreadable`` says. What an attention can do is that of
    models trained by ``probe`` on grids with these numbers of ``pairs``.
    """

    question: str
    arms: tuple[Arm, ...]
    against: str
    res: tuple[tuple[int, int], ...] = ()
    tokens: tuple[int, ...] = ()
    task: str = "classify"
    level: tuple[str, ...] = ("model",)
    direction: tuple[str, ...] = ("inference",)
    patch: tuple[int, ...] = (2,)
    size: str = "s"
    batch: tuple[int, ...] = (1,)
    dtype: tuple[str, ...] = ("fp32",)
    device: str = "cpu"
    threads: tuple[int, ...] = (1,)
    metrics: tuple[str, ...] = tuple(METRICS)
    plots: tuple[str, ...] = PLOTS
    quick: bool = False
    images: str | None = None
    data: str = "digits"
    recipe: Recipe = field(default_factory=Recipe)
    pairs: tuple[int, ...] = ()
    probe: ProbeRecipe = field(default_factory=ProbeRecipe)
    seeds: int = 3
    workers: int = 0
    unreadable: str = STOP
    start: str = ""
    name: str = "compare"

    @property
    def launches(self) -> tuple[int, ...]:
        """Numbers of launches at which the run looks at the intervals and may stop."""
        return (LOOK_LAUNCHES,) if self.quick else (LOOK_LAUNCHES, CLAIM_LAUNCHES, GATE_LAUNCHES)

    @property
    def timed(self) -> bool:
        """Whether any metric needs the interleaved launches."""
        return any(METRICS[name].how == "timed" for name in self.metrics)

    @property
    def executes(self) -> bool:
        """Whether any model has to run for its cost; a study of static figures alone stays on paper."""
        return any(METRICS[name].how in ("exact", "timed") for name in self.metrics)

    @property
    def trains(self) -> bool:
        """Whether accuracy is asked for, or what an attention can do."""
        return any(METRICS[name].how == "trained" for name in self.metrics)

    @property
    def trainings_at_once(self) -> int:
        """Models that are trained side by side."""
        return self.threads[0] if self.device == "cpu" else 1

    def job(self, case: Case, metric: str, seed: int) -> Job | ProbeJob:
        """The training behind a trained metric of the case. On a CPU each has one thread, several run side by side."""
        if metric in PROBES:
            assert case.arm.attn is not None
            what = (metric, case.arm.attn, case.size, case.level, self.pairs, self.probe)
            return ProbeJob(*what, case.tokens, case.img_size, case.patch_size, seed, case.device)
        assert case.img_size is not None
        return Job(
            data=self.data,
            img_size=case.img_size,
            recipe=self.recipe,
            attn=case.arm.attn,
            baseline=case.arm.baseline,
            size=case.size,
            patch_size=case.patch_size,
            seed=seed,
            device=case.device,
            workers=self.workers,
            unreadable=self.unreadable,
            task=self.task,
            start=self._start_of(case.arm, seed),
        )

    def _start_of(self, arm: Arm, seed: int) -> str:
        return str(start_of(Path(self.start), arm.attn, arm.baseline, self.size, seed)) if self.start else ""

    def cases(self) -> Iterator[Case]:
        """The product of the axes, arms innermost, the control last; without cases that have no figure to give."""
        for level, direction in product(self.level, self.direction):
            for img_size, tokens, patch_size in self._extents(level):
                for batch, dtype, threads in product(self.batch, self.dtype, self.threads):
                    for arm in [*self.arms, *self.controls]:
                        where = (level, direction, img_size, tokens, patch_size)
                        case = Case(arm, *where, self.size, batch, dtype, self.device, threads, self.task)
                        if self.metrics_of(case):
                            yield case

    def _extents(self, level: str) -> list[tuple[tuple[int, int] | None, int | None, int]]:
        """(image size, tokens, patch size); without an image there is one sequence, as with patches of one pixel."""
        if level in OF_TOKENS:
            return [(None, tokens, 1) for tokens in self.tokens]
        return [(img_size, None, patch_size) for img_size, patch_size in product(self.res, self.patch)]

    def groups(self) -> list[list[Case]]:
        """The cases in comparison groups: equal in everything but the arm."""
        return [list(group) for _, group in groupby(self.cases(), lambda case: case.conditions)]

    def at(self, conditions: Conditions) -> "Study":
        """The study of one of its comparison groups."""
        return replace(
            self,
            level=(conditions.level,),
            direction=(conditions.direction,),
            res=(conditions.img_size,) if conditions.img_size else (),
            tokens=(conditions.tokens,) if conditions.tokens else (),
            patch=(conditions.patch_size,),
            batch=(conditions.batch,),
            dtype=(conditions.dtype,),
            threads=(conditions.threads,),
        )

    def metrics_of(self, case: Case) -> tuple[str, ...]:
        """Those of the study's metrics that the case is to give."""
        return tuple(name for name in self.metrics if self._gives(case, name))

    def _gives(self, case: Case, name: str) -> bool:
        metric = METRICS[name]
        where = case.direction in metric.directions and case.level in metric.levels
        if not where or case.task not in metric.tasks:
            return False
        if name == "predicted_memory" and case.direction == "training" and case.dtype != "fp32":
            return False  # autocast does nothing on paper
        if metric.how == "trained":
            # Batch, threads, dtype and mode of inference are none of training's.
            first = (self.batch[0], self.dtype[0], self.threads[0])
            trained = (case.batch, case.dtype, case.threads) == first and self._is_trained(case.arm)
            return trained and (name not in PROBES or self._is_probed(case))
        if name == PUBLISHED:
            return case.arm.baseline is not None and not case.arm.control
        if name == "limits":
            return case.arm.label == self.against
        if name == "breakdown" and case.arm.mode != "eager":
            return False
        if name in ("peak_memory", "max_batch", "predicted_memory") and case.arm.mode in ("cuda_graph", *ENGINES):
            return False  # a replay allocates nothing, and torch does not see what another library does
        if name == "stock_latency" and (case.arm.mode, case.arm.policy, case.device) != ("eager", TUNED, "cpu"):
            return False
        return not case.arm.control or (metric.how == "timed" and metric.paired)

    def _is_probed(self, case: Case) -> bool:
        """What an attention can do is found at the first extent; others give cost alone."""
        first = self.tokens[:1] if case.level in OF_TOKENS else self.res[:1]
        return case.arm.attn is not None and (case.tokens or case.img_size) in first

    def _is_trained(self, arm: Arm) -> bool:
        """Whether its accuracy is found: once for all arms of one model, which differ in how that runs."""
        alike = [other for other in self.arms if (other.attn, other.baseline) == (arm.attn, arm.baseline)]
        return arm == next((other for other in alike if other.mode == "eager"), alike[0])

    @property
    def controls(self) -> list[Arm]:
        """The reference arm once more, where a run makes claims of speed."""
        paired = any(METRICS[name].how == "timed" and METRICS[name].paired for name in self.metrics)
        if self.quick or not paired or len(self.arms) == 1:
            return []
        reference = next(arm for arm in self.arms if arm.label == self.against)
        return [replace(reference, label=f"{self.against} again", control=True)]
