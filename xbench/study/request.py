"""What a user asks for, checked and made a Study."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from xbench.attention.spec import parse_attention
from xbench.data.names import STOP, UNREADABLE, parse_data
from xbench.data.photos import check_photos, photo_paths
from xbench.errors import UserError, check_readable, unknown_name
from xbench.metrics.definitions import ALIASES, METRICS
from xbench.models.baselines import check_baseline
from xbench.models.sizes import SIZES, check_input
from xbench.parsing.axes import (
    DEVICES,
    DIRECTIONS,
    DTYPES,
    LEVELS,
    MAX_IMG_SIZE,
    MAX_TOKENS,
    MODES,
    listed,
    one_of,
    parse_img_size,
    physical_cores,
    unique,
    usable_cpus,
    whole,
)
from xbench.processes.policy import POLICIES, TUNED
from xbench.study.case import Arm
from xbench.study.study import PLOTS, Study
from xbench.training.request import _recipe, check_cuda

TOKENS = (64, 256, 1024, 4096, 16384, 65536)
NOT_BY_DEFAULT = ("predicted_memory", "max_batch", "top1")
DATA = "digits"
MAX_SEEDS = 1000


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
    policy: Sequence[str] = (),
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
    data: str | None = None,
    epochs: int | None = None,
    seeds: int = 3,
    recipe: Sequence[str] = (),
    workers: int = 0,
    unreadable: str = STOP,
    question: str = "If only the attention changes, what happens to cost, speed and memory?",
    name: str = "compare",
) -> Study:
    """Checks what the user asked for and makes the Study. What is left empty gets its default, and a lone value stands
    for a list of one.

    Raises:
        UserError: a name that does not exist, a number out of range, or nothing of it possible.
    """
    attn, baseline, dtype, metrics, plots, recipe = map(listed, (attn, baseline, dtype, metrics, plots, recipe))
    metrics = [ALIASES.get(name, name) for name in metrics]
    level, direction, mode, policy = map(listed, (level, direction, mode, policy))
    res, tokens, patch, batch, threads = map(listed, (res, tokens, patch, batch, threads))
    named: list[tuple[str, Sequence[str], Any]] = [
        ("dtype", dtype, DTYPES),
        ("metric", metrics, [*METRICS, *ALIASES]),
        ("plot", plots, PLOTS),
        ("level", level, LEVELS),
        ("direction", direction, DIRECTIONS),
        ("mode", mode, MODES),
        ("policy", policy, POLICIES),
        ("device", [device], DEVICES),
        ("size", [size], SIZES),
        ("unreadable", [unreadable], UNREADABLE),
    ]
    for what, names, allowed in named:
        for chosen in names:
            one_of(what, chosen, allowed)
    _check_name(name)
    arms = _arms(attn, baseline, unique(mode) or ("eager",), unique(policy) or (TUNED,))
    if not arms:
        raise UserError("nothing to compare: name at least one attention (--attn) or timm model (--baseline).")
    labels = [arm.label for arm in arms]
    if against is not None and against not in labels:
        raise unknown_name("arm to compare against", against, labels)
    check_cuda(device)
    if device != "cuda" and "device_time" in metrics:
        raise UserError("metric 'device_time' is taken by CUDA's clocks; it needs --device cuda.")
    data_used = str(parse_data(DATA if data is None else data))
    recipe_used = _recipe(data_used, epochs, recipe)
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
        data=data_used,
        recipe=recipe_used,
        seeds=whole("seeds", seeds, 1, MAX_SEEDS),
        workers=whole("workers", workers, 0, 256),
        unreadable=unreadable,
        name=name,
    )
    asked = [
        name for name, value in (("data", data), ("epochs", epochs), ("recipe", recipe or None)) if value is not None
    ]
    asked += ["unreadable"] if unreadable != STOP else []
    if asked and not study.trains:
        raise UserError(f"{' and '.join(asked)} decide accuracy only; ask for it: --metrics top1 …")
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
    photos = photo_paths(images)
    if images is not None:
        check_photos(photos[: max(study.batch)])
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
    left_out = (*NOT_BY_DEFAULT, "stock_latency" if device == "cuda" else "device_time")
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


def _check_name(name: str) -> None:
    """A study's name becomes part of a folder's."""
    check_readable("name", name)
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"name '{name}' is to name a folder: no slash in it, and no dot before it.")


def _arms(
    attn: Sequence[str], baseline: Sequence[str], modes: Sequence[str], policies: Sequence[str]
) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    for baseline_name in baseline:
        check_baseline(baseline_name)
    for text in attn:
        check_readable("attention", text)
    specs = [str(parse_attention(text)) for text in attn]
    for policy, mode in product(policies, modes):
        suffix = (" compiled" if mode == "compile" else "") + (f" {policy}" if policy != TUNED else "")
        for spec in specs:
            arms.append(Arm(_free_label(spec + suffix, arms), attn=spec, mode=mode, policy=policy))
        for baseline_name in baseline:
            label = _free_label(baseline_name + suffix, arms)
            arms.append(Arm(label, baseline=baseline_name, mode=mode, policy=policy))
    return tuple(arms)


def _free_label(name: str, taken: Sequence[Arm]) -> str:
    labels = {arm.label for arm in taken}
    label, n = name, 2
    while label in labels:
        label, n = f"{name} #{n}", n + 1
    return label
