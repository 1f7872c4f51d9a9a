"""Defaults of a project: [tool.xbench] in the nearest pyproject.toml, and [tool.xbench.VERB] for one verb alone."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xbench.errors import UserError, unknown_name

# What is compared, and where it goes, is named where it is run: a project's file does not run code or write files.
ALLOWED = (
    *("batch", "budget", "data", "device", "direction", "dtype", "images", "level", "memory-limit", "metrics", "mode"),
    *("patch", "policy", "quick", "res", "seeds", "size", "threads", "time-limit", "tokens", "workers"),
)


def with_defaults(words: Sequence[str], options: Mapping[str, Mapping[str, bool]]) -> tuple[list[str], str]:
    """The words of a command line with what the project sets and they do not; and what was added, in words.

    Args:
        options: by verb the names of its options, and whether each may be repeated.

    Raises:
        UserError: the file cannot be read, or sets what no verb has or may be set so.
    """
    file = _file(Path.cwd())
    verb = words[0] if words else ""
    if file is None or verb not in options or "--help" in words:
        return list(words), ""
    before, end, after = _apart(words)
    named = {word.partition("=")[0].removeprefix("--") for word in before if word.startswith("--")}
    added: list[str] = []
    for key, value in _settings(file, verb, options):
        if key not in named and key in options[verb]:
            added += _words(file, key, value, options[verb][key])
    return [*before, *added, *end, *after], f"{file}: {' '.join(added)}" if added else ""


def _file(folder: Path) -> Path | None:
    """The nearest pyproject.toml that has a table of ours."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            try:
                return file if "[tool.xbench" in file.read_text(encoding="utf-8") else None
            except (OSError, UnicodeDecodeError):
                return None
    return None


def _settings(file: Path, verb: str, options: Mapping[str, Mapping[str, bool]]) -> Iterator[tuple[str, Any]]:
    """Those of the verb, then those of all verbs that it does not set itself."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["xbench"]
    except (tomllib.TOMLDecodeError, KeyError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error
    own: dict[str, Any] = {}
    for key, value in table.items():
        if not isinstance(value, dict):
            own.setdefault(_allowed(file, key, ALLOWED), value)
        elif key not in options:
            raise unknown_name(f"verb in {file}:", key, options)
        elif key == verb:
            own |= {_allowed(file, name, [o for o in ALLOWED if o in options[verb]]): v for name, v in value.items()}
    yield from own.items()


def _allowed(file: Path, key: str, allowed: Sequence[str]) -> str:
    name = key.replace("_", "-")
    if name not in allowed:
        raise unknown_name(f"default in {file}:", key, allowed)
    return name


def _words(file: Path, key: str, value: Any, repeatable: bool) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    values = value if isinstance(value, list) else [value]
    if not values or any(not isinstance(one, str | int | float) for one in values):
        raise UserError(f"{file}: {key} is to be a number, a text or a list of them, not {value!r}.")
    if len(values) > 1 and not repeatable:
        raise UserError(f"{file}: {key} takes one value.")
    return [word for one in values for word in (f"--{key}", str(one))]


def _apart(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Before, and from "--" on, after which nothing is an option."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]
