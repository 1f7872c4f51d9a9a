"""Which files of ours decide a figure, found by following what they import, and what they say. Nothing here is run.

A worker is followed from its own file, so that whatever it comes to use counts from then on. Not followed is what
``DECIDES_NOTHING`` lists. What a file says is its code: comments, docstrings, layout, its name and the places of the
modules that it imports from us may change, and a figure is still the same.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from xbench.attention.loading import with_imports

PACKAGE = Path(__file__).resolve().parents[1]
OURS = (PACKAGE.name, "attention_variants")

WORKER = "xbench.worker.__main__"  # runs models
TRAINING = "xbench.training.__main__"  # trains them
EXPORTING = "xbench.worker.exporting"  # makes what engines run
PROBING = "xbench.probing.__main__"  # trains them on made-up tasks
TURNS = ("xbench.runner.launch", "xbench.runner.workers")  # the controller's part in a time: who runs when
DECIDES_NOTHING = (
    "xbench",  # names alone
    "xbench.errors",  # what is said when there is no figure
    "xbench.records",  # how figures are kept
    "xbench.study",  # what is asked, which is in the case
    "xbench.conformance",  # marks a figure, and measures none
)


def file_of(module: str) -> Path:
    """The file of a module of ours.

    Raises:
        LookupError: there is none; it was moved, and is to be named by its new place here.
    """
    place = PACKAGE.parent.joinpath(*module.split("."))
    found = next(
        (file for file in (place.with_name(f"{place.name}.py"), place / "__init__.py") if file.is_file()), None
    )
    if found is None:
        raise LookupError(f"xbench has no module '{module}'")
    return found


def deciding_files(root: str) -> list[Path]:
    """The file of a module, and those that it imports, directly or not, without ``DECIDES_NOTHING``."""
    return with_imports([file_of(root)], PACKAGE, leave=[file for room in DECIDES_NOTHING for file in files_of(room)])


def files_of(room: str) -> list[Path]:
    """Of a package all files, but of xbench itself the one that only names."""
    file = file_of(room)
    return [*file.parent.rglob("*.py")] if file.name == "__init__.py" and room != PACKAGE.name else [file]


def hash_of(files: Iterable[Path]) -> str:
    """Over what the files say, wherever they lie: the same code has the same hash everywhere."""
    said = {what_it_says(file.read_bytes()) for file in files} - {what_it_says(b"")}
    return hashlib.sha256("".join(sorted(said)).encode()).hexdigest()[:16]


@cache
def what_it_says(content: bytes) -> str:
    """Hash of a file's code. Of what it imports from us the names count, not the modules that they lie in."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest()
    names: set[tuple[str, str | None]] = set()
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                names |= {(alias.name, alias.asname) for s in statements if _is_ours(s) for alias in s.names}
                setattr(node, block, [s for s in statements if not _is_ours(s) and not _is_text(s)])
    return hashlib.sha256(f"{ast.dump(tree)}{sorted(names, key=str)}".encode()).hexdigest()


def _is_ours(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] in OURS


def _is_text(statement: ast.stmt) -> bool:
    """A docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
