"""A Study is a question with axes; a Case is one point of it. What a user types is checked here."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product
from typing import Any

import psutil

from xbench.attention import parse_attention
from xbench.data.photos import photo_paths
from xbench.errors import UserError, unknown_name
from xbench.metrics import METRICS
from xbench.models.baselines import check_baseline
from xbench.models.sizes import MIN_IMG_SIZE, SIZES, check_input

DTYPES = ("fp32", "bf16", "fp16")
DEVICES = ("cpu", "cuda")
PLOTS = ("cost", "throughput", "latency", "device_time", "memory")
MAX_IMG_SIZE = 16384
LOOK_LAUNCHES, CLAIM_LAUNCHES, GATE_LAUNCHES = 3, 6, 10
DEFAULT_METRICS = {
    "cpu": ("params", "macs", "latency", "throughput", "peak_memory"),
    "cuda": ("params", "macs", "latency", "throughput", "device_time", "peak_memory"),
}


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: an attention in the XFormer skeleton, or a whole timm model.

    ``label`` is its name in tables, unique in a study. A ``control`` is the reference arm once more under another name:
    the two are equal by construction, so what is seen between them is the error of the measurement.
    """

    label: str
    attn: str | None = None
    baseline: str | None = None
    control: bool = False


@dataclass(frozen=True)
class Case:
    """One point of a study: one arm under one set of conditions. ``img_size`` is (height, width) in pixels."""

    arm: Arm
    img_size: tuple[int, int]
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
        return {"arm": arm.pop("label"), **arm, **self.conditions, "img_size": list(self.img_size)}

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> "Case":
        """The inverse of ``flat``."""
        rest = dict(values)
        arm = Arm(rest.pop("arm"), rest.pop("attn"), rest.pop("baseline"), rest.pop("control"))
        return cls(arm=arm, **{**rest, "img_size": tuple(rest["img_size"])})


@dataclass(frozen=True)
class Study:
    """A question, the axes it is asked over, and how hard to look.

    ``against`` is the label of the reference arm. ``launches`` are the numbers of launches at which the run may stop:
    three make a look, six a claim.
    """

    question: str
    arms: tuple[Arm, ...]
    against: str
    res: tuple[tuple[int, int], ...]
    patch: tuple[int, ...] = (2,)
    size: str = "s"
    batch: tuple[int, ...] = (1,)
    dtype: tuple[str, ...] = ("fp32",)
    device: str = "cpu"
    threads: tuple[int, ...] = (1,)
    metrics: tuple[str, ...] = DEFAULT_METRICS["cpu"]
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
        return any(not METRICS[name].exact for name in self.metrics)

    def cases(self) -> Iterator[Case]:
        """The product of the axes, arms innermost, the control last."""
        for point in product(self.res, self.patch, self.batch, self.dtype, self.threads):
            img_size, patch_size, batch, dtype, threads = point
            for arm in [*self.arms, *self.controls]:
                yield Case(arm, img_size, patch_size, self.size, batch, dtype, self.device, threads)

    def groups(self) -> list[list[Case]]:
        """The cases in comparison groups: equal in everything but the arm."""
        return [list(group) for _, group in groupby(self.cases(), lambda case: case.conditions)]

    @property
    def controls(self) -> list[Arm]:
        """The reference arm once more, where a run makes claims of speed."""
        if self.quick or not self.timed or len(self.arms) == 1:
            return []
        reference = next(arm for arm in self.arms if arm.label == self.against)
        return [replace(reference, label=f"{self.against} again", control=True)]


