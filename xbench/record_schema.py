"""What a line of a ledger has to be before anything reads it: types, ranges, and what reports take from a detail.

A record is checked, not changed: what it holds beyond these fields is kept as it is, for other versions know more.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from xbench.metrics import METRICS
from xbench.records import CASE_BEFORE_2, SCHEMA, Status, parse_time
from xbench.study import DIRECTIONS, LEVELS, MODES

LARGEST, SMALLEST = 1e30, 1e-30  # beyond which ratios and their logs are none
LARGEST_COUNT = 2**63
YEARS = (1970, 9000)
# What a number may look like that is too large for others to hold: looking at every value of a line is slow.
SUSPICIOUS = re.compile(rb"\d{60}|[eE]\+?\d{3}")


def _date(text: str) -> str:
    if text:
        try:
            year = parse_time(text).year
        except ValueError:
            raise ValueError("is no date and time") from None
        if not YEARS[0] <= year <= YEARS[1]:
            raise ValueError("is no date and time")
    return text


Text = Annotated[str, Field(max_length=2**20)]
Name = Annotated[str, Field(min_length=1, max_length=2**12)]
Amount = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=SMALLEST, le=LARGEST, allow_inf_nan=False)]
Signed = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
One = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Scalar = bool | Signed | Text | None


class Part(BaseModel):
    """Part of a record: no text for a number, no number for a text."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Case(Part):
    """What was measured: see ``study.Case``. More conditions may come with later versions, as plain values."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    arm: Name
    attn: Name | None
    baseline: Name | None
    mode: Literal[MODES]  # type: ignore[valid-type]
    control: bool
    level: Literal[LEVELS]  # type: ignore[valid-type]
    direction: Literal[DIRECTIONS]  # type: ignore[valid-type]
    img_size: Annotated[list[One], Field(min_length=2, max_length=2)] | None
    tokens: One | None
    patch_size: One
    size: Name
    batch: One
    dtype: Name
    device: Name
    threads: One

    @model_validator(mode="after")
    def _has_an_extent(self) -> Self:
        if (self.tokens if self.level == "op" else self.img_size) is None:
            raise ValueError(f"level {self.level} needs {'tokens' if self.level == 'op' else 'img_size'}")
        return self


class Foreign(Part):
    """What a benchmark of another suite tells of itself."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar | list[Scalar]] = Field(init=False)

    arm: Name
    control: bool = False


class Machine(Part):
    cpu: Text = ""
    gpu: Text = ""
    physical_cores: Count = 0


class WarmUp(Part):
    settled: bool


class Quality(Part):
    """What the blocks of a launch left of their quality."""

    warm_up: WarmUp
    measured_seconds: Amount
    steal_seconds: Amount
    stall_seconds: Amount


class Known(Part):
    """What may be known of any figure, and is relied on where it is."""

    unverified: Text = ""
    adapted: Text = ""
    attention: dict[str, Scalar | list[Scalar]] = {}
    limit: Positive | None = None
    activations: Count | None = None
    total: Count | None = None
    process: Count | None = None
    traffic: Amount | None = None


class Breakdown(Part):
    parts: dict[Name, list[Amount]] = Field(min_length=1)


class Limits(Part):
    copy_bytes_per_second: Positive


class Cost(Part):
    attention_formula: Count | None
    attention_torch: Count | None
    counters: dict[Name, Count | None]
    disagreements: list[Text]


class Recipe(Part):
    model_config = ConfigDict(strict=True, extra="allow")

    epochs: One
    augmentation: dict[str, Any]


class Job(Part):
    data: Text
    recipe: Recipe


class Epoch(Part):
    val_top1: Amount


class Training(Part):
    """What a training run told of itself."""

    job: Job
    data: dict[str, Any]
    history: list[Epoch]
    parameters: One
    shared_weights: Text
    data_order: Text


class Overhead(Part):
    total_seconds: Amount
    start_seconds: Amount
    model_seconds: Amount
    question: Text = ""
    command: Text = ""


DETAILS: dict[str, type[Part]] = {
    "breakdown": Breakdown,
    "limits": Limits,
    "macs": Cost,
    "top1": Training,
}


