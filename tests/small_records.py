"""Records of arms "a", "b", …, as small as a test needs them, with samples written out."""

from xbench.metrics import METRICS
from xbench.records import Record

WARM = {"settled": True, "block_iterations": 1}
DETAIL = {"batch": 1, "warm_up": WARM, "measured_seconds": 1.0, "steal_seconds": 0.0, "stall_seconds": 0.0}
CASE = {"baseline": None, "mode": "eager", "control": False, "level": "model", "direction": "inference"}
CASE |= {"tokens": None, "patch_size": 2, "size": "s", "batch": 1, "dtype": "fp32", "device": "cpu", "threads": 1}
RECORD = ("launch", "heat", "detail", "status", "reason", "run")


def make(arm: str, metric: str, samples, launch=0, res=64, **fields) -> Record:
    """One record against "a"; ``fields`` are of the record or of its case."""
    own = {key: fields.pop(key) for key in RECORD if key in fields}
    size = None if fields.get("level") == "op" else [res, res]
    case = CASE | {"arm": arm, "attn": arm, "img_size": size} | fields
    known = {"run": "r", "study": "s", "key": "k", "unit": METRICS[metric].unit, "against": "a", "detail": DETAIL}
    return Record(**known | own, case=case, metric=metric, launch=launch, samples=list(samples))


def launches(arm: str, values, metric="throughput", **fields) -> list[Record]:
    """A record per value, each with three samples about it."""
    return [make(arm, metric, [v, v * 1.01, v * 0.99], launch=i, **fields) for i, v in enumerate(values, start=1)]