def make_study(
    attn: Sequence[str],
    res: Sequence[str | int | tuple[int, int]],
    *,
    baseline: Sequence[str] = (),
    against: str | None = None,
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
        UserError: a name that does not exist, a number out of range, or a patch larger than a feature map.
    """
    attn, baseline, dtype, metrics, plots = map(_listed, (attn, baseline, dtype, metrics, plots))
    res, patch, batch, threads = map(_listed, (res, patch, batch, threads))
    arms = _arms(attn, baseline)
    if not arms:
        raise UserError("nothing to compare: name at least one attention (--attn) or timm model (--baseline).")
    labels = [arm.label for arm in arms]
    if against is not None and against not in labels:
        raise unknown_name("arm to compare against", against, labels)
    for precision in dtype:
        _one_of("dtype", precision, DTYPES)
    for metric in metrics:
        _one_of("metric", metric, METRICS)
    for plot in plots:
        _one_of("plot", plot, PLOTS)
    _one_of("device", device, DEVICES)
    _one_of("size", size, SIZES)
    if device == "cuda":
        _cuda_is_here()
    elif "device_time" in metrics:
        raise UserError("metric 'device_time' is taken by CUDA's clocks; it needs --device cuda.")
    photo_paths(images)
    study = Study(
        question=question,
        arms=arms,
        against=against or labels[0],
        res=_unique(parse_img_size(value) for value in res),
        patch=_unique(_whole("patch size", value, 1, MAX_IMG_SIZE) for value in patch) or (2,),
        size=size,
        batch=_unique(_whole("batch", value, 1, 65536) for value in batch) or ((8,) if device == "cuda" else (1,)),
        dtype=_unique(dtype) or ("fp32",),
        device=device,
        threads=_unique(_whole("threads", value, 1, _usable_cpus()) for value in threads) or (physical_cores(),),
        metrics=_unique(metrics) or DEFAULT_METRICS[device],
        plots=_unique(plots) or PLOTS,
        quick=quick,
        images=images,
        name=name,
    )
    if not study.res:
        raise UserError("no resolution: name at least one (--res 1024, or --res 512x1024 for height x width).")
    if any(arm.attn for arm in arms):
        for img_size, patch_size in product(study.res, study.patch):
            check_input(img_size, patch_size)
    return study


def _cuda_is_here() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError("no CUDA device is available to torch here. Allowed: --device cpu.")


def _arms(attn: Sequence[str], baseline: Sequence[str]) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    for text in attn:
        spec = str(parse_attention(text))
        arms.append(Arm(_free_label(spec, arms), attn=spec))
    for name in baseline:
        check_baseline(name)
        arms.append(Arm(_free_label(name, arms), baseline=name))
    return tuple(arms)


def _free_label(name: str, taken: Sequence[Arm]) -> str:
    labels = {arm.label for arm in taken}
    label, n = name, 2
    while label in labels:
        label, n = f"{name} #{n}", n + 1
    return label


def parse_img_size(value: str | int | tuple[int, int]) -> tuple[int, int]:
    """1024 or "1024" → (1024, 1024); "512x1024" → (512, 1024), height × width.

    Raises:
        UserError: not of that form, or a side outside 32 to 16384 pixels.
    """
    sides = value if isinstance(value, tuple | list) else re.split(r"[x×]", str(value))
    if len(sides) > 2:
        raise UserError(f"resolution '{value}': write one side (1024) or height x width (512x1024).")
    checked = [_whole("resolution", side, MIN_IMG_SIZE, MAX_IMG_SIZE) for side in sides]
    return checked[0], checked[-1]


def show_img_size(img_size: Sequence[int]) -> str:
    """(1024, 1024) → "1024"; (512, 1024) → "512x1024"."""
    height, width = img_size
    return str(height) if height == width else f"{height}x{width}"


def physical_cores() -> int:
    """Physical cores that this process may use."""
    return min(psutil.cpu_count(logical=False) or 1, _usable_cpus())


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(what: str, value: Any, low: int, high: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        hint = " Separate several values by spaces." if "," in str(value) else ""
        raise UserError(f"{what} must be a whole number from {low} to {high}, not '{value}'.{hint}") from None
    if not low <= number <= high:
        raise UserError(f"{what} must be from {low} to {high}, not {number}.")
    return number


def _one_of(what: str, name: str, allowed: Sequence[str] | dict) -> None:
    if name not in allowed:
        raise unknown_name(what, name, allowed)


def _listed(values: Any) -> Any:
    """A lone value stands for a list of one."""
    return [values] if isinstance(values, str | int) else values


def _unique(values) -> tuple:
    return tuple(dict.fromkeys(values))
