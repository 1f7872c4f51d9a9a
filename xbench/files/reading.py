"""Files that users and others hand in, read so that nothing in them ends in more than a message."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from xbench.errors import UserError

LARGEST_FILE = 2**28  # bytes


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file.

    Args:
        what: the file's part in a message: "the study".

    Raises:
        UserError: it cannot be read, or is not TOML.
    """
    text = read_bytes(path, what)
    try:
        return tomllib.loads(text.decode("utf-8").replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path} is not a TOML file: {why}.") from error


def read_json(path: Path, what: str) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        return from_json(read_bytes(path, what), allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file: {error}.") from error


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read, is no file, or is larger than any that we read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read {what} {path}: it is no file.")
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}.") from error
    except ValueError as error:  # a name that no file can have
        raise UserError(f"cannot read {what} {str(path)!r}: {error}.") from error
    if len(text) > LARGEST_FILE:
        raise UserError(f"cannot read {what} {path}: it is larger than {LARGEST_FILE // 2**20} MiB.")
    return text
