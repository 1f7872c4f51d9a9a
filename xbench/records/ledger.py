"""Records, and the ledger they are kept in: one line of JSON per record, appended in one write and flushed to disk.

Several writers at once are fine. A line torn by a crash, or that is no record for another reason, is skipped with a
warning; what it held is measured again.
"""

import fcntl
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from xbench.errors import UserError
from xbench.records.record import Record

LONGEST_LINE = 2**26  # bytes; a record has some thousand
NAMED = 5  # skipped lines that are named one by one


class Ledger:
    """An append-only file of records.

    Raises:
        UserError: the file cannot be created or written; the message says why.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise UserError(f"cannot write results to {path.parent}: {error.strerror}.") from error

    @contextmanager
    def alone(self, say: Callable[[str], object]) -> Iterator[None]:
        """Within, no other run measures into this file: one that is at it is waited for, which ``say`` is told.

        The kernel takes the lock back however a process ends. Whoever only reads asks for none.

        Raises:
            UserError: the file cannot be locked.
        """
        lock = self._lock(say)
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self, say: Callable[[str], object]) -> int:
        """A run that found nothing out removes its folder as it ends: then the file is made anew."""
        try:
            while True:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        say(f"another run is measuring into {self.path.parent}; waiting for it")
                        fcntl.flock(lock, fcntl.LOCK_EX)
                    if self.path.exists() and os.path.samestat(os.fstat(lock), self.path.stat()):
                        return lock
                except BaseException:
                    os.close(lock)
                    raise
                os.close(lock)
        except OSError as error:
            raise UserError(f"cannot write results to {self.path}: {error.strerror}.") from error

    def append(self, records: Sequence[Record]) -> None:
        """Writes the records and returns when they are on disk."""
        text = "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in records).encode()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    text = b"\n" + text
                written = os.write(descriptor, text)
                if written != len(text):
                    raise OSError(28, "no space left for all of a record")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UserError(f"cannot write results to {self.path}: {error.strerror}.") from error

    def read(self) -> list[Record]:
        """All records of this file, oldest first; see ``read_records``."""
        return read_records([self.path])


def read_records(paths: Iterable[Path]) -> list[Record]:
    """The records of several ledgers, in order. Of what is left out a warning says how much there is of it, and why.

    Raises:
        UserError: a file does not exist or cannot be read.
    """
    records = []
    for path in paths:
        reading = read_ledger(path)
        warn_of(reading.skipped)
        records += reading.records
    return records


@dataclass(frozen=True)
class Skipped:
    """A line of a ledger that is left out, and why."""

    path: Path
    line: int
    why: str


@dataclass(frozen=True)
class Reading:
    """What a ledger holds: records, oldest first, and the lines that are none."""

    records: list[Record]
    skipped: list[Skipped]


class SkippedWarning(UserWarning):
    """Of lines that are left out. The command line shows it at the end."""


def warn_of(skipped: Sequence[Skipped]) -> None:
    """Warns of lines that are left out."""
    if skipped:
        warnings.warn(SkippedWarning(show_skipped(skipped)), stacklevel=2)


def show_skipped(skipped: Sequence[Skipped]) -> str:
    """In a sentence, how many lines are left out; of the first few which, and why."""
    named = [f"{one.path}:{one.line} ({one.why})" for one in skipped[:NAMED]]
    more = [f"{len(skipped) - NAMED:,} more"] if len(skipped) > NAMED else []
    count = "1 line is no record and is" if len(skipped) == 1 else f"{len(skipped):,} lines are no records and are"
    return f"{count} left out: {'; '.join([*named, *more])}."


def read_ledger(path: Path) -> Reading:
    """All that a ledger holds. What is no record of a schema that this version knows is skipped, and so is what repeats
    or contradicts an earlier line: another figure of the same arm, conditions, metric, launch and heat of one run.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    from xbench.records.schema import check, parse  # Not for those who only write.

    records: list[Record] = []
    skipped: list[Skipped] = []
    seen: dict[Any, tuple[int, Record]] = {}
    shared: dict[Any, Any] = {}
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read records from {path}: it is no file.")
        with path.open("rb") as file:
            for number, line in _lines(file):
                try:
                    record = Record.from_dict(check(parse(line), shared))
                    # Cases are shared, so what they are as text is found once.
                    like = shared.setdefault(id(record.case), record)
                    if like is not record:
                        vars(record)["place"] = like.place
                    _check_new(record, number, seen)
                except ValueError as error:
                    skipped.append(Skipped(path, number, str(error)))
                else:
                    records.append(record)
    except OSError as error:
        raise UserError(f"cannot read records from {path}: {error.strerror}.") from error
    return Reading(records, skipped)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that hold anything, with their numbers; of one that is too long its beginning."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)
        if line.strip():
            yield number, line


def _check_new(record: Record, number: int, seen: dict[Any, tuple[int, Record]]) -> None:
    """Raises: ValueError: there is an earlier record of the same launch."""
    if not record.samples:
        return
    identity = (record.run, record.key, record.place, record.metric, record.launch, record.heat)
    earlier, other = seen.setdefault(identity, (number, record))
    if other is not record:
        repeats = other.samples == record.samples
        raise ValueError(f"{'repeats' if repeats else 'contradicts'} line {earlier}, which has the same launch")
