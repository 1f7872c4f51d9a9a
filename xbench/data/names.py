"""Names of data sets: name[:folder][:option=value,…]. Imports no torch, so that a wrong name is refused at once."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xbench.data.scene import CanvasOptions
from xbench.errors import UserError, unknown_name
from xbench.options import read_options

NAMES = ("digits", "canvas", "folder", "wds", "torch/…", "hfds/…")
SPEC = re.compile(r"(?P<name>[^:]+)(?::(?P<root>(?![A-Za-z]\w*=)[^:]*))?(?::(?P<options>[A-Za-z]\w*=.*))?")
PUBLIC_OPTIONS: dict[str, Any] = {
    # Which of the set's own splits to take, by its own words.
    "train": None,
    "val": None,
    "test": None,
    # Share of the shorter side that evaluation keeps.
    "crop": 0.875,
}
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "digits": {},
    "canvas": {option.name: option.default for option in fields(CanvasOptions)},
    "folder": PUBLIC_OPTIONS,
    "wds": PUBLIC_OPTIONS,
    "torch": {"download": False, "crop": PUBLIC_OPTIONS["crop"]},
    "hfds": {**PUBLIC_OPTIONS, "image": "image", "label": "label"},
}


@dataclass(frozen=True)
class DataSpec:
    """A parsed name; ``root`` is the folder it states, if any. ``str()`` gives its canonical form."""

    name: str
    root: Path | None
    options: dict[str, Any]

    @property
    def kind(self) -> str:
        """The name without what stands behind its slash."""
        return self.name.partition("/")[0]

    def option(self, name: str) -> Any:
        return self.options.get(name, OWN_OPTIONS[self.kind][name])

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return ":".join(filter(None, (self.name, str(self.root or ""), options)))


def parse_data(text: str) -> DataSpec:
    """Parses the name of a data set.

    Raises:
        UserError: not of the form, an unknown name or option, or a value that is not of the option's type.
    """
    match = SPEC.fullmatch(text)
    if match is None:
        raise UserError(f"data '{text}': write name[:folder][:option=value,…]; names: {', '.join(NAMES)}.")
    name, root = match["name"], match["root"]
    kind, slash, rest = name.partition("/")
    if kind not in OWN_OPTIONS or bool(slash) != (f"{kind}/…" in NAMES) or (slash and not rest):
        raise unknown_name("data set", name, NAMES)
    if root and kind in ("digits", "canvas"):
        raise UserError(f"data '{text}': '{kind}' comes with xbench and takes no folder.")
    options = read_options(f"data '{text}'", f"option of data set '{kind}'", match["options"] or "", OWN_OPTIONS[kind])
    return DataSpec(name, Path(root) if root else None, options)
