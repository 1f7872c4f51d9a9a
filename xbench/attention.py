"""The attention contract, and spec strings such as "xfa:rank=4", "package.module:Class" or "./file.py:Class".

An attention is an ``nn.Module`` with

    __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, <own options with defaults>)
    forward(self, x, grid) -> [B, N, C]      x: [B, N, C]; grid = (rows, columns) of tokens, rows · columns = N
    macs(self, grid) -> int                  multiply–accumulates of one sequence, in closed form
    init_weights(self)                       optional; without it the skeleton draws the linear layers' weights

B counts sequences: with patch size p the skeleton forms one sequence per position inside the patch, p² per image.
Classes that were not written for this contract are brought onto it by ``adapter``.
"""

import inspect
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbench import plugins
from xbench.errors import UserError
from xbench.options import read_options
from xbench.registry import BUILT_IN_PACKAGE, SKELETON_ARGUMENTS, built_in, describe, register_attention, registered

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "AttentionSpec",
    "attention_class",
    "attention_facts",
    "attention_origin",
    "attention_sources",
    "build_attention",
    "parse_attention",
    "register_attention",
    "split_spec",
]


@dataclass(frozen=True)
class AttentionSpec:
    """A parsed spec string: a name or an import string, and option values. ``str()`` gives its canonical form."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.name + (":" + ",".join(f"{key}={value}" for key, value in self.options) if self.options else "")


def parse_attention(text: str) -> AttentionSpec:
    """Parses "name", "package.module:Class" or "folder/file.py:Class", each with or without ":option=value,…".

    A plug-in that an installed package announces and that cannot be imported parses too; building it fails.

    Raises:
        UserError: unknown name or option, a value that is not of the option's type, or a class that cannot be imported.
    """
    name, tail = split_spec(text)
    info = describe(name)
    # The widths belong to the skeleton, but the number of heads may be asked for here.
    allowed = {**info.options, "num_heads": info.options.get("num_heads", 4)}
    if info.problem:
        # What cannot be imported cannot say which options it takes.
        named = (part.partition("=")[0] for part in tail.split(",") if part)
        allowed = dict.fromkeys(named) | allowed
    options = read_options(f"attention '{text}'", f"option of attention '{name}'", tail, allowed)
    return AttentionSpec(name, tuple(sorted(options.items())))


def split_spec(text: str) -> tuple[str, str]:
    """The name or place, and the options as they are written."""
    name, _, tail = text.rpartition(":")
    return (name, tail) if name and "=" in tail else (text, "")


def attention_sources(text: str) -> list[Path]:
    """The files that define an attention: its class's, its bases', and what they import from beside them.

    Nothing for a plug-in that cannot be imported.
    """
    info = describe(parse_attention(text).name)
    if info.problem:
        return []
    package = Path(str(find_spec(BUILT_IN_PACKAGE).origin)).parent  # type: ignore[union-attr]
    if info.name in built_in():
        files = [package / f"{info.target.partition(':')[0].rpartition('.')[2]}.py"]
    else:
        files = plugins.class_files(registered.get(info.name) or plugins.load(info.target))
    return plugins.with_imports(files, package)


def attention_facts(text: str) -> dict[str, str]:
    """Cost and memory in N that an attention from outside states, for its records; nothing for a built-in one."""
    info = describe(parse_attention(text).name)
    stated = {} if info.name in built_in() else {"cost": info.cost, "memory": info.memory}
    return {key: value for key, value in stated.items() if value}


def attention_origin(text: str) -> dict[str, str]:
    """Whose code an attention from outside is, {distribution: version} or {file: hash}; nothing for a built-in one."""
    info = describe(parse_attention(text).name)
    if info.problem or info.name in built_in() or info.name in registered:
        return dict([info.owner.rsplit(" ", 1)]) if info.owner else {}
    return plugins.origin(info.target)


def attention_class(spec: "str | AttentionSpec | type[nn.Module]") -> "type[nn.Module]":
    """The class behind a spec; a class is returned as it is.

    Raises:
        UserError: it does not exist, cannot be imported or is not an ``nn.Module``.
    """
    if inspect.isclass(spec):
        return spec
    parsed = parse_attention(spec) if isinstance(spec, str) else spec
    info = describe(parsed.name)
    if info.problem:
        raise UserError(f"attention '{parsed.name}' of {info.owner} cannot be used: {info.problem}")
    cls = registered.get(parsed.name) or plugins.load(info.target)
    from torch import nn

    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise UserError(f"attention '{parsed.name}' is not a torch.nn.Module class but {cls!r}.")
    return cls


def build_attention(
    spec: "str | AttentionSpec | type[nn.Module]", *, embed_dim: int, qkv_dim: int, num_heads: int
) -> "nn.Module":
    """An attention for ``embed_dim`` channels, as the spec describes it. The spec's own ``num_heads`` goes first.

    A class that does not take the contract's three widths is wrapped, see ``adapter``.

    Raises:
        UserError: see ``parse_attention``; or the class refuses its arguments, or cannot be adapted.
    """
    parsed = parse_attention(spec) if isinstance(spec, str) else spec
    options = {} if inspect.isclass(parsed) else dict(parsed.options)
    widths = {"embed_dim": embed_dim, "qkv_dim": qkv_dim, "num_heads": num_heads}
    widths.update((key, options.pop(key)) for key in SKELETON_ARGUMENTS if key in options)
    name = parsed.__name__ if inspect.isclass(parsed) else str(parsed)
    cls = attention_class(parsed)
    from xbench.adapter import adapt, on_contract

    if not on_contract(cls):
        return adapt(cls, name, widths, options)
    try:
        return cls(**widths, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"attention '{name}' cannot be built with {widths | options}: {error}") from error