class Line(Part):
    """One record."""

    run: Text
    study: Text
    key: Text
    case: dict[str, Any]
    metric: Name
    unit: Text
    against: Text = ""
    launch: Annotated[int, Field(ge=0, le=10**9)] = 0
    heat: Annotated[int, Field(ge=0, le=10**9)] = 0
    samples: list[Signed] = []
    status: Status = "ok"
    reason: Text = ""
    detail: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    machine: Machine = Machine()
    versions: dict[str, Text] = {}
    commit: Text = ""
    time: Annotated[Text, AfterValidator(_date)] = ""


def parse(line: bytes) -> dict[str, Any]:
    """A line as a table of plain values, all of them finite. The parser takes no more than 200 levels of nesting.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        values = from_json(line.strip(), allow_inf_nan=False)
    except ValueError as error:
        why = str(error).partition(" at line ")[0]
        raise ValueError(f"not a whole line of JSON: {_plain(why)}") from None
    if not isinstance(values, dict):
        raise ValueError("not a table of fields")
    if SUSPICIOUS.search(line):
        check_numbers(values)
    return values


def check_numbers(values: Any) -> None:
    """Whether other tools can hold the numbers, however deep they stand.

    Raises:
        ValueError: they cannot.
    """
    if isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            check_numbers(value)
    elif isinstance(values, int | float) and not abs(values) <= LARGEST:
        raise ValueError("a number is too large, or none")


def check(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record, with what its version of the schema did not say yet.

    Raises:
        ValueError: it is no record that this version can read; the message names the field, and says what is wrong.
    """
    schema = values.get("schema", 1)
    if type(schema) is not int or schema < 0:
        raise ValueError(f"schema: must be a whole number, not {_short(schema)}")
    if schema > SCHEMA:
        raise ValueError(f"made by a newer xbench: its schema is {_short(schema)}, this one reads up to {SCHEMA}")
    line = _validated(Line, values)
    case, metric, detail = line.case, line.metric, line.detail
    if case and schema < 2:
        case = {**CASE_BEFORE_2, **case}
        values = {**values, "case": case}
    if detail:
        _validated(Known, detail, "detail")
        if "warm_up" in detail:
            _validated(Quality, detail, "detail")
    if not case:
        _check_whole(line)
        return values
    if "level" not in case:
        _validated(Foreign, case, "case")
        _check_samples(line, zero=False)
        return values
    _validated(Case, case, "case")
    known = METRICS.get(metric)
    if known is None:
        raise ValueError(f"metric: {_short(metric)} is none that this xbench knows")
    if line.unit != known.unit:
        raise ValueError(f"unit: that of {metric} is {known.unit}, not {_short(line.unit)}")
    _check_samples(line, zero=known.how != "timed")
    if line.samples and metric in DETAILS:
        _validated(DETAILS[metric], detail, "detail")
    if line.samples and metric == "breakdown" and any(len(p) != len(line.samples) for p in detail["parts"].values()):
        raise ValueError("detail.parts: not as many as samples")
    if line.samples and metric == "top1" and max(line.samples) > 100:
        raise ValueError("samples: more than 100 %")
    return values


def _check_whole(line: Line) -> None:
    """A record of a run as a whole, of no case."""
    if line.metric == "overhead":
        _validated(Overhead, line.detail, "detail")
        if not line.samples:
            raise ValueError("samples: there are none")


def _check_samples(line: Line, zero: bool) -> None:
    if line.status == "ok" and not line.samples:
        raise ValueError("samples: there are none, and the status is ok")
    if line.samples and line.status != "ok":
        raise ValueError(f"status: {line.status}, and there are samples")
    least = min(line.samples, default=1.0)
    if least < 0 or not (zero or least >= SMALLEST):
        raise ValueError(f"samples: {least:g} cannot be")


def _validated(model: type[Any], values: Any, place: str = "") -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, place)) from None


def explain(error: ValidationError, place: str = "") -> str:
    """The first of pydantic's errors in words: "samples.0: input should be a valid number"."""
    first = error.errors(include_url=False, include_input=False)[0]
    # Of a choice of types, the names of the types stand in the place, too.
    steps = [str(step) for step in first["loc"] if not (isinstance(step, str) and ("[" in step or step in _TYPES))]
    where = ".".join([*([place] if place else []), *map(_short_name, steps)])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}" if where else message


_TYPES = ("bool", "float", "int", "str", "none", "constrained-str", "constrained-float")


def _short_name(text: str) -> str:
    return _plain(text if len(text) <= 40 else f"{text[:40]}…")


def _short(value: Any) -> str:
    """A value from a file, fit for a sentence."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number too large to be one"
    return _plain(text if len(text) <= 60 else f"{text[:60]}…")


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
