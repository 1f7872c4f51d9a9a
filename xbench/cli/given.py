"""What was given for an option or an argument, refused where it makes no sense, before anything is read or measured."""

import math
import re
import stat
from pathlib import Path
from typing import Any

from xbench.errors import UserError

LARGEST = 1e6  # seconds or GiB that a limit may name
SIZE = re.compile(r"(?P<number>[0-9.eE+-]+|nan|inf|-inf)\s*(?P<unit>[A-Za-z]*)")
UNITS = {"": 2**30, "gib": 2**30, "gb": 10**9, "mib": 2**20, "mb": 10**6, "tib": 2**40, "tb": 10**12}  # in bytes


def positive(name: str, value: float | None) -> Any:
    """The value of an option that limits something.

    Raises:
        UserError: it is not a number above 0, or beyond all reason.
    """
    if value is not None and not 0 < value <= LARGEST:
        raise UserError(f"{name} must be a number above 0 and at most {LARGEST:,.0f}, not {value:g}.")
    return value


def size_in_bytes(name: str, text: str | None) -> int | None:
    """The bytes that "4", "4GiB", "4 GB" or "512MiB" stands for; a bare number is of GiB.

    Raises:
        UserError: it is none of these, not above 0, or beyond all reason.
    """
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip())
    unit = match["unit"].lower() if match else ""
    try:
        number = float(match["number"]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or unit not in UNITS or math.isnan(number):
        raise UserError(f"{name} must be a size such as 4GiB, 4GB, 512MiB or 4 (GiB), not '{text}'.")
    positive(name, number * UNITS[unit] / 2**30)
    return int(number * UNITS[unit])


def given_file(path: Path) -> Path:
    """A path that is to be read, unless what lies there is neither a file nor a folder and may never end.

    Raises:
        UserError: it is a pipe, a device or a socket, or no path at all.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return path  # whoever reads it says why it cannot be read
    except ValueError as error:
        raise UserError(f"{str(path)!r} is no path: {error}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is a pipe or a device, not a file.")
    return path


def given_name(run: str) -> str:
    """The same of what may be a path or the name of a run.

    Raises:
        UserError: see ``given_file``.
    """
    given_file(Path(run))
    return run
