"""Text that only stands there. Names, reasons and paths come from users, files and plug-ins: whatever is in them, it
must not steer a terminal, mark up a page, or make a document invalid.
"""

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from xbench.errors import STEERING

PLACE_HOLDER = "\ufffd"
# What Markdown reads as more than a letter. An underscore within a word is none, but GitHub reads one at an edge.
# A mention, an issue's number and an address become links of their own.
MARKING = re.compile(r"[\\`*\[\]<>~$|]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|@(?=\w)|#(?=\d)|:(?=//)|(?<=www)\.")
NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# What at its begin makes a line a heading, a rule or an item of a list.
LEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#+=-][#=-]*(?:\s|$)))(.)")


def inert(text: str) -> str:
    """The text with what would steer a terminal replaced; tabs and new lines stay."""
    return STEERING.sub(PLACE_HOLDER, text)


def one_line(text: str) -> str:
    """The same as a single line."""
    return " ".join(inert(text).split())


def markdown(text: str) -> str:
    """The text as one line of Markdown that reads as it stands, in a paragraph, an item or a cell of a table."""
    escaped = MARKING.sub(_escape, one_line(text))
    return LEADING.sub(r"\1\\\2", escaped)


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    # Before other letters than these a backslash means nothing, or does not stop GitHub.
    return f"\\{letter}" if letter in "`*[]~_|" else NAMED.get(letter, f"&#{ord(letter)};")


def fenced(text: str, language: str = "") -> str:
    """The text as a block of code, which nothing in it ends."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{inert(text)}\n{fence}"


class InertConsole(Console):
    """A console that shows text as it is: no markup, no emoji, and nothing in it that steers the terminal."""

    def __init__(self, **options: Any):
        super().__init__(**{"markup": False, "emoji": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(inert(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Of rich this ends the process; here whoever writes the file hears of it."""
        raise BrokenPipeError
