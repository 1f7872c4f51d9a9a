"""Mistakes a user can mend. Raised anywhere, caught once, in cli/main.py."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# What steers a terminal or a reader's eye instead of being read: C0 but tab and new line, DEL, C1 (of which 0x9b begins
# a command as ESC [ does), marks that turn the direction of writing round, other ends of lines, and halves of
# characters, which stand for bytes that are no text.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(Exception):
    """Says what is wrong, what is allowed and what is closest. The command line prints it and exits with 2."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the allowed names and the closest of them."""
    known = sorted(allowed)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UserError(f"unknown {kind} '{name}'.{hint} Allowed: {', '.join(known)}.")


def check_readable(what: str, text: str) -> None:
    """Refuses a name that is not one line of readable text.

    Raises:
        UserError: it holds a control character or the like.
    """
    if STEERING.search(text) or "\n" in text or "\t" in text:
        raise UserError(f"{what} {text!r} holds a control character; names are one line of readable text.")
