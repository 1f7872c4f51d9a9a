"""A Study is a question with axes; a Case is one point of it. What a user types is checked here."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product
from typing import Any

from xbench.attention import parse_attention
from xbench.axes import (
    MAX_IMG_SIZE,
    MAX_TOKENS,
    listed,
    one_of,
    parse_img_size,
    physical_cores,
    unique,
    usable_cpus,
    whole,
)
from xbench.data.photos import photo_paths
from xbench.errors import UserError, unknown_name
from xbench.metrics import METRICS
from xbench.models.baselines import check_baseline
from xbench.models.sizes import SIZES, check_input

DTYPES = ("fp32", "bf16", "fp16")
DEVICES = ("cpu", "cuda")
MODES = ("eager", "compile")
DIRECTIONS = ("inference", "training")
LEVELS = ("op", "block", "model")
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
    "breakdown",
    "roofline",
    "max_batch",
)
TOKENS = (64, 256, 1024, 4096, 16384, 65536)
LOOK_LAUNCHES, CLAIM_LAUNCHES, GATE_LAUNCHES = 3, 6, 10
NOT_BY_DEFAULT = ("predicted_memory", "max_batch")


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: an attention in the XFormer skeleton, or a whole timm model, run as ``mode`` says.

    ``label`` is its name in tables, unique in a study. A ``control`` is the reference arm once more under another name:
    the two are equal by construction, so what is seen between them is the error of the measurement.
    """

    label: str
    attn: str | None = None
    baseline: str | None = None
    mode: str = "eager"
    control: bool = False


@dataclass(frozen=True)
class Case:
    """One point of a study: one arm under one set of conditions.

    At the levels "model" and "block" the image is ``img_size``, (height, width) in pixels; the block is the XF block of
    stage 3, where the maps are largest. At level "op" the attention of that block stands alone, with one sequence of
    ``tokens`` tokens per image.
    """

    arm: Arm
    level: str
    direction: str
    img_size: tuple[int, int] | None
    tokens: int | None
    patch_size: int
    size: str
    batch: int
    dtype: str
    device: str
    threads: int

    @property
    def conditions(self) -> dict[str, Any]:
        """Everything but the arm. Cases with equal conditions form a comparison group."""
        return {key: value for key, value in asdict(self).items() if key != "arm"}

    def flat(self) -> dict[str, Any]:
        """The case as one level of plain values, as it stands in a record."""
        arm = asdict(self.arm)
        img_size = list(self.img_size) if self.img_size else None
        return {"arm": arm.pop("label"), **arm, **self.conditions, "img_size": img_size}

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> "Case":
        """The inverse of ``flat``."""
        rest = dict(values)
        arm = Arm(rest.pop("arm"), *(rest.pop(key) for key in ("attn", "baseline", "mode", "control")))
        img_size = rest.pop("img_size")
        return cls(arm=arm, img_size=tuple(img_size) if img_size else None, **rest)


