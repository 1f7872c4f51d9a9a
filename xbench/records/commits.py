"""Commits as git knows them: which comes before which, when each was made, its whole hash."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SHORT = 12  # letters of a hash that a record keeps
DIRTY = "-dirty"


@dataclass(frozen=True)
class Commit:
    """``rank`` rises from the oldest; a commit comes after all that it builds on. ``time`` is in seconds since 1970."""

    hash: str
    rank: int
    time: int


@cache
def repository() -> Path | None:
    """A folder in the checkout that xbench runs from. None outside one, also where another repository lies around it:
    an environment in somebody's project is no part of that project.
    """
    own = Path(__file__)
    command = ["git", "-C", str(own.parent), "ls-files", "--error-unmatch", own.name]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return own.parent


@cache
def known_commits() -> dict[str, Commit]:
    """By the first 12 letters of its hash, every commit of the checkout that xbench runs from; empty outside one."""
    folder = repository()
    if folder is None:
        return {}
    command = ["git", "-C", str(folder), "log", "--all", "--topo-order", "--reverse", "--format=%H %ct"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    lines = (line.split() for line in found.stdout.splitlines())
    return {name[:SHORT]: Commit(name, rank, int(time)) for rank, (name, time) in enumerate(lines)}


def find_commit(recorded: str) -> Commit | None:
    """The commit that a record names, with or without "-dirty"; None where this checkout does not know it."""
    return known_commits().get(recorded.removesuffix(DIRTY)[:SHORT])


def is_dirty(recorded: str) -> bool:
    """Whether the source had changes that were not committed."""
    return recorded.endswith(DIRTY)
