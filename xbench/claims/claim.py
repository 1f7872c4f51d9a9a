"""Claims as data: a TOML file says who claims what, how it can be tested, and within which tolerance it holds.

A claim is a sentence with its source. A test of it names a quantity that records or a sheet of paper can give, where it
is taken, and what is accepted. pydantic checks the file; ``replay`` does the testing.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xbench.analysis.results import EXPLANATIONS
from xbench.errors import UserError, unknown_name
from xbench.files.reading import read_toml
from xbench.metrics.definitions import METRICS
from xbench.models.sizes import SIZES
from xbench.parsing.axes import DEVICES, DIRECTIONS, DTYPES, LEVELS, OF_TOKENS, TASKS, parse_img_size
from xbench.study.conditions import Conditions

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """What a file says and no more: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionsPattern(Strict):
    """Where a quantity is taken. What is left out is the default of a study; ``device`` left out is any.

    ``res`` and ``tokens`` are one size, or for an exponent the several that it is read off when it has to be measured.
    """

    level: Literal[LEVELS] = "model"  # type: ignore[valid-type]
    direction: Literal[DIRECTIONS] = "inference"  # type: ignore[valid-type]
    task: Literal[TASKS] = "classify"  # type: ignore[valid-type]
    res: int | str | list[int | str] = []
    tokens: int | list[int] = []
    patch: int = 2
    size: Literal[tuple(SIZES)] = "s"  # type: ignore[valid-type]
    batch: int = 1
    dtype: Literal[DTYPES] = "fp32"  # type: ignore[valid-type]
    device: Literal[DEVICES] | None = None  # type: ignore[valid-type]

    @property
    def sizes(self) -> list[int | str]:
        """The resolutions, or where there is no image the numbers of tokens."""
        found = self.tokens if self.level in OF_TOKENS else self.res
        return list(found) if isinstance(found, list) else [found]

    @model_validator(mode="after")
    def _has_its_sizes(self) -> Self:
        needed, other = ("tokens", self.res) if self.level in OF_TOKENS else ("res", self.tokens)
        if not self.sizes:
            raise ValueError(f"at level {self.level!r} name {needed}")
        if other != []:
            raise ValueError(f"at level {self.level!r} name {needed} alone")
        if self.level not in OF_TOKENS:
            for size in self.sizes:
                try:
                    parse_img_size(size)
                except UserError as error:
                    raise ValueError(str(error)) from error
        return self

    def fits(self, conditions: Conditions, *, any_size: bool = False) -> bool:
        """Whether a comparison ran there; ``any_size`` leaves the resolution or the number of tokens open."""
        asked = {key: getattr(self, key) for key in ("level", "direction", "task", "size", "batch", "dtype")}
        asked |= {"patch_size": 1 if self.level in OF_TOKENS else self.patch}
        if self.device:
            asked["device"] = self.device
        if not any_size and self.level in OF_TOKENS:
            asked["tokens"] = self.sizes[0]
        elif not any_size:
            asked["img_size"] = parse_img_size(self.sizes[0])
        return all(getattr(conditions, key) == value for key, value in asked.items())


class Trial(Strict):
    """What is accepted: ``value`` within ``tolerance``, relative; or ``at_least`` or ``at_most``.

    A test that does not decide is for comparison; it may accept nothing.
    """

    metric: str
    at: ConditionsPattern
    value: Number | None = None
    tolerance: Positive | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    decides: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _says_what_is_accepted(self) -> Self:
        if (self.value is None) != (self.tolerance is None):
            raise ValueError("value and tolerance go together")
        ways = sum(end is not None for end in (self.value, self.at_least, self.at_most))
        if ways > 1 or (self.decides and not ways):
            raise ValueError("say what is accepted: value and tolerance, or at_least, or at_most")
        return self

    @model_validator(mode="after")
    def _knows_its_metrics(self) -> Self:
        known = [name for name in METRICS if name not in EXPLANATIONS]
        for name in self.metrics:
            if name not in known:
                raise ValueError(str(unknown_name("metric", name, known)))
        return self

    @model_validator(mode="after")
    def _is_at_one_place(self) -> Self:
        if not isinstance(self, ExponentTrial) and len(self.at.sizes) != 1:
            raise ValueError("name one size")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that the quantity is made of."""
        return (self.metric,)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that it needs, the reference first; none where it needs all attentions there are."""
        return ()

    @property
    def accepted(self) -> tuple[float, float]:
        """The ends of what is accepted."""
        if self.value is not None and self.tolerance is not None:
            margin = abs(self.value) * self.tolerance
            return self.value - margin, self.value + margin
        low = float("-inf") if self.at_least is None else self.at_least
        return low, float("inf") if self.at_most is None else self.at_most


