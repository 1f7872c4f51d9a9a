"""Another state of the code beside the user's: a commit in a git worktree of its own, from which workers run.

The user's side stays as it is, uncommitted changes included. No torch here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbench.errors import UserError
from xbench.files.temporary import PREFIX, scratch
from xbench.processes.checkout import Checkout
from xbench.regression.probe import WORKERS
from xbench.signals import held

WORKTREE = "code"  # in a temporary folder
RUNNING = Path(__file__).resolve().parents[1]  # the package that this very code is part of
ALWAYS_ASKED = ("vouch", "survey", "build", "memory", "warm_up", "block", "device")


@dataclass(frozen=True)
class Code:
    """What of a study may differ between two checkouts: packages by name, and files as the user wrote them."""

    packages: tuple[str, ...]
    files: tuple[str, ...] = ()


@contextmanager
def checked_out(ref: str, code: Code, case: dict[str, Any], python: str | None = None) -> Iterator[Checkout]:
    """The commit in a worktree, as long as the context lasts; an interrupt removes it too.

    Args:
        ref: whatever git understands as a commit.
        code: what is measured. What of it lies in the user's checkout is taken from the worktree on the other side.
        case: one of those to be measured, as ``Case.flat`` gives it.
        python: the interpreter of that side; this one where none is named.

    Raises:
        UserError: no git repository or no such commit; nothing that is measured lies in the user's checkout, or a part
            of it does not come from where it should; or that commit's worker understands other requests.
    """
    top = Path(git("rev-parse", "--show-toplevel", failing="--against needs a git repository to stand in")).resolve()
    commit = commit_of(ref)
    here = _probe(Checkout("", "", os.getcwd(), (), sys.executable), code, case)
    roots = _own_roots(top, code, here["origins"])
    with scratch(lambda folder: _forget(top, folder / WORKTREE)) as place:
        worktree = place / WORKTREE
        with held():
            _forget_lost(top)
            git("worktree", "add", "--detach", "--quiet", str(worktree), commit, failing=f"cannot check out '{ref}'")
        folder = worktree / Path.cwd().resolve().relative_to(top)
        folder.mkdir(parents=True, exist_ok=True)
        path = tuple(dict.fromkeys(str(worktree / root.relative_to(top)) for root in roots.values()))
        there = Checkout(ref, commit, str(folder), path, python or sys.executable)
        found = _probe(there, code, case)
        _check_origins(ref, worktree, roots, found["origins"])
        _check_protocol(ref, here["requests"], found)
        yield Checkout(ref, commit, there.folder, path, there.python, tuple(found["versions"].items()))


def _forget(top: Path, worktree: Path) -> None:
    """Removes a worktree from the repository, also one that is locked because git was killed while it made it."""
    command = ["git", "worktree", "remove", "--force", "--force", str(worktree)]
    # A leaving may belong to another repository, which its file .git names.
    where = worktree if (worktree / ".git").is_file() else top
    subprocess.run(command, cwd=where, capture_output=True, start_new_session=True)


def _forget_lost(top: Path) -> None:
    """The same of ours that the repository still lists and whose folder somebody has deleted."""
    listed = git("worktree", "list", "--porcelain", failing="cannot list worktrees")
    for line in listed.splitlines():
        place = Path(line.removeprefix("worktree "))
        if place.name == WORKTREE and place.parent.name.startswith(PREFIX) and not place.exists():
            _forget(top, place)


def commit_of(ref: str) -> str:
    """The hash of what git understands as a commit.

    Raises:
        UserError: there is none.
    """
    missing = f"there is no commit '{ref}' here; a shallow clone has to fetch it first"
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", failing=missing)


def git(*arguments: str, failing: str) -> str:
    """What git prints.

    Raises:
        UserError: it is not installed, or refuses; the message begins with ``failing``.
    """
    try:
        # In a session of its own, so that an interrupt from the keyboard does not end it half way.
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, start_new_session=True)
    except FileNotFoundError:
        raise UserError(f"{failing}: git is not installed.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise UserError(f"{failing}{f' (git: {said[-1]})' if said else ''}.") from error
    return done.stdout.strip()


def _probe(checkout: Checkout, code: Code, case: dict[str, Any]) -> dict[str, Any]:
    """What a worker there would find; see ``probe.probe``."""
    asked = json.dumps({"packages": code.packages, "case": case})
    try:
        done = subprocess.run(
            [checkout.python, "-P", str(RUNNING / "regression" / "probe.py"), asked],
            cwd=checkout.folder,
            env=checkout.environment(dict(os.environ)),
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError as error:
        raise UserError(f"cannot run {checkout.python}: {error.strerror}.") from error
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UserError(f"{checkout.python} cannot be asked what it finds: {why}") from error
    return json.loads(done.stdout)


def _own_roots(top: Path, code: Code, origins: dict[str, str]) -> dict[str, Path]:
    """By package, the folder to import it from, of those that lie in the user's checkout.

    Raises:
        UserError: nothing does, or a file can only be the same on both sides; or the checkout has an xbench of its own
            that is not the one that runs.
    """
    found = {name: Path(origin).resolve() for name, origin in origins.items() if origin}
    own = top / "xbench"
    elsewhere = [place for place in (RUNNING, found.get("xbench", "nowhere")) if place != own]
    if any((own / place).is_file() for place in WORKERS) and elsewhere:
        raise UserError(
            f"xbench comes from {elsewhere[0]}, not from this checkout. Set PYTHONPATH={top}, or install this one."
        )
    for file in code.files:
        if Path(file).is_absolute() or not Path(file).resolve().is_relative_to(top):
            raise UserError(f"name {file} by its place in this checkout: each side has to find its own.")
    installed = {"site-packages", "dist-packages"}
    roots = {
        name: origin.parent
        for name, origin in found.items()
        if origin.is_relative_to(top) and not installed & set(origin.parts)
    }
    if not roots and not code.files:
        places = ", ".join(f"{name} ({origin})" for name, origin in found.items())
        raise UserError(
            f"nothing that the study measures lies in this checkout, {top}, but {places}. A package of your own has to "
            "be installed with pip install -e, or lie on PYTHONPATH."
        )
    return roots


def _check_origins(ref: str, worktree: Path, roots: dict[str, Path], origins: dict[str, str]) -> None:
    """Else the user's code would be compared with itself."""
    for name in roots:
        if origins[name] and not Path(origins[name]).resolve().is_relative_to(worktree):
            raise UserError(f"'{name}' is not part of '{ref}': what would be found there is {origins[name]}.")


def _check_protocol(ref: str, ours: dict[str, list[str]], found: dict[str, Any]) -> None:
    theirs, why = found["requests"], found["refused"]
    lacking = [name for name in ALWAYS_ASKED if name not in theirs]
    differing = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    if lacking or differing:
        why = f"its worker does not answer '{(lacking + differing)[0]}' as this one does"
    if why:
        raise UserError(
            f"'{ref}' is too old or too new to take turns with this code: {why}. Compare with a commit nearer to it."
        )
