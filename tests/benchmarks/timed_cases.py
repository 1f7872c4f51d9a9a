"""What the benchmarks share: the cases, and how one is timed.

Times are those of pytest's own process, one case after the other: good for a look at what a change did, with
``--benchmark-compare``. A claim comes from ``xbench compare``, which runs the arms in turns and in processes of their
own. ``--benchmark-group-by=group`` puts all attentions at one size side by side, ``param:attn`` all sizes of one.
"""

from pathlib import Path

from xbench.attention.registry import built_in
from xbench.data.photos import photo_paths
from xbench.study.case import Arm, Case
from xbench.worker.subject import Subject

ATTENTIONS = sorted(built_in())


def case(attn: str, level: str, size: int) -> Case:
    """A small one: XFormer-xxs, batch 1, fp32, one thread; ``size`` is tokens at level "op", else pixels."""
    alone = level == "op"
    return Case(
        arm=Arm(attn, attn=attn),
        level=level,
        direction="inference",
        img_size=None if alone else (size, size),
        tokens=size if alone else None,
        patch_size=1 if alone else 2,
        size="xxs",
        batch=1,
        dtype="fp32",
        device="cpu",
        threads=1,
    )


def time_forward(benchmark, case: Case) -> None:
    """Times a forward pass. The case goes along, so that ``xbench import`` knows what it was."""
    photos: list[Path] = photo_paths(None)
    subject = Subject(case, photos)
    unit = "tokens" if case.level == "op" else "px"
    benchmark.group = f"{case.level}, {case.tokens or case.img_size[0]} {unit}"
    benchmark.extra_info["xbench"] = {"case": case.flat(), "metric": "latency"}
    subject.check(benchmark(subject.forward))
