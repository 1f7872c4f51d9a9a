"""A record: one metric of one case in one launch, as any version of the schema wrote it."""

import json
import sys
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from typing import Any, Literal, get_args

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

    @cached_property
    def place(self) -> str:
        """The case as text, equal where cases are: to group by."""
        return sys.intern(json.dumps(self.case, sort_keys=True))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Record":
        """A record as any known schema wrote it: fields it lacked get their defaults, fields we lack are dropped."""
        record = {key: value for key, value in values.items() if key in FIELDS}
        record["case"] = whole_case(record.get("case", {}), record.get("schema", 1))
        return cls(**record)


FIELDS = frozenset(field.name for field in fields(Record))


def parse_time(text: str) -> datetime:
    """The time that a record names; of UTC where it does not say.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def whole_case(case: dict[str, Any], schema: int) -> dict[str, Any]:
    """A case as any version of the schema wrote it, with what that did not say yet."""
    if case and schema < 2:
        case = {**CASE_BEFORE_2, **case}
    return {**POLICY_BEFORE, **case} if "level" in case else case
