"""Records as a run would leave them: with samples written out, or made by a model of cost whose exponents and
crossovers are known."""

import random
from dataclasses import dataclass, replace

from xbench.metrics.definitions import METRICS
from xbench.records.record import Record
from xbench.study.conditions import Conditions

WARM = {"settled": True, "block_iterations": 1}
DETAIL = {"batch": 1, "warm_up": WARM, "measured_seconds": 1.0, "steal_seconds": 0.0, "stall_seconds": 0.0}


@dataclass(frozen=True)
class MadeArm:
    """Attention takes ``cost`` · N^``power`` seconds, the rest of the model ``REST`` · N."""

    label: str
    power: float = 1.0
    cost: float = 6e-6
    attn: str = "mhsa"
    mode: str = "eager"
    control: bool = False
    policy: str = "tuned"


REST = 4e-5
QUADRATIC = MadeArm("mhsa", 2.0, 2e-8)
LINEAR = MadeArm("xfa", 1.0, 6e-6, attn="xfa")
CONTROL = MadeArm("mhsa again", 2.0, 2e-8, control=True)


def place(res=1024, **fields):
    """Conditions: at ``res`` pixels, or alone with ``tokens``."""
    alone = "tokens" in fields
    found = {"level": "op" if alone else "model", "direction": "inference", "tokens": None}
    found |= {"img_size": None if alone else [res, res], "patch_size": 1 if alone else 2, "size": "s", "batch": 1}
    return Conditions.of(found | {"dtype": "fp32", "device": "cpu", "threads": 2} | fields)


def make(arm: str | MadeArm, conditions, metric: str, samples, launch=0, **fields) -> Record:
    """One record, against "mhsa". A name stands for an arm with the attention of that name, against "a"."""
    against = "a" if isinstance(arm, str) else "mhsa"
    arm = MadeArm(arm, attn=arm) if isinstance(arm, str) else arm
    case = {
        "arm": arm.label,
        "attn": arm.attn,
        "baseline": None,
        "mode": arm.mode,
        "policy": arm.policy,
        "control": arm.control,
        **conditions.flat(),
    }
    known = {"run": "r", "study": "s", "key": "k", "against": against, "unit": METRICS[metric].unit, "detail": DETAIL}
    return Record(**known | fields, case=case, metric=metric, launch=launch, samples=list(samples))


def launches(arm: str | MadeArm, values, conditions=None, metric="throughput", **fields) -> list[Record]:
    """A record per value, each with three samples about it; at 64 pixels where no conditions are given."""
    where = conditions or place(64)
    return [make(arm, where, metric, [v, v * 1.01, v * 0.99], i, **fields) for i, v in enumerate(values, start=1)]


def seconds(arm: MadeArm, conditions) -> dict[str, float]:
    """Of a batch, by component."""
    n, batch = conditions.n_tokens, conditions.batch
    faster = {"fp32": 1.0, "bf16": 0.6}[conditions.dtype] * (1 if arm.mode == "eager" else 0.7) / conditions.threads
    alone = conditions.alone
    rest = 0.0 if alone else REST * n * conditions.patch_size**2 / 4
    shares = {"MLP": 0.3, "convolutions": 0.4, "norms": 0.15, "unfold/fold": 0.1, "other": 0.05}
    parts = {"attention": arm.cost * n**arm.power, **({} if alone else {k: s * rest for k, s in shares.items()})}
    return {name: t * batch * faster for name, t in parts.items()}


