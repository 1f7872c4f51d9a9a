"""Folders that must not be left behind: temporary ones, and those of runs that recorded nothing.

Whoever uses such a folder holds a lock on it, which the kernel takes back when the process ends, however it ends. So
the next process knows what a killed one left, and removes it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xbench.errors import UserError
from xbench.signals import held

PREFIX = "xbench-"


@contextmanager
def held_folder(make: Callable[[], Path], remove: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder, locked as long as the context lasts; then ``remove`` puts away of it what is not to stay."""
    with held():
        folder, lock = _locked(make)
    try:
        yield folder
    finally:
        with held():
            remove(folder)
            os.close(lock)


def _locked(make: Callable[[], Path]) -> tuple[Path, int]:
    """Between making and locking it, another process may take the folder for a leaving: then a next one is made."""
    while True:
        folder = make()
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if folder.exists():
                return folder, lock
            os.close(lock)


@contextmanager
def scratch(remove: Callable[[Path], None] = lambda folder: None) -> Iterator[Path]:
    """A temporary folder, gone afterwards. What killed processes left of theirs is removed first.

    Args:
        remove: what else has to be undone for a folder, this one or a leaving, before it is deleted.

    Raises:
        UserError: there is no room for temporary files.
    """

    def clear(folder: Path) -> None:
        remove(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def make() -> Path:
        return Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()

    try:
        with held():
            for folder in Path(tempfile.gettempdir()).resolve().glob(f"{PREFIX}*"):
                clear_abandoned(folder, clear)
        with held_folder(make, clear) as folder:
            yield folder
    except FileNotFoundError as error:
        if error.filename is None:  # of tempfile, which has tried all places
            raise UserError(f"cannot write temporary files: {error.strerror}.") from error
        raise


def clear_abandoned(folder: Path, remove: Callable[[Path], None]) -> None:
    """Removes a folder of this user's whose process has ended; one that is in use or of somebody else stays."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    except BlockingIOError:
        return
    finally:
        os.close(lock)
