"""Folders of runs: where they lie, what new ones are called, and which go because nothing was found out in them."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xbench.errors import UserError
from xbench.files.temporary import clear_abandoned, held_folder
from xbench.signals import held

RUNS = Path("results", "runs")
LEDGER, REPORT = "records.jsonl", "report.md"
NAMED_BY_TIME = "[0-9]" * 8 + "-" + "[0-9]" * 6 + "-*"  # as new_folder names them
NOTHING_FOUND = ("tensorboard",)  # folders of a run in which no result lies


@contextmanager
def results_folder(name: str, asked: Path | None = None) -> Iterator[Path]:
    """The folder that a run's results go to: the one asked for, or a new one, which goes if nothing was recorded in it.

    Those of killed runs that recorded nothing go first.

    Raises:
        UserError: no folder can be made.
    """
    if asked is not None:
        yield asked
        return
    with held():
        for folder in RUNS.glob(NAMED_BY_TIME):
            clear_abandoned(folder, drop_unused)
    made = [folder for folder in (RUNS, RUNS.parent) if not folder.exists()]
    try:
        with held_folder(lambda: new_folder(name), drop_unused) as folder:
            yield folder
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def drop_unused(run: Path) -> None:
    """Deletes the folder of a run in which nothing lies that was found out: at most an empty ledger."""
    for path in run.rglob("*"):
        if not path.is_dir() and path.parent.name not in NOTHING_FOUND and (path.name != LEDGER or path.stat().st_size):
            return
    shutil.rmtree(run, ignore_errors=True)


def new_folder(name: str) -> Path:
    """A new folder for a run, named by the time and by what runs.

    Raises:
        UserError: it cannot be made.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    for n in range(1, 1000):
        folder = RUNS / (stem if n == 1 else f"{stem}-{n}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot write results to {folder}: {error.strerror}.") from error
    raise UserError(f"{RUNS} already holds a thousand runs that began at this second.")
