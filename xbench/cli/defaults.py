"""Defaults of a project: [tool.xbench] in the nearest pyproject.toml, and [tool.xbench.VERB] for one verb alone."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from xbench.errors import UserError, unknown_name

# What is compared, and where it goes, is named where it is run: a project's file does not run code or write files.
ALLOWED = (
    *("batch", "budget", "data", "device", "direction", "dtype", "images", "level", "memory-limit", "metrics", "mode"),
    *("patch", "policy", "quick", "res", "seeds", "size", "threads", "time-limit", "tokens", "workers"),
)


Takes = Literal["nothing", "one", "many"]  # of values, after an option


def with_defaults(
    words: Sequence[str], options_of: Callable[[], Mapping[str, Mapping[str, Takes]]]
) -> tuple[list[str], str]:
    """The words of a command line with what the project sets and they do not; and what was added, in words.

    Args:
        options_of: gives by verb the names of its options, and how many values each takes; asked only where a project
            sets any.

    Raises:
        UserError: the file cannot be read, or sets what no verb has or may be set so.
    """
    file, table = _table(Path.cwd()) if words and "--help" not in words else (None, {})
    options = options_of() if file else {}
    if file is None or words[0] not in options:
        return list(words), ""
    verb = words[0]
    before, end, after = _apart(words)
    named = {word.partition("=")[0].removeprefix("--") for word in before if word.startswith("--")}
    added: list[str] = []
    for key, value in _settings(file, table, verb, options).items():
        if key not in named and key in options[verb]:
            added += _words(file, key, value, options[verb][key])
    return [*before, *added, *end, *after], f"{file}: {' '.join(added)}" if added else ""


def _table(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """That of the nearest pyproject.toml which has one of ours, and the file."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        try:
            tool = tomllib.loads(text).get("tool")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            if "xbench" not in text:
                continue
            raise UserError(f"{file} cannot be read: {error}.") from error
        table = tool.get("xbench") if isinstance(tool, dict) else None
        if isinstance(table, dict):
            return file, table
    return None, {}


def _settings(
    file: Path, table: dict[str, Any], verb: str, options: Mapping[str, Mapping[str, Takes]]
) -> dict[str, Any]:
    """Those of the verb, and those of all verbs that it does not set itself."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if not isinstance(value, dict):
            found.setdefault(_allowed(file, key, ALLOWED), value)
        elif key not in options:
            raise unknown_name(f"verb in {file}:", key, options)
        elif key == verb:
            own = [name for name in ALLOWED if name in options[verb]]
            found |= {_allowed(file, name, own): given for name, given in value.items()}
    return found


def _allowed(file: Path, key: str, allowed: Sequence[str]) -> str:
    name = key.replace("_", "-")
    if name not in allowed:
        raise unknown_name(f"default in {file}:", key, allowed)
    return name


def _words(file: Path, key: str, value: Any, takes: Takes) -> list[str]:
    """Each value is one word with its option, so that none of them can be another option."""
    values = value if isinstance(value, list) else [value]
    if takes == "nothing":
        if not isinstance(value, bool):
            raise UserError(f"{file}: {key} is true or false, not {value!r}.")
        return [f"--{key}"] if value else []
    if not values or any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in values):
        raise UserError(f"{file}: {key} is to be a number, a text or a list of them, not {value!r}.")
    if len(values) > 1 and takes == "one":
        raise UserError(f"{file}: {key} takes one value.")
    return [f"--{key}={one}" for one in values]


def _apart(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Before, and from "--" on, after which nothing is an option."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]
