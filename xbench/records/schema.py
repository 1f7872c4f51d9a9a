"""What a line of a ledger has to be before anything reads it: types, ranges, and what reports take from a detail.

A record is checked, not changed: what it holds beyond these fields is kept as it is, for other versions know more.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json
from typing_extensions import TypeAliasType

from xbench.metrics.definitions import METRICS, PROBES, TASK_SCORES
from xbench.parsing.axes import DIRECTIONS, LEVELS, MODES, OF_TOKENS
from xbench.records.record import SCHEMA, Status, parse_time, whole_case

LARGEST, SMALLEST = 1e30, 1e-30  # beyond which ratios and their logs are none
LARGEST_COUNT = 2**63
YEARS = (1970, 9000)


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
Side = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
One = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Scalar = bool | Signed | Text | None
# Whatever JSON holds, but for numbers that others cannot hold.
Plain = TypeAliasType("Plain", "bool | Signed | Text | list[Plain] | dict[str, Plain] | None")


class Part(BaseModel):
    """Part of a record: no text for a number, no number for a text. Later versions may say more than stands here."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Plain] = Field(init=False)


def _is_a_size(sides: list[int]) -> list[int]:
    """Both sides, or none where every arm has its own size."""
    if 0 in sides and any(sides):
        raise ValueError("a side of no pixels")
    return sides


class CasePart(Part):
    """What was measured: see ``study.case.Case``. More conditions are plain values, which can be compared."""

    __pydantic_extra__: dict[str, Scalar] = Field(init=False)  # type: ignore[assignment]

    arm: Name
    attn: Name | None
    baseline: Name | None
    mode: Literal[MODES]  # type: ignore[valid-type]
    policy: Name
    control: bool
    level: Literal[LEVELS]  # type: ignore[valid-type]
    direction: Literal[DIRECTIONS]  # type: ignore[valid-type]
    img_size: Annotated[list[Side], Field(min_length=2, max_length=2), AfterValidator(_is_a_size)] | None
    tokens: One | None
    patch_size: One
    size: Name
    batch: One
    dtype: Name
    device: Name
    threads: One

    @model_validator(mode="after")
    def _has_an_extent(self) -> Self:
        if (self.tokens if self.level in OF_TOKENS else self.img_size) is None:
            raise ValueError(f"level {self.level} needs {'tokens' if self.level in OF_TOKENS else 'img_size'}")
        return self


class ForeignCasePart(Part):
    """What a benchmark of another suite tells of itself."""

    arm: Name
    control: bool = False


class MachinePart(Part):
    """What is shown of a machine, and more that decides whether figures compare."""

    cpu: Text = ""
    gpu: Text = ""
    physical_cores: Count = 0


class Detail(Part):
    """What may be known of any figure."""

    unverified: Text = ""
    adapted: Text = ""
    attention: dict[str, Text] = Field(default_factory=dict)
    limit: Positive | None = None
    activations: Count | None = None
    total: Count | None = None
    process: Count | None = None
    traffic: Amount | None = None


class WarmUpPart(Part):
    settled: bool


class TimedDetail(Detail):
    """With what the blocks of a launch left of their quality."""

    warm_up: WarmUpPart
    measured_seconds: Amount
    steal_seconds: Amount
    stall_seconds: Amount


class BreakdownDetail(Detail):
    parts: dict[Name, list[Amount]] = Field(min_length=1)


class LimitsDetail(Detail):
    copy_bytes_per_second: Positive


class CostDetail(Detail):
    attention_formula: Count | None
    attention_torch: Count | None
    counters: dict[Name, Count | None]
    disagreements: list[Text]


class RecipePart(Part):
    epochs: One
    augmentation: dict[str, Plain]


class JobPart(Part):
    data: Text
    recipe: RecipePart


class EpochPart(Part):
    """With the score of validation, "val_" and the name of the task's first."""

    @model_validator(mode="after")
    def _has_a_score(self) -> Self:
        scores = {name: value for name, value in (self.model_extra or {}).items() if name.startswith("val_")}
        if not scores or not all(type(value) in (int, float) and 0 <= value <= 100 for value in scores.values()):
            raise ValueError("an epoch has no score of validation, val_… from 0 to 100")
        return self


class TrainingDetail(Detail):
    """With what a training run told of itself."""

    job: JobPart
    data: dict[str, Plain]
    history: list[EpochPart]
    parameters: One
    shared_weights: Text
    data_order: Text


class ProbeEntryPart(Part):
    step: Count
    score: Amount
    by_pairs: dict[Name, Amount]


class ProbeJobPart(Part):
    task: Literal[PROBES]  # type: ignore[valid-type]
    pairs: list[One] = Field(min_length=1)
    recipe: dict[str, Any]


