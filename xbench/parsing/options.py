"""Options behind a name, as in "xfa:rank=4,kernel=5": read once, for attentions and for data sets alike.

A value is a number, a word, or several values in brackets, "(3,3)". Where that is allowed it is also one value for each
stage of a model, "8/4/2", or the name of a width that only the model knows.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xbench.errors import UserError, check_readable, unknown_name

LARGEST = 2**53  # beyond it not every whole number is a float


class PerStage(tuple[Any, ...]):
    """A value of an option for each stage."""

    __slots__ = ()


class AsList(tuple[Any, ...]):
    """Several values that were written as a list, and are handed on as one: some constructors insist on it."""

    __slots__ = ()


def read_options(
    what: str,
    kind: str,
    text: str,
    defaults: Mapping[str, Any],
    *,
    widths: Sequence[str] = (),
    per_stage: bool = False,
    several: bool = False,
) -> dict[str, Any]:
    """The options that "name=value,…" sets, each of its default's type.

    Args:
        what: whose options they are, as an error names it: "attention 'xfa:rank=4'".
        kind: what an option of it is called: "option of attention 'xfa'".
        text: what stands behind the name; may be empty.
        defaults: the options there are. A default of None takes any Python literal, or else the text itself.
        widths: words that may stand for a number.
        per_stage: whether "a/b/c" is a value for each stage.
        several: whether several numbers in brackets may stand for one.

    Raises:
        UserError: not of this form, an unknown option, or a value that is not of the option's type.
    """
    check_readable("options", text)
    options = {}
    for part in filter(None, split_outside(text, ",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UserError(f"{what}: write options as name=value, separated by commas; got '{part}'.")
        if key not in defaults:
            raise unknown_name(kind, key, defaults)
        values = list(split_outside(value, "/")) if per_stage else [value]
        read = [_value(what, key, text, defaults[key], widths, several) for text in values]
        options[key] = PerStage(read) if len(read) > 1 else read[0]
    return options


def split_setting(setting: str) -> tuple[str, str]:
    """Name and value of a recipe's setting, "name=value".

    Raises:
        UserError: it is not of that form.
    """
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"a setting of the recipe is written name=value, not '{setting}'.")
    return name, text


def check_limits(name: str, value: float, low: float, high: float) -> None:
    """Refuses a number of a recipe that is not from ``low`` to ``high``.

    Raises:
        UserError: it is not.
    """
    if not low <= value <= high:
        raise UserError(f"{name} of the recipe must lie between {low:g} and {high:g}, not {value}.")


def split_outside(text: str, separator: str) -> Iterator[str]:
    """The parts of the text between separators that stand outside brackets and quotes."""
    began, depth, quote = 0, 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == separator and depth == 0:
            yield text[began:place]
            began = place + 1
    yield text[began:]


def option_text(value: Any) -> str:
    """A value as it is written behind a name."""
    if isinstance(value, PerStage):
        return "/".join(map(option_text, value))
    if isinstance(value, AsList):
        return f"[{','.join(map(option_text, value))}]"
    if isinstance(value, tuple):
        return f"({','.join(map(option_text, value))}{',' * (len(value) == 1)})"
    return str(value)


def _value(what: str, key: str, text: str, default: Any, widths: Sequence[str], several: bool) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UserError(f"{what}: {key} must be true or false, not '{text}'.")
        return text.lower() == "true"
    if isinstance(default, tuple | list) or (several and isinstance(default, int | float) and text[0] in "(["):
        found = _literal(text)
        if not isinstance(found, tuple) or not all(isinstance(number, int | float | str) for number in found):
            raise UserError(f"{what}: {key} must be several values in brackets, as (3,3), not '{text}'.")
        return found
    if isinstance(default, int | float):
        if text in widths:
            return text
        word = "a whole number" if isinstance(default, int) else "a number"
        try:
            number = type(default)(text)
        except ValueError:
            raise UserError(f"{what}: {key} must be {word}, not '{text}'.") from None
        if not abs(number) <= LARGEST:
            raise UserError(f"{what}: {key} must be {word} of at most {LARGEST:,}, not {text}.")
        return number
    if default is None:
        return _literal(text)
    return text


def _literal(text: str) -> Any:
    """The Python literal that the text is, a list as something that has a hash, or else the text."""
    try:
        found = ast.literal_eval(text)
        found = AsList(found) if isinstance(found, list) else found
        hash(found)  # as what is found of a way to build a class is kept by it
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return found


def handed_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a constructor gets them."""
    return {key: list(value) if isinstance(value, AsList) else value for key, value in options.items()}
