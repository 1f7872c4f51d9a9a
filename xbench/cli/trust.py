"""Code that a file names is said before it runs; where nobody installed it, the user is asked, or has said --trust.

What the user types is trusted: he knows what he names. A study, a checkpoint, a baseline or a file of claims may come
from anybody.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from xbench.attention.loading import whose
from xbench.attention.registry import catalogue, facts_of
from xbench.attention.spec import split_spec
from xbench.cli.streams import progress
from xbench.errors import UserError

Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that a file names and nobody installed, without asking.")
]


def allow(attentions: Iterable[str], source: Path, trusted: bool) -> None:
    """Says whose code the attentions that ``source`` names are, and sees that the user agrees. Nothing is imported.

    Raises:
        UserError: there is code from outside the installed packages, and nobody agreed to run it.
    """
    places = {}
    for text in attentions:
        name = split_spec(text)[0]
        if facts_of(name) is None:
            known = catalogue().get(name)
            places[known.target if known else name] = known.owner if known else whose(name)
    outside = [place for place, owner in places.items() if not owner and _is_place(place)]
    for place, owner in places.items():
        if _is_place(place):
            of = owner or "no installed package"
            progress().print(Text(f"{source} names code that will run: {place!r} of {of}."), soft_wrap=True)
    if not outside or trusted:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        named = ", ".join(map(repr, outside))
        raise UserError(
            f"{source} names code that belongs to no installed package: {named}. It can do whatever you can; look at "
            "it, then say --trust to run it."
        )
    if not typer.confirm("It can do whatever you can. Run it?", err=True):
        raise UserError("not run.")


def _is_place(name: str) -> bool:
    """A file or a module; other names that are unknown are refused later."""
    return ":" in name or name.endswith(".py")
