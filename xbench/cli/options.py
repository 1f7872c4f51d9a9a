"""The options of the verbs, each written once: what it is called, what it says of itself, and where help shows it.

A verb takes those that belong together as one dataclass, which ``spread`` makes options of.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from xbench.cli.given import positive, size_in_bytes
from xbench.errors import UserError
from xbench.parsing.axes import DEVICES, DIRECTIONS, DTYPES, LEVELS, MODES, TASKS
from xbench.processes.policy import POLICIES

if TYPE_CHECKING:
    from xbench.runner.progress import RunLimits
    from xbench.study.request import StudyRequest

COMPARED, MEASURED, ACCURACY = "What is compared", "How it is measured", "Accuracy and ability"
LIMITS, OUTPUT = "Limits", "Output"


def option(
    panel: str, text: str, *names: str, takes: str | None = None, known: Callable[[], Iterable[str]] | None = None
) -> Any:
    """An option that help shows in a panel; its name is that of its parameter unless ``names`` say otherwise.

    Args:
        takes: what stands for its value in help, with "…" where several may follow; else its type.
        known: gives the values that a shell completes.
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in known() if name.startswith(incomplete)] if known else []

    return typer.Option(
        *names, help=text, rich_help_panel=panel, metavar=takes, autocompletion=complete if known else None
    )


def _attentions() -> Iterable[str]:
    from xbench.attention.registry import catalogue

    return sorted(catalogue())


def _metrics() -> Iterable[str]:
    from xbench.metrics.definitions import ACCURACY, METRICS

    return [*METRICS, ACCURACY]


def _models() -> Iterable[str]:
    import timm

    return timm.list_models()


Many = list[str] | None

Attn = Annotated[
    Many,
    option(
        COMPARED,
        "Attentions in the XFormer skeleton: xfa, mhsa, xfa:rank=4, package.module:Class, ./file.py:Class. "
        "Required: at least one of --attn, --model.",
        takes="NAME…",
        known=_attentions,
    ),
]
Model = Annotated[
    Many,
    option(COMPARED, "Whole timm models beside them: mobilevit_s, efficientnet_b0, …", takes="NAME…", known=_models),
]
Reference = Annotated[
    str | None,
    option(COMPARED, "The arm that ratios refer to, by its name in tables. Default: the first.", takes="ARM"),
]
Task = Annotated[
    str,
    option(
        COMPARED,
        "What models are for: classify, detect (YOLOv3, COCO's 80 classes), segment (an all-MLP head, Cityscapes' 19).",
        takes="TASK",
        known=lambda: TASKS,
    ),
]
Level = Annotated[
    Many,
    option(
        COMPARED,
        "op (the attention alone), layer (the transformer layers of stage 3), block (its XF block), model. Default: "
        "model.",
        takes="LEVEL…",
        known=lambda: LEVELS,
    ),
]
Res = Annotated[
    Many,
    option(
        COMPARED,
        "Image sizes in pixels: 1024, or 512x1024 for height x width. Required but at --level op and layer.",
        takes="PIXELS…",
    ),
]
Tokens = Annotated[
    Many,
    option(
        COMPARED,
        "Tokens at --level op and layer. Default: at op 64 to 65536 by powers of 4, at layer 64.",
        takes="N…",
    ),
]
Patch = Annotated[Many, option(COMPARED, "Patch sizes of the XF blocks. Default: 2.", takes="SIDE…")]
Size = Annotated[
    str | None,
    option(
        COMPARED,
        "XFormer's size: s, xs or xxs; s:se=0 is without squeeze-and-excitation. Default: s, at --level layer xxs.",
        takes="SIZE",
    ),
]