def exact(arm: MadeArm, conditions, metrics=("params", "macs", "predicted_memory", "peak_memory")) -> list[Record]:
    """Exact figures, MACs with a cross-check by all counters."""
    n, batch = conditions.n_tokens, conditions.batch
    macs = int(5e10 * sum(seconds(arm, replace(conditions, dtype="fp32", threads=1, batch=1)).values()))
    activations = batch * (2000 * n + (40 * n * n if arm.power > 1 else 0))
    memory = {"resident": 22_000_000, "activations": activations, "total": 22_000_000 + activations}
    cost = {"attention_formula": macs // 2, "attention_torch": macs // 2, "disagreements": []}
    cost["counters"] = {"torch": macs, "fvcore": None, "ptflops": macs}
    values = {
        "params": ([5_475_688], cost),
        "macs": ([macs], cost),
        "predicted_memory": ([0.8 * memory["total"] / 2**20], memory | {"traffic": macs * batch / 20}),
        "peak_memory": ([memory["total"] / 2**20], memory),
        "max_batch": ([2**34 // (activations // batch)], {"limit": 2**34}),
    }
    return [make(arm, conditions, metric, values[metric][0], detail=values[metric][1]) for metric in metrics]


def timed(arm: MadeArm, conditions, launches=6, rounds=5, noise=0.02, seed=0) -> list[Record]:
    """Throughput and latency (training: the parts of a step), the time by component, and the limits on "mhsa"."""
    # Some tests name the figures that come of it, so the noise must not change with how conditions are written.
    words = dict.fromkeys(("level", "direction", "tokens")) | conditions.flat()
    chance = random.Random(f"{seed}{arm.label}{words}")
    parts = seconds(arm, conditions)
    whole, batch = sum(parts.values()), conditions.batch
    training = conditions.direction == "training"
    found = []
    for launch in range(1, launches + 1):
        factor = chance.gauss(1, noise)
        times = [whole * factor * chance.gauss(1, noise) * (3.2 if training else 1) for _ in range(rounds)]
        detail = DETAIL | {"batch": batch}

        def keep(metric, samples, launch=launch, detail=detail):
            found.append(make(arm, conditions, metric, samples, launch, detail=detail))

        keep("throughput", [batch / t for t in times])
        if training:
            for metric, share in (("forward_time", 0.31), ("backward_time", 0.65), ("optimizer_time", 0.04)):
                keep(metric, [1e3 * share * t for t in times])
            continue
        keep("latency", [1e3 * t / batch for t in times])
        if not arm.control and arm.mode == "eager" and not conditions.alone:
            ms = {name: [1e3 * t * chance.gauss(1, noise) for _ in times] for name, t in parts.items()}
            keep("breakdown", [sum(column) for column in zip(*ms.values(), strict=True)], detail={"parts": ms})
        if arm.label == "mhsa":
            keep("limits", [chance.gauss(1.1e11, 2e9)], detail={"copy_bytes_per_second": chance.gauss(1.5e10, 5e8)})
    return found


def failed(arm: MadeArm, conditions, metrics=("params", "macs", "throughput"), status="oom") -> list[Record]:
    """An arm that could not be measured."""
    return [make(arm, conditions, metric, [], status=status, reason="allocating 16 GiB") for metric in metrics]


def probed(arm: MadeArm, conditions, by_pairs, task="recall", finished=True, **changes) -> list[Record]:
    """What seeds can do: for each, right answers in % by number of pairs, reached half-way at step 500."""
    records = []
    for seed, shares in enumerate(by_pairs):
        mean = sum(shares.values()) / len(shares)
        own = {str(pairs): share for pairs, share in shares.items()}
        history = [
            {"step": 500, "score": mean / 2, "by_pairs": {pairs: share / 2 for pairs, share in own.items()}},
            {"step": 1000, "score": mean, "by_pairs": own},
        ]
        job = {"task": task, "attn": arm.attn, "seed": seed, "pairs": list(shares), "recipe": {"steps": 1000}}
        detail = {
            "job": job,
            "by_pairs": own,
            "history": history,
            "steps": 1000,
            "rate": 0.002,
            "trials": {"0.002": 1.0},
        }
        detail |= {"capacity": 0, "steps_to_held": None, "finished": finished, "images": 512 * len(shares)}
        detail |= {"parameters": 70_000, "shared_weights": f"w{seed}"} | changes
        records.append(make(arm, conditions, task, [mean], seed, detail=detail))
    return records


def trained(arm: MadeArm, conditions, top1, epochs=3, **changes) -> list[Record]:
    """Accuracies, one per seed; ``changes`` go into what the training run told of itself."""
    records = []
    for seed, value in enumerate(top1):
        job = {"data": "digits", "seed": seed, "attn": arm.attn, "baseline": None}
        recipe = {"epochs": epochs, "lr": 0.002, "augmentation": {"hflip": 0.0}}
        history = [{"val_top1": value * (i + 1) / epochs} for i in range(epochs)]
        detail = {"job": {**job, "recipe": recipe}, "data": {"name": "digits"}, "history": history}
        detail |= {"parameters": 1_000_000, "shared_weights": f"w{seed}", "data_order": f"d{seed}"} | changes
        records.append(make(arm, conditions, "top1", [value], seed, detail=detail))
    return records