@dataclass(frozen=True)
class Study:
    """A question, the axes it is asked over, and how hard to look.

    ``against`` is the label of the reference arm. ``launches`` are the numbers of launches at which the run may stop:
    three make a look, six a claim.
    """

    question: str
    arms: tuple[Arm, ...]
    against: str
    res: tuple[tuple[int, int], ...] = ()
    tokens: tuple[int, ...] = ()
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
        """Whether any model has to run; a study of static figures alone stays on paper."""
        return any(METRICS[name].how != "static" for name in self.metrics)

    def cases(self) -> Iterator[Case]:
        """The product of the axes, arms innermost, the control last; without cases that have no figure to give."""
        for level, direction in product(self.level, self.direction):
            for img_size, tokens, patch_size in self._extents(level):
                for batch, dtype, threads in product(self.batch, self.dtype, self.threads):
                    for arm in [*self.arms, *self.controls]:
                        where = (level, direction, img_size, tokens, patch_size)
                        case = Case(arm, *where, self.size, batch, dtype, self.device, threads)
                        if self.metrics_of(case):
                            yield case

    def _extents(self, level: str) -> list[tuple[tuple[int, int] | None, int | None, int]]:
        """(image size, tokens, patch size); an attention alone has one sequence, as with patches of one pixel."""
        if level == "op":
            return [(None, tokens, 1) for tokens in self.tokens]
        return [(img_size, None, patch_size) for img_size, patch_size in product(self.res, self.patch)]

    def groups(self) -> list[list[Case]]:
        """The cases in comparison groups: equal in everything but the arm."""
        return [list(group) for _, group in groupby(self.cases(), lambda case: case.conditions)]

    def metrics_of(self, case: Case) -> tuple[str, ...]:
        """Those of the study's metrics that the case is to give."""
        return tuple(name for name in self.metrics if self._gives(case, name))

    def _gives(self, case: Case, name: str) -> bool:
        metric = METRICS[name]
        if case.direction not in metric.directions or case.level not in metric.levels:
            return False
        if name == "predicted_memory" and case.direction == "training" and case.dtype != "fp32":
            return False  # autocast does nothing on paper
        if name == "limits":
            return case.arm.label == self.against
        if name == "breakdown" and case.arm.mode != "eager":
            return False
        return not case.arm.control or (metric.how == "timed" and metric.paired)

    @property
    def controls(self) -> list[Arm]:
        """The reference arm once more, where a run makes claims of speed."""
        paired = any(METRICS[name].how == "timed" and METRICS[name].paired for name in self.metrics)
        if self.quick or not paired or len(self.arms) == 1:
            return []
        reference = next(arm for arm in self.arms if arm.label == self.against)
        return [replace(reference, label=f"{self.against} again", control=True)]


def make_study(
    attn: Sequence[str] = (),
    res: Sequence[str | int | tuple[int, int]] = (),
    *,
    tokens: Sequence[str | int] = (),
    baseline: Sequence[str] = (),
    against: str | None = None,
    level: Sequence[str] = (),
    direction: Sequence[str] = (),
    mode: Sequence[str] = (),
    patch: Sequence[str | int] = (),
    size: str = "s",
    batch: Sequence[str | int] = (),
    dtype: Sequence[str] = (),
    device: str = "cpu",
    threads: Sequence[str | int] = (),
    metrics: Sequence[str] = (),
    plots: Sequence[str] = (),
    quick: bool = False,
    images: str | None = None,
    question: str = "If only the attention changes, what happens to cost, speed and memory?",
    name: str = "compare",
) -> Study:
    """Checks what the user asked for and makes the Study. What is left empty gets its default, and a lone value stands
    for a list of one.

    Raises:
        UserError: a name that does not exist, a number out of range, or nothing of it possible.
    """
    attn, baseline, dtype, metrics, plots = map(listed, (attn, baseline, dtype, metrics, plots))
    level, direction, mode = map(listed, (level, direction, mode))
    res, tokens, patch, batch, threads = map(listed, (res, tokens, patch, batch, threads))
    named: list[tuple[str, Sequence[str], Any]] = [
        ("dtype", dtype, DTYPES),
        ("metric", metrics, METRICS),
        ("plot", plots, PLOTS),
        ("level", level, LEVELS),
        ("direction", direction, DIRECTIONS),
        ("mode", mode, MODES),
        ("device", [device], DEVICES),
        ("size", [size], SIZES),
    ]
    for what, names, allowed in named:
        for chosen in names:
            one_of(what, chosen, allowed)
    arms = _arms(attn, baseline, unique(mode) or ("eager",))
    if not arms:
        raise UserError("nothing to compare: name at least one attention (--attn) or timm model (--baseline).")
    labels = [arm.label for arm in arms]
    if against is not None and against not in labels:
        raise unknown_name("arm to compare against", against, labels)
    if device == "cuda":
        _cuda_is_here()
    elif "device_time" in metrics:
        raise UserError("metric 'device_time' is taken by CUDA's clocks; it needs --device cuda.")
    photo_paths(images)
    levels, directions = unique(level) or ("model",), unique(direction) or ("inference",)
    study = Study(
        question=question,
        arms=arms,
        against=against or labels[0],
        res=unique(parse_img_size(value) for value in res),
        tokens=unique(whole("tokens", value, 1, MAX_TOKENS) for value in tokens) or (TOKENS if "op" in levels else ()),
        level=levels,
        direction=directions,
        patch=unique(whole("patch size", value, 1, MAX_IMG_SIZE) for value in patch) or (2,),
        size=size,
        batch=unique(whole("batch", value, 1, 65536) for value in batch) or ((8,) if device == "cuda" else (1,)),
        dtype=unique(dtype) or ("fp32",),
        device=device,
        threads=unique(whole("threads", value, 1, usable_cpus()) for value in threads) or (physical_cores(),),
        metrics=_metrics(metrics, device, levels, directions),
        plots=unique(plots) or PLOTS,
        quick=quick,
        images=images,
        name=name,
    )
    if study.tokens and "op" not in levels:
        raise UserError("a number of tokens is for one attention alone; it needs --level op.")
    if levels == ("op",) and (res or patch):
        raise UserError(
            "an attention alone has tokens, neither a resolution nor patches: --tokens, or another --level."
        )
    if levels != ("op",):
        if not study.res:
            raise UserError("no resolution: name at least one (--res 1024, or --res 512x1024 for height x width).")
        _something_is_possible(study)
    return study