Metrics = Annotated[
    Many,
    option(
        MEASURED,
        "params, macs, predicted_memory, latency, throughput, peak_memory, stock_latency, energy, breakdown, limits, "
        "max_batch; in training forward_time, backward_time, optimizer_time; on CUDA device_time; accuracy (top1; ap "
        "and ap50; miou), recall and two_hop, for which arms are trained. Default: all but predicted_memory, energy, "
        "max_batch and the trained.",
        takes="METRIC…",
        known=_metrics,
    ),
]
Direction = Annotated[
    Many,
    option(
        MEASURED,
        "inference, training (a whole step) or both. Default: inference.",
        takes="DIRECTION…",
        known=lambda: DIRECTIONS,
    ),
]
Mode = Annotated[
    Many,
    option(
        MEASURED, f"How it runs, side by side: {', '.join(MODES)}. Default: eager.", takes="MODE…", known=lambda: MODES
    ),
]
Batch = Annotated[
    Many, option(MEASURED, "Images per forward pass. Default: 1, on CUDA 8. Latency is always at 1.", takes="N…")
]
Dtype = Annotated[Many, option(MEASURED, "fp32, bf16 or fp16. Default: fp32.", takes="DTYPE…", known=lambda: DTYPES)]
Device = Annotated[str, option(MEASURED, "cpu or cuda.", takes="DEVICE", known=lambda: DEVICES)]
Threads = Annotated[Many, option(MEASURED, "CPU threads. Default: the physical cores.", takes="N…")]
ThreadCount = Annotated[int | None, option(MEASURED, "CPU threads. Default: the physical cores.", takes="N")]
Policy = Annotated[
    Many,
    option(
        MEASURED,
        "Settings of the processes, side by side: tuned (the heap is kept, so that figures repeat), stock (what a "
        "plain script gets), jemalloc, tcmalloc, passive, active. Default: tuned.",
        takes="POLICY…",
        known=lambda: POLICIES,
    ),
]
Images = Annotated[
    str | None,
    option(
        MEASURED, "Folder of photographs to use as input. Default: two that come with scikit-learn.", takes="FOLDER"
    ),
]
Quick = Annotated[bool, option(MEASURED, "A look, not a claim: three launches, no control.", "--quick")]

Data = Annotated[
    str | None,
    option(
        ACCURACY,
        "What accuracy is trained and tested on: digits, canvas, or a set on disk such as folder:/data/imagenet; with "
        "boxes or masks scenes, coco:…, cityscapes:…, masks:…. Default: digits, for other tasks scenes.",
        takes="DATA",
    ),
]
Start = Annotated[
    str | None,
    option(
        ACCURACY,
        "Folder of a run whose trainings left weights: each arm begins from those of its own model and seed, such as a "
        "classifier's; or of one training.",
        takes="FOLDER",
    ),
]
Epochs = Annotated[int | None, option(ACCURACY, "Epochs of training. Default: the recipe's.", takes="N")]
Seeds = Annotated[int, option(ACCURACY, "Training runs per arm, each from a seed of its own.", takes="N")]
Recipe = Annotated[
    Many,
    option(
        ACCURACY,
        "Settings of the recipe to change: lr=0.001 batch=128 ema=0; of recall and two_hop steps=6000 "
        "rates=0.001,0.004.",
        takes="SETTING…",
    ),
]
Pairs = Annotated[
    Many,
    option(
        ACCURACY,
        "Tokens that tell, in the grids of recall and two_hop, which are trained at the first --tokens or --res. "
        "Default: 4 8 16 32.",
        takes="N…",
    ),
]
Workers = Annotated[int, option(ACCURACY, "Processes that load images, of a data set on disk.", takes="N")]
Unreadable = Annotated[
    str,
    option(
        ACCURACY,
        "Images of a data set that cannot be read: stop (name them and end) or skip (leave them out).",
        takes="WHAT",
    ),
]

Budget = Annotated[float | None, option(LIMITS, "Seconds to stay within; three launches always run.", takes="SECONDS")]
MemoryLimit = Annotated[
    str | None, option(LIMITS, "What a CPU worker may allocate: 4GiB, 4GB, … Default: 90 % of the free.", takes="SIZE")
]
TimeLimit = Annotated[float, option(LIMITS, "Seconds one answer of a worker may take.", takes="SECONDS")]

