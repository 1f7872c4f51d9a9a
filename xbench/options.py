"""Options behind a name, as in "xfa:rank=4,kernel=5": read once, for attentions and for data sets alike."""

import ast
from collections.abc import Mapping
from typing import Any

from xbench.errors import UserError, check_readable, unknown_name

LARGEST = 2**53  # beyond it not every whole number is a float


def read_options(what: str, kind: str, text: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that "name=value,…" sets, each of its default's type.

    Args:
        what: whose options they are, as an error names it: "attention 'xfa:rank=4'".
        kind: what an option of it is called: "option of attention 'xfa'".
        text: what stands behind the name; may be empty.
        defaults: the options there are. A default of None takes any Python literal, or else the text itself.

    Raises:
        UserError: not of this form, an unknown option, or a value that is not of the option's type.
    """
    check_readable("options", text)
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UserError(f"{what}: write options as name=value, separated by commas; got '{part}'.")
        if key not in defaults:
            raise unknown_name(kind, key, defaults)
        options[key] = _value(what, key, value, defaults[key])
    return options


def _value(what: str, key: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UserError(f"{what}: {key} must be true or false, not '{value}'.")
        return value.lower() == "true"
    if isinstance(default, int | float):
        kind = type(default)
        word = "a whole number" if kind is int else "a number"
        try:
            number = kind(value)
        except ValueError:
            raise UserError(f"{what}: {key} must be {word}, not '{value}'.") from None
        if not abs(number) <= LARGEST:
            raise UserError(f"{what}: {key} must be {word} of at most {LARGEST:,}, not {value}.")
        return number
    if default is None:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return value
    return value
