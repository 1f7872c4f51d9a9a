"""What a user asks for, checked and made a Study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from itertools import product
from typing import Any

from xbench.attention.spec import parse_attention
from xbench.data.names import DEFAULTS, STOP, UNREADABLE, check_task, parse_data
from xbench.data.photos import check_photos, photo_paths
from xbench.errors import UserError, check_readable, unknown_name
from xbench.metrics.definitions import ACCURACY, ALIASES, METRICS, PROBES, PUBLISHED, TASK_SCORES
from xbench.models.baselines import check_baseline
from xbench.models.sizes import check_input, find_size
from xbench.parsing.axes import (
    DEVICES,
    DIRECTIONS,
    DTYPES,
    LEVELS,
    MAX_IMG_SIZE,
    MAX_TOKENS,
    MODES,
    OF_TOKENS,
    OWN,
    OWN_SIZE,
    TASKS,
    in_label,
    listed,
    one_of,
    parse_img_size,
    physical_cores,
    show_img_size,
    unique,
    usable_cpus,
    whole,
)
from xbench.parsing.former import STUDY_NAMES
from xbench.probing.job import check_grids
from xbench.probing.recipe import ProbeRecipe
from xbench.processes.policy import POLICIES, TUNED
from xbench.study.case import Arm
from xbench.study.study import PLOTS, Study
from xbench.training.recipe import Recipe
from xbench.training.request import check_cuda, recipe_of

TOKENS = (64, 256, 1024, 4096, 16384, 65536)
LAYER_TOKENS = (64,)  # at which a training on a made-up task takes minutes
PAIRS = (4, 8, 16, 32)
NOT_BY_DEFAULT = ("predicted_memory", PUBLISHED, "max_batch", "energy", *TASK_SCORES, *PROBES)
MAX_SEEDS = 1000

QUESTION = "If only the attention changes, what happens to cost, speed and memory?"

NUMBERS = ("res", "tokens", "patch", "batch", "threads", "pairs")  # fields whose values are numbers, or sizes in pixels


@dataclass(frozen=True)
class StudyRequest:
    """What a user asks for, as it was written: the command line, a TOML file and Python make the same request of it.

    ``model`` are whole timm models, ``reference`` is the label of the arm that ratios refer to. What is left empty gets
    its default from ``make_study``. A lone value stands for several, "64" is the number, and (512, 1024) is "512x1024",
    so that requests for the same are equal.
    """

    attn: Sequence[str] = ()
    res: Sequence[str | int | tuple[int, int]] = ()
    _: KW_ONLY
    tokens: Sequence[str | int] = ()
    model: Sequence[str] = ()
    reference: str | None = None
    task: str = "classify"
    level: Sequence[str] = ()
    direction: Sequence[str] = ()
    mode: Sequence[str] = ()
    policy: Sequence[str] = ()
    patch: Sequence[str | int] = ()
    size: str | None = None
    batch: Sequence[str | int] = ()
    dtype: Sequence[str] = ()
    device: str = "cpu"
    threads: Sequence[str | int] = ()
    metrics: Sequence[str] = ()
    plots: Sequence[str] = ()
    quick: bool = False
    images: str | None = None
    data: str | None = None
    epochs: int | None = None
    seeds: int = 3
    recipe: Sequence[str] = ()
    pairs: Sequence[str | int] = ()
    workers: int = 0
    unreadable: str = STOP
    start: str | None = None
    question: str = QUESTION
    name: str = "compare"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.default == ():
                given = getattr(self, field.name)
                values = () if given is None else listed(given)
                plain = map(_plain, values) if field.name in NUMBERS else values
                object.__setattr__(self, field.name, tuple(plain))


def _plain(value: Any) -> Any:
    """A number as one, and (height, width) as it is typed; what is neither is refused later, in words."""
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    short = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10
    return int(value) if short else value


def current_names(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Values by name of their field of a ``StudyRequest``, also where they have the name that it had before.

    Args:
        kind: what the names are called in an error: "argument of compare".

    Raises:
        UserError: a name that no field has, or a field by both its names.
    """
    known = [field.name for field in fields(StudyRequest)]
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        current = STUDY_NAMES.get(name, name)
        if current not in known:
            raise unknown_name(kind, name, known)
        if current in renamed:
            raise UserError(f"{kind} '{current}' is there twice: '{name}' is what it was called before.")
        renamed[current] = value
    return renamed


