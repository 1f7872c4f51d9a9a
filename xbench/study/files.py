"""A study as a TOML file. Its keys are the fields of a ``StudyRequest``; nothing else is allowed in it."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from xbench.errors import UserError
from xbench.files.reading import read_toml
from xbench.files.writing import check_target, write_file
from xbench.study.request import NUMBERS, StudyRequest, current_names, make_study
from xbench.study.study import Study

LISTS = tuple(field.name for field in fields(StudyRequest) if field.default == ())
WHOLE = ("epochs", "seeds", "workers")


def load_study(path: Path, *, quick: bool = False) -> Study:
    """The study in the file; ``quick`` makes it a look. Its name is the file's, unless it names itself.

    Raises:
        UserError: the file cannot be read or is not TOML, a key is unknown, missing or of the wrong type, or the study
            itself is bad (see ``make_study``).
    """
    request = read_request(path)
    try:
        return make_study(replace(request, quick=quick or request.quick))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_request(path: Path) -> StudyRequest:
    """What the file asks for, each value of the right type. Keys may have their former names; see ``current_names``.

    Raises:
        UserError: as ``load_study``, but for what makes the study itself bad.
    """
    values = current_names(read_toml(path, "the study"), f"key in {path}:")
    for key, value in values.items():
        _check_type(path, key, value)
    return StudyRequest(**{"name": path.stem, **values})


def _check_type(path: Path, key: str, value: Any) -> None:
    expected = list if key in LISTS else bool if key == "quick" else int if key in WHOLE else str
    if not isinstance(value, expected):
        raise UserError(f"{path}: {key} must be a {expected.__name__}, not {value!r}.")
    items = int | str if key in NUMBERS else str
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, items) or isinstance(item, bool):
            raise UserError(f"{path}: {key} cannot hold {item!r}.")


def save_study(request: StudyRequest, path: Path) -> None:
    """Writes down what was asked for, so that ``load_study`` gives the same study.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    check_new(path)
    write_file(path, study_text(request))


def study_text(request: StudyRequest) -> str:
    """The request as TOML: its question, and whatever else was not left to its default."""
    asked = {field.name: getattr(request, field.name) for field in fields(request)}
    kept = {field.name: asked[field.name] for field in fields(request) if asked[field.name] != field.default}
    return tomli_w.dumps({"question": request.question, **kept})


def check_new(path: Path) -> None:
    """Refuses a place where a study cannot be written down: somebody may have worked on one that is there.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    check_target(path, force=True)
    if path.exists():
        raise UserError(f"{path} is there already; name another file, or remove it.")
