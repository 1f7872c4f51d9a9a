"""Records, and the ledger they are kept in: one line of JSON per record, appended in one write and flushed to disk.

Several writers at once are fine. A line torn by a crash is skipped with a warning; what it held is measured again.
"""

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from xbench.errors import UserError

SCHEMA = 2
# What cases of schema 1 did not say, because there was no choice.
CASE_BEFORE_2 = {"mode": "eager", "level": "model", "direction": "inference", "tokens": None}
# The policy of all cases before there was a choice of it; benchmarks imported from elsewhere have none.
POLICY_BEFORE = {"policy": "passive"}
Status = Literal["ok", "oom", "timeout", "crash", "unsupported", "unverified", "diverged"]


@dataclass(frozen=True)
class Record:
    """One metric of one case in one launch.

    Attributes:
        run: identifier of the run that made it; records of one run, launch and heat were measured side by side.
        against: label of the arm that the run's ratios refer to.
        key: hash of everything that makes the figure comparable: case, code, software, machine.
        heat: which part of the launch, where its arms did not all fit into memory together; the reference arm has a
            record in each.
        launch: of timed metrics, which launch of the run; of accuracy, the seed, whose arms start and see the same.
        samples: raw samples in ``unit``; sample i of two arms of one launch and heat was taken in the same round.
        status: "ok", or why there is no figure; ``reason`` says it in words.
        detail: what else is known of the figure: other counters, quality of the samples.
        policy: what else than case, code, software and machine decided it: the environment of the worker, the inputs,
            the pace. Empty in records of before it was kept.
        machine, versions, commit, time: provenance.
    """

    run: str
    study: str
    key: str
    case: dict[str, Any]
    metric: str
    unit: str
    against: str = ""
    launch: int = 0
    heat: int = 0
    samples: list[float] = field(default_factory=list)
    status: Status = "ok"
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    time: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"status '{self.status}' is none of {get_args(Status)}")

    @property
    def value(self) -> float | None:
        """Median of the samples; None where there are none."""
        return median(self.samples) if self.samples else None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Record":
        """A record as any schema version wrote it: fields it lacked get their defaults, fields we lack are dropped."""
        known = {f.name for f in fields(cls)}
        record = {key: value for key, value in values.items() if key in known}
        if record.get("case") and record.get("schema", 1) < 2:
            record["case"] = {**CASE_BEFORE_2, **record["case"]}
        if "level" in record.get("case", {}):
            record["case"] = {**POLICY_BEFORE, **record["case"]}
        return cls(**record)


class Ledger:
    """An append-only file of records.

    Raises:
        UserError: the file cannot be created or written; the message says why.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise UserError(f"cannot write results to {path.parent}: {error.strerror}.") from error

    def append(self, records: Sequence[Record]) -> None:
        """Writes the records and returns when they are on disk."""
        text = "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in records).encode()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    text = b"\n" + text
                written = os.write(descriptor, text)
                if written != len(text):
                    raise OSError(28, "no space left for all of a record")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UserError(f"cannot write results to {self.path}: {error.strerror}.") from error

    def read(self) -> list[Record]:
        """All records of this file, oldest first."""
        return read_records([self.path])


def read_records(paths: Iterable[Path]) -> list[Record]:
    """The records of several ledgers, in order.

    A line that is not a record, torn by a crash, is skipped with a warning that names it.

    Raises:
        UserError: a file does not exist or cannot be read.
    """
    records = []
    for path in paths:
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise UserError(f"cannot read records from {path}: {error.strerror}.") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                records.append(Record.from_dict(json.loads(line)))
            except (ValueError, TypeError, AttributeError):
                warnings.warn(f"{path}:{number} is not a whole record and is skipped", stacklevel=2)
    return records