def _metrics(asked: Sequence[str], device: str, levels: Sequence[str], directions: Sequence[str]) -> tuple[str, ...]:
    """What was asked for, or everything usual that has a meaning there."""
    if asked:
        for name in unique(asked):
            metric = METRICS[name]
            if not set(metric.directions) & set(directions):
                raise UserError(f"metric '{name}' is taken in {' and '.join(metric.directions)} only (--direction).")
            if not set(metric.levels) & set(levels):
                raise UserError(f"metric '{name}' is taken at level {' and '.join(metric.levels)} only (--level).")
        return unique(asked)
    usual = [metric for metric in METRICS.values() if set(metric.directions) & set(directions)]
    left_out = NOT_BY_DEFAULT if device == "cuda" else (*NOT_BY_DEFAULT, "device_time")
    return tuple(m.name for m in usual if m.name not in left_out and set(m.levels) & set(levels))


def _something_is_possible(study: Study) -> None:
    """Single points that are impossible become rows that say so; where all are, the question is a mistake."""
    refused = []
    points = [(level, *point) for level in study.level if level != "op" for point in product(study.res, study.patch)]
    for level, img_size, patch_size in points:
        try:
            check_input(img_size, patch_size, 8 if level == "block" else 32)
        except UserError as error:
            refused.append(error)
    if len(refused) == len(points) and any(arm.attn for arm in study.arms):
        raise refused[0]


def _cuda_is_here() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError("no CUDA device is available to torch here. Allowed: --device cpu.")


def _arms(attn: Sequence[str], baseline: Sequence[str], modes: Sequence[str]) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    for baseline_name in baseline:
        check_baseline(baseline_name)
    specs = [str(parse_attention(text)) for text in attn]
    for mode in modes:
        suffix = " compiled" if mode == "compile" else ""
        for spec in specs:
            arms.append(Arm(_free_label(spec + suffix, arms), attn=spec, mode=mode))
        for baseline_name in baseline:
            arms.append(Arm(_free_label(baseline_name + suffix, arms), baseline=baseline_name, mode=mode))
    return tuple(arms)


def _free_label(name: str, taken: Sequence[Arm]) -> str:
    labels = {arm.label for arm in taken}
    label, n = name, 2
    while label in labels:
        label, n = f"{name} #{n}", n + 1
    return label
