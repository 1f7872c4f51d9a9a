"""Mistakes a user can mend. Raised anywhere, caught once, in cli.py."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Says what is wrong, what is allowed and what is closest. The command line prints it and exits with 2."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the allowed names and the closest of them."""
    known = sorted(allowed)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UserError(f"unknown {kind} '{name}'.{hint} Allowed: {', '.join(known)}.")
