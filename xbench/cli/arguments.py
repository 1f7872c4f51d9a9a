"""The words behind a verb, made what Typer understands: several values of an option, and options' former names."""

import os
import shlex
import sys
from typing import Any

from typer.core import TyperCommand

from xbench.cli.streams import progress
from xbench.parsing.former import STUDY_NAMES

# By verb, what options were called before. One that is now a switch is meant where a file follows it.
COMPARED = {f"--{old}": f"--{new}" for old, new in STUDY_NAMES.items()}
FORMER = {
    "compare": COMPARED,
    "sweep": COMPARED,
    "train": {"--baseline": COMPARED["--baseline"]},
    "check": {"--json": "--json-file"},
}


class ManyValues(TyperCommand):
    """Lets a repeatable option take several values at once, ``--attn xfa mhsa`` for ``--attn xfa --attn mhsa``; and
    understands what options were called before.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        flags = {name for option in self.params if getattr(option, "is_flag", False) for name in option.opts}
        args = current_spelling(args, FORMER.get(self.name or "", {}), flags)
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return super().parse_args(ctx, one_value_each(args, repeatable))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Also of the second and further values of an option, which the shell's words tell of."""
        words = (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")).split()
        last = next((word for word in reversed(words) if word.startswith("--")), "")
        option = next((one for one in self.params if last in one.opts and getattr(one, "multiple", False)), None)
        if option is not None and not incomplete.startswith("-"):
            return option.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


def one_value_each(args: list[str], repeatable: set[str]) -> list[str]:
    """The words, with a repeatable option's name before each of its values. What follows "--" stays."""
    expanded: list[str] = []
    current = None
    for i, arg in enumerate(args):
        if arg == "--":
            return expanded + args[i:]
        name, equals, _ = arg.partition("=")
        if arg.startswith("-") and not _is_number(arg):
            current = name if name in repeatable else None
            expanded.append(arg)
            fresh = not equals
        elif current is not None:
            expanded += [arg] if fresh else [current, arg]
            fresh = False
        else:
            expanded.append(arg)
    return expanded


def current_spelling(args: list[str], former: dict[str, str], flags: set[str]) -> list[str]:
    """The words with options as they are called now; says of each that was called otherwise, once, what that is.

    Args:
        former: the name of an option by what it was called before.
        flags: options that take no value now. Where a file follows one that did, it is meant as before; unless it is
            TOML, which is a study.
    """
    spelled: list[str] = []
    said: dict[str, None] = {}
    for i, arg in enumerate(args):
        if arg == "--":
            spelled += args[i:]
            break
        name, equals, value = arg.partition("=")
        following = "".join(args[i + 1 : i + 2])
        has_file = equals or (following and not following.startswith("-") and not following.endswith(".toml"))
        if name in former and (name not in flags or has_file):
            operand = " FILE" if name in flags else ""
            said[f"{name}{operand} is now {former[name]}{operand}."] = None
            name = former[name]
        spelled.append(f"{name}{equals}{value}")
    for sentence in said:
        progress().print(sentence, highlight=False, soft_wrap=True)
    return spelled


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def command_line() -> str:
    """What the user typed, fit to be typed again."""
    return shlex.join(["xbench", *sys.argv[1:]])