class ProbeDetail(Detail):
    """With what the training on a made-up task told of itself."""

    job: ProbeJobPart
    by_pairs: dict[Name, Amount] = Field(min_length=1)
    capacity: Count
    steps: Count
    steps_to_held: Count | None
    rate: Positive
    finished: bool
    trials: dict[Name, Amount]
    history: list[ProbeEntryPart] = Field(min_length=1)
    parameters: One
    shared_weights: Text
    images: One


class OverheadDetail(Detail):
    total_seconds: Amount
    start_seconds: Amount
    model_seconds: Amount
    question: Text = ""
    command: Text = ""


DETAILS: dict[str, type[Detail]] = {
    "breakdown": BreakdownDetail,
    "limits": LimitsDetail,
    "macs": CostDetail,
    **dict.fromkeys(TASK_SCORES, TrainingDetail),
    **dict.fromkeys(PROBES, ProbeDetail),
    "overhead": OverheadDetail,
}


class Line(BaseModel):
    """One record. Its parts are looked at apart, because many records say the same there."""

    model_config = ConfigDict(strict=True, extra="ignore")

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
    machine: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    commit: Text = ""
    time: Annotated[Text, AfterValidator(_date)] = ""


def parse(line: bytes) -> dict[str, Any]:
    """A line as a table of values. The parser takes no more than 200 levels of nesting.

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
    return values


def check(values: dict[str, Any], shared: dict[Any, Any]) -> dict[str, Any]:
    """The fields of a record, with what its version of the schema did not say yet.

    ``shared`` takes the parts that many records say alike, so that each is held and looked at once.

    Raises:
        ValueError: it is no record that this version can read; the message names the field, and says what is wrong.
    """
    schema = values.get("schema", 1)
    if type(schema) is not int or schema < 0:
        raise ValueError(f"schema: must be a whole number, not {_short(schema)}")
    if schema > SCHEMA:
        raise ValueError(f"made by a newer xbench: its schema is {_short(schema)}, this one reads up to {SCHEMA}")
    line = _validated(Line, values)
    case = whole_case(line.case, schema)
    parts: list[tuple[str, Any, type[Part]]] = [("case", case, _model_of(case)), ("machine", line.machine, MachinePart)]
    parts += [("versions", line.versions, VersionsPart), ("policy", line.policy, Part)]
    found = dict(values)
    for name, part, model in parts:
        key = name, repr(part)
        if key not in shared:
            _validated(model, part, name)
            shared[key] = part
        found[name] = shared[key]
    _check_metric(line, case)
    if line.detail:
        _validated(_detail_of(line), line.detail, "detail")
    return found


class VersionsPart(Part):
    __pydantic_extra__: dict[str, Text] = Field(init=False)  # type: ignore[assignment]


def _model_of(case: dict[str, Any]) -> type[Part]:
    """Of what a case has to be: one of ours, of another suite, or of a run as a whole, which has none."""
    if "level" in case:
        return CasePart
    return ForeignCasePart if case else Part


def _detail_of(line: Line) -> type[Detail]:
    if line.samples and line.metric in DETAILS:
        return DETAILS[line.metric]
    return TimedDetail if "warm_up" in line.detail else Detail


def _check_metric(line: Line, case: dict[str, Any]) -> None:
    """Raises: ValueError: the metric, its unit and its samples do not go together."""
    metric, known = line.metric, METRICS.get(line.metric)
    if not case:
        if metric == "overhead" and not (line.samples and line.detail):
            raise ValueError(f"{'detail' if line.samples else 'samples'}: there is none")
        return
    if "level" in case and known is None:
        raise ValueError(f"metric: {_short(metric)} is none that this xbench knows")
    if known is not None and line.unit != known.unit:
        raise ValueError(f"unit: that of {metric} is {known.unit}, not {_short(line.unit)}")
    if line.status == "ok" and not line.samples:
        raise ValueError("samples: there are none, and the status is ok")
    if line.samples and line.status != "ok":
        raise ValueError(f"status: {line.status}, and there are samples")
    least, most = min(line.samples, default=1.0), max(line.samples, default=1.0)
    # Another suite's clock may be too coarse for single samples.
    if least < 0 or (least < SMALLEST and known is not None and known.how == "timed"):
        raise ValueError(f"samples: {least:g} cannot be")
    if known is not None and known.how == "trained" and most > 100:
        raise ValueError(f"samples: {most:g} % cannot be")
    if line.samples and "level" in case and metric in DETAILS and not line.detail:
        raise ValueError("detail: there is none")
    parts = line.detail.get("parts")
    if metric == "breakdown" and isinstance(parts, dict):
        for name, times in parts.items():
            if isinstance(times, list) and len(times) != len(line.samples):
                raise ValueError(f"detail.parts.{_short_name(name)}: not as many as samples")


def _validated(model: type[Any], values: Any, place: str = "") -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, place)) from None


def explain(error: ValidationError, place: str = "") -> str:
    """The first of pydantic's errors in words: "samples.0: input should be a valid number"."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
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