def make_study(request: StudyRequest) -> Study:
    """Checks what the user asked for and makes the Study.

    Raises:
        UserError: a name that does not exist, a number out of range, or nothing of it possible.
    """
    _check_names(request)
    arms = _arms(request)
    if request.task != "classify" and (parts := [level for level in request.level if level != "model"]):
        raise UserError(f"--task {request.task} is of whole models; it has no --level {parts[0]}.")
    check_cuda(request.device)
    levels, directions = unique(request.level) or ("model",), unique(request.direction) or ("inference",)
    data = str(parse_data(DEFAULTS[request.task] if request.data is None else request.data))
    check_task(data, request.task)
    tokens = unique(whole("tokens", value, 1, MAX_TOKENS) for value in request.tokens)
    metrics = _metrics(request, levels, directions)
    recipe, probe = _recipes(request, data, metrics)
    study = Study(
        question=request.question,
        arms=arms,
        against=_reference(request, arms),
        res=unique(OWN_SIZE if value == OWN else parse_img_size(value) for value in request.res),
        tokens=tokens or (TOKENS if "op" in levels else LAYER_TOKENS if "layer" in levels else ()),
        task=request.task,
        level=levels,
        direction=directions,
        patch=unique(whole("patch size", value, 1, MAX_IMG_SIZE) for value in request.patch) or (2,),
        # The layers are a probe, to be trained in minutes.
        size=request.size or ("xxs" if levels == ("layer",) else "s"),
        batch=unique(whole("batch", value, 1, 65536) for value in request.batch) or _usual_batch(request.device),
        dtype=unique(request.dtype) or ("fp32",),
        device=request.device,
        threads=unique(whole("threads", n, 1, usable_cpus()) for n in request.threads) or (physical_cores(),),
        metrics=metrics,
        plots=unique(request.plots) or PLOTS,
        quick=request.quick,
        images=request.images,
        data=data,
        recipe=recipe,
        probe=probe,
        pairs=unique(whole("pairs", value, 1, MAX_TOKENS) for value in request.pairs) or PAIRS,
        seeds=whole("seeds", request.seeds, 1, MAX_SEEDS),
        workers=whole("workers", request.workers, 0, 256),
        unreadable=request.unreadable,
        start=str(request.start or ""),
        name=request.name,
    )
    _check_trained(request, study)
    _check_extent(request, study)
    photos = photo_paths(request.images)
    if request.images is not None:
        check_photos(photos[: max(study.batch)])
    return study


def _check_names(request: StudyRequest) -> None:
    """Whether all that is chosen from a list is in it, and the study's name can become part of a folder's."""
    choices: list[tuple[str, Sequence[str], Iterable[str]]] = [
        ("dtype", request.dtype, DTYPES),
        ("task", [request.task], TASKS),
        ("metric", request.metrics, [*METRICS, *ALIASES, ACCURACY]),
        ("plot", request.plots, PLOTS),
        ("level", request.level, LEVELS),
        ("direction", request.direction, DIRECTIONS),
        ("mode", request.mode, MODES),
        ("policy", request.policy, POLICIES),
        ("device", [request.device], DEVICES),
        ("unreadable", [request.unreadable], UNREADABLE),
    ]
    for what, names, allowed in choices:
        for chosen in names:
            one_of(what, chosen, allowed)
    if request.size is not None:
        find_size(request.size)
    check_readable("name", request.name)
    if not request.name or "/" in request.name or request.name.startswith("."):
        raise UserError(f"name '{request.name}' is to name a folder: no slash in it, and no dot before it.")


def _reference(request: StudyRequest, arms: Sequence[Arm]) -> str:
    """The label of the arm that ratios refer to: the first, unless another is named."""
    labels = [arm.label for arm in arms]
    if request.reference is not None and request.reference not in labels:
        raise unknown_name("arm to compare with", request.reference, labels)
    return request.reference or labels[0]


def _usual_batch(device: str) -> tuple[int, ...]:
    return (8,) if device == "cuda" else (1,)


def _recipes(request: StudyRequest, data: str, metrics: Sequence[str]) -> tuple[Recipe, ProbeRecipe]:
    """That of accuracy and that of made-up tasks, one of them as the user changed it."""
    probed = set(metrics) & set(PROBES)
    if request.recipe and probed and set(TASK_SCORES) & set(metrics):
        raise UserError(
            f"the recipe of top1 is another than that of {' and '.join(sorted(probed))}; change it in a run of its own."
        )
    settings = ((), request.recipe) if probed else (request.recipe, ())
    recipe = recipe_of(data, request.epochs, settings[0], request.device, request.task)
    return recipe, ProbeRecipe().changed(settings[1])


def _check_trained(request: StudyRequest, study: Study) -> None:
    """What decides trained figures alone is refused where none of them is asked for, and so are impossible grids."""
    probed = set(study.metrics) & set(PROBES)
    accuracy = {
        "data": request.data is not None,
        "epochs": request.epochs is not None,
        "unreadable": request.unreadable != STOP,
        "recipe": bool(request.recipe) and not probed,
        "start": request.start is not None,
    }
    asked = [name for name, is_given in accuracy.items() if is_given]
    if asked and not set(TASK_SCORES) & set(study.metrics):
        others = " (recipe also recall and two_hop)" if "recipe" in asked else ""
        raise UserError(f"{' and '.join(asked)} decide accuracy only{others}; ask for it: --metrics accuracy …")
    for case in study.cases() if study.start else ():
        for metric in set(study.metrics_of(case)) & set(TASK_SCORES):
            for seed in range(study.seeds):
                study.job(case, metric, seed)  # which refuses what has nothing to begin from
    if request.pairs and not probed:
        raise UserError("a number of pairs is for recall and two_hop; ask for one: --level layer --metrics recall …")
    for case in study.cases() if probed else ():
        for metric in probed.intersection(study.metrics_of(case)):
            check_grids(study.job(case, metric, 0))  # type: ignore[arg-type]