class FigureTrial(Trial):
    """The figure of one arm, in the unit of its metric."""

    quantity: Literal["figure"]
    arm: Text

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.arm,)


class RatioTrial(Trial):
    """How many times one arm's figure is another's."""

    quantity: Literal["ratio"]
    arm: Text
    to: Text

    @property
    def arms(self) -> tuple[str, ...]:
        return self.to, self.arm


class ExponentTrial(Trial):
    """The power of N with which time, memory or multiply–accumulates of an arm grow; see ``scaling.exponent``."""

    quantity: Literal["exponent"]
    arm: Text

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.arm,)


class RankCorrelationTrial(Trial):
    """Spearman's correlation, over all attentions of a run, of ``metric`` (a rate as time) with another metric."""

    quantity: Literal["rank-correlation"]
    other: str = Field(alias="with")

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.other, self.metric


AnyTrial = Annotated[FigureTrial | RatioTrial | ExponentTrial | RankCorrelationTrial, Field(discriminator="quantity")]


class Claim(Strict):
    """Who says what.

    Attributes:
        by: the source, with its arXiv id and section where they are known.
        basis: "stated" by the source, "reconstructed" by us where it gives no figure, "assumed" by many.
        test: what has to hold, all of it that decides.
        untestable: why there is no test here.
    """

    id: Text
    by: Text
    basis: Literal["stated", "reconstructed", "assumed"]
    sentence: Text
    test: list[AnyTrial] = []
    untestable: str = ""

    @model_validator(mode="after")
    def _is_tested_or_says_why_not(self) -> Self:
        if bool(self.untestable) == any(test.decides for test in self.test):
            raise ValueError("give it a test that decides, or say in untestable why there is none")
        return self


class ClaimsFile(Strict):
    """A file of claims."""

    claim: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [claim.id for claim in self.claim]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two claims have the id '{twice}'")
        return self


def load_claims(path: Path) -> list[Claim]:
    """The claims in a file, in its order.

    Raises:
        UserError: the file cannot be read or is not TOML, or says of a claim what makes no sense; the message names the
            claim, the test and the key.
    """
    values = read_toml(path, "the claims")
    try:
        return ClaimsFile.model_validate(values).claim
    except ValidationError as error:
        raise UserError(_explain(path, values, error.errors()[0])) from error


MODELS: dict[str, type[BaseModel]] = {
    "figure": FigureTrial,
    "ratio": RatioTrial,
    "exponent": ExponentTrial,
    "rank-correlation": RankCorrelationTrial,
}


def _explain(path: Path, values: dict[str, Any], error: Any) -> str:
    """One of pydantic's errors as a sentence: where, what, and for a key that does not exist the closest that does."""
    key = (error["loc"] or ("",))[-1]
    where = [str(path)]
    model: type[BaseModel] = ClaimsFile
    for step, number in zip(error["loc"], error["loc"][1:], strict=False):
        if step == "claim" and isinstance(number, int):
            named = values["claim"][number]
            name = named.get("id") if isinstance(named, dict) else None
            where.append(f"claim '{name}'" if name else f"claim {number + 1}")
            model = Claim
        elif step == "test" and isinstance(number, int):
            where.append(f"test {number + 1}")
        elif step in MODELS:
            model = MODELS[step]
        elif step == "at":
            model = ConditionsPattern
    place = ", ".join(where)
    if error["type"] == "extra_forbidden":
        allowed = [field.alias or name for name, field in model.model_fields.items()]
        return str(unknown_name(f"key in {place}:", str(key), allowed))
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    named = f"{key}: " if isinstance(key, str) and key not in MODELS and error["type"] != "value_error" else ""
    return f"{place}: {named}{message[0].lower()}{message[1:]}."