Out = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Folder of the results; what it holds is not measured again. Default: new, in results/runs.",
        takes="FOLDER",
    ),
]
Save = Annotated[Path | None, option(OUTPUT, "Also write the study down, for xbench run.", takes="FILE")]
DryRun = Annotated[
    bool, option(OUTPUT, "Only print the plan: cells, predicted memory and time, what cannot be.", "--dry-run")
]
RunName = Annotated[
    str | None,
    option(OUTPUT, "What the run is called; show, report and the others find it so.", "--name", takes="NAME"),
]
Json = Annotated[
    bool, option(OUTPUT, "Print records or findings as JSON on standard output, and nothing else there.", "--json")
]
Force = Annotated[
    bool, option(OUTPUT, "Replace also a file that xbench did not make; a run's records never.", "--force")
]


@dataclass(frozen=True)
class StudyOptions:
    """What is asked of a study; the fields are those of a ``StudyRequest``, and so are their defaults."""

    attn: Attn = None
    model: Model = None
    reference: Reference = None
    task: Task = "classify"
    level: Level = None
    res: Res = None
    tokens: Tokens = None
    patch: Patch = None
    size: Size = None
    metrics: Metrics = None
    direction: Direction = None
    mode: Mode = None
    batch: Batch = None
    dtype: Dtype = None
    device: Device = "cpu"
    threads: Threads = None
    policy: Policy = None
    images: Images = None
    quick: Quick = False
    data: Data = None
    epochs: Epochs = None
    seeds: Seeds = 3
    recipe: Recipe = None
    pairs: Pairs = None
    workers: Workers = 0
    unreadable: Unreadable = "stop"
    start: Start = None
    name: RunName = None

    def request(self, verb: str) -> "StudyRequest":
        """The request of a study that is called so, unless it has a name of its own."""
        from xbench.study.request import StudyRequest

        return StudyRequest(**{**vars(self), "name": verb if self.name is None else self.name})


@dataclass(frozen=True)
class WorkerLimits:
    """What one worker may use."""

    memory_limit: MemoryLimit = None
    time_limit: TimeLimit = 600.0

    def checked(self) -> "RunLimits":
        """The limits as a run takes them.

        Raises:
            UserError: one is not a number above 0, or options do not go together.
        """
        from xbench.runner.progress import RunLimits

        return RunLimits(
            memory_bytes=size_in_bytes("--memory-limit", self.memory_limit),
            turn_seconds=positive("--time-limit", self.time_limit),
        )


@dataclass(frozen=True)
class Limits(WorkerLimits):
    """What a run may use."""

    budget: Budget = None

    def checked(self) -> "RunLimits":
        return replace(super().checked(), seconds=positive("--budget", self.budget))


@dataclass(frozen=True)
class RunOptions(Limits):
    """What a run may use, and what it gives."""

    out: Out = None
    dry_run: DryRun = False
    as_json: Json = False

    def checked(self) -> "RunLimits":
        if self.dry_run and self.as_json:
            raise UserError("--dry-run makes no records; leave out --json.")
        return super().checked()


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as Typer is to see it: where it takes a dataclass of options, their fields stand in its signature.

    Each option has its name written down: versions of Typer differ in the one that they would give it.
    """
    signature = inspect.signature(verb)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in signature.parameters.items() if is_dataclass(one.annotation)
    }

    def parameters() -> Iterator[inspect.Parameter]:
        for name, parameter in signature.parameters.items():
            if name not in groups:
                yield _named(parameter)
            for field in fields(groups[name]) if name in groups else ():
                yield _named(
                    inspect.Parameter(
                        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
                    )
                )

    @wraps(verb)
    def spread_verb(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        verb(**values)

    spread_verb.__signature__ = signature.replace(parameters=[*parameters()])  # type: ignore[attr-defined]
    return spread_verb


def _named(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter, by keyword; where it is an option without a name, called as the parameter is."""
    parameter = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    kind, *notes = get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else (None,)
    found = [note for note in notes if isinstance(note, OptionInfo)]
    # Typer takes the first name for the default, until it has read the signature.
    if not found or found[0].default is not ... or found[0].param_decls:
        return parameter
    option = copy(found[0])
    option.param_decls = (f"--{parameter.name.replace('_', '-')}",)
    return parameter.replace(annotation=Annotated[kind, option])