def _check_extent(request: StudyRequest, study: Study) -> None:
    """Tokens are for an attention or layers alone, pixels and patches for all else; of these some must be possible."""
    if study.tokens and not set(study.level) & set(OF_TOKENS):
        raise UserError("a number of tokens is for attentions and layers alone; it needs --level op or --level layer.")
    if set(study.level) <= set(OF_TOKENS):
        if request.res or request.patch:
            raise UserError(
                "an attention or a layer alone has tokens, neither a resolution nor patches: --tokens, or another "
                "--level."
            )
        return
    if OWN_SIZE in study.res:
        if len(study.res) > 1 or study.level != ("model",) or study.trains:
            raise UserError(
                f"--res {OWN}, every model at the size it is made for, is of whole models and their cost; it has no "
                "other sizes, levels or accuracies beside it."
            )
        return
    if not study.res:
        raise UserError("no resolution: name at least one (--res 1024, or --res 512x1024 for height x width).")
    _something_is_possible(study)


def _metrics(request: StudyRequest, levels: Sequence[str], directions: Sequence[str]) -> tuple[str, ...]:
    """What was asked for, or everything usual that has a meaning there."""
    scores = [name for name in TASK_SCORES if request.task in METRICS[name].tasks]
    asked = unique(
        own for name in request.metrics for own in (scores if name == ACCURACY else [ALIASES.get(name, name)])
    )
    if request.device != "cuda" and "device_time" in asked:
        raise UserError("metric 'device_time' is taken by CUDA's clocks; it needs --device cuda.")
    for name in asked:
        metric = METRICS[name]
        if not set(metric.directions) & set(directions):
            raise UserError(f"metric '{name}' is taken in {' and '.join(metric.directions)} only (--direction).")
        if not set(metric.levels) & set(levels):
            raise UserError(f"metric '{name}' is taken at level {' and '.join(metric.levels)} only (--level).")
        if request.task not in metric.tasks:
            fitting = ", ".join([*scores, *(known.name for known in METRICS.values() if known.how != "trained")])
            raise UserError(f"metric '{name}' is of --task {metric.tasks[0]}; --task {request.task} has {fitting}.")
    usual = [metric for metric in METRICS.values() if set(metric.directions) & set(directions)]
    left_out = (*NOT_BY_DEFAULT, "stock_latency" if request.device == "cuda" else "device_time")
    return asked or tuple(m.name for m in usual if m.name not in left_out and set(m.levels) & set(levels))


def _something_is_possible(study: Study) -> None:
    """Single points that are impossible become rows that say so; where all are, the question is a mistake."""
    refused = []
    points = [
        (level, *point) for level in study.level if level not in OF_TOKENS for point in product(study.res, study.patch)
    ]
    for level, img_size, patch_size in points:
        try:
            check_input(img_size, patch_size, 8 if level == "block" else 32)
        except UserError as error:
            refused.append(error)
    if len(refused) == len(points) and any(arm.attn for arm in study.arms):
        raise refused[0]


def _arms(request: StudyRequest) -> tuple[Arm, ...]:
    """The attentions, then the whole models, in every mode and under every policy.

    Raises:
        UserError: none is named, or one does not exist.
    """
    for name in request.model:
        check_baseline(name)
    for text in request.attn:
        check_readable("attention", text)
    specs = [str(parse_attention(text)) for text in request.attn]
    arms: list[Arm] = []
    for policy, mode in product(unique(request.policy) or (TUNED,), unique(request.mode) or ("eager",)):
        suffix = in_label(mode) + (f" {policy}" if policy != TUNED else "")
        for spec in specs:
            arms.append(_named(Arm("", attn=spec, mode=mode, policy=policy), spec, suffix, request, arms))
        for name in request.model:
            arms.append(_named(Arm("", baseline=name, mode=mode, policy=policy), name, suffix, request, arms))
    if not arms:
        raise UserError("nothing to compare: name at least one attention (--attn) or timm model (--model).")
    return tuple(arms)


def _named(arm: Arm, name: str, suffix: str, request: StudyRequest, taken: Sequence[Arm]) -> Arm:
    """The arm with its label; where each has its own size, that is a part of it."""
    own = f" @{show_img_size(arm.made_for)}" if OWN in request.res else ""
    return replace(arm, label=_free_label(name + own + suffix, taken))


def _free_label(name: str, taken: Sequence[Arm]) -> str:
    labels = {arm.label for arm in taken}
    label, n = name, 2
    while label in labels:
        label, n = f"{name} #{n}", n + 1
    return label
