"""A study as a TOML file. Its keys are the arguments of ``study.request.make_study``; nothing else is allowed in it."""

import inspect
from pathlib import Path
from typing import Any

import tomli_w

from xbench.errors import UserError, unknown_name
from xbench.files.reading import read_toml
from xbench.files.writing import check_target, write_file
from xbench.study.request import make_study
from xbench.study.study import Study

ARGUMENTS = inspect.signature(make_study).parameters
LISTS = tuple(name for name, argument in ARGUMENTS.items() if argument.default == ())

NUMBERS = ("res", "tokens", "patch", "batch", "threads")
WHOLE = ("epochs", "seeds", "workers")


def load_study(path: Path, *, quick: bool = False) -> Study:
    """The study in the file; ``quick`` makes it a look. Its name is the file's, unless it names itself.

    Raises:
        UserError: the file cannot be read or is not TOML, a key is unknown, missing or of the wrong type, or the study
            itself is bad (see ``make_study``).
    """
    values = read_asked(path)
    try:
        return make_study(**{**values, "quick": quick or values.get("quick", False)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_asked(path: Path) -> dict[str, Any]:
    """The arguments of ``make_study`` that the file holds, each of the right type, and the study's name.

    Raises:
        UserError: as ``load_study``, but for what makes the study itself bad.
    """
    values = read_toml(path, "the study")
    for key, value in values.items():
        if key not in ARGUMENTS:
            raise unknown_name(f"key in {path}:", key, ARGUMENTS)
        _check_type(path, key, value)
    return {"name": path.stem, **values}


def _check_type(path: Path, key: str, value: Any) -> None:
    expected = list if key in LISTS else bool if key == "quick" else int if key in WHOLE else str
    if not isinstance(value, expected):
        raise UserError(f"{path}: {key} must be a {expected.__name__}, not {value!r}.")
    items = int | str if key in NUMBERS else str
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, items) or isinstance(item, bool):
            raise UserError(f"{path}: {key} cannot hold {item!r}.")


def save_study(asked: dict[str, Any], path: Path) -> None:
    """Writes down what was asked for, so that ``load_study`` gives the same study. What was left to defaults stays out.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    check_new(path)
    question = {"question": ARGUMENTS["question"].default}
    kept = {key: _plain(value) for key, value in asked.items() if value and value != ARGUMENTS[key].default}
    write_file(path, tomli_w.dumps({**question, **kept}))


def check_new(path: Path) -> None:
    """Refuses a place where a study cannot be written down: somebody may have worked on one that is there.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    check_target(path, force=True)
    if path.exists():
        raise UserError(f"{path} is there already; name another file, or remove it.")


def _plain(value: Any) -> Any:
    """Numbers as numbers, so that the file reads as one would write it."""
    if isinstance(value, list):
        return [int(item) if isinstance(item, str) and item.isdigit() else item for item in value]
    return value
