"""Spec strings such as "xfa:rank=4", "package.module:Class" or "./file.py:Class".

An option may have a value for each stage of the model, "linformer:tokens=1024/256/64", or be one of its widths by name,
"package.module:Class:inner=embed_dim"; the words are embed_dim, qkv_dim, num_heads and head_dim. What is built for no
stage, as where it is verified, gets the first value.
"""

import inspect
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbench.attention import loading
from xbench.attention.registry import (
    BUILT_IN_PACKAGE,
    SKELETON_ARGUMENTS,
    built_in,
    describe,
    registered,
)
from xbench.errors import UserError
from xbench.parsing.options import PerStage, handed_on, option_text, read_options, split_outside

if TYPE_CHECKING:
    from torch import nn


WIDTH_WORDS = (*SKELETON_ARGUMENTS, "head_dim")


@dataclass(frozen=True)
class AttentionSpec:
    """A parsed spec string: a name or an import string, and option values. ``str()`` gives its canonical form."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = ",".join(f"{key}={option_text(value)}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name

    def at_stage(self, stage: int = 0, stages: int | None = None) -> "AttentionSpec":
        """The same with the values of one stage, counted from 0, of the ``stages`` that have an attention.

        Raises:
            UserError: an option has a value for each stage, and not for as many as there are.
        """
        options = []
        for key, value in self.options:
            if isinstance(value, PerStage):
                if stages is not None and len(value) != stages:
                    raise UserError(f"attention '{self}': {key} has {len(value)} values for {stages} stages.")
                value = value[stage]
            options.append((key, value))
        return replace(self, options=tuple(options))


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
        named = (part.partition("=")[0] for part in split_outside(tail, ",") if part)
        allowed = dict.fromkeys(named) | allowed
    outside = name not in built_in()
    if outside and name not in registered:
        allowed = {"layout": None} | allowed  # which the adapter takes
    options = read_options(
        f"attention '{text}'",
        f"option of attention '{name}'",
        tail,
        allowed,
        widths=WIDTH_WORDS,
        per_stage=True,
        several=outside,
    )
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
        files = loading.class_files(registered.get(info.name) or loading.load(info.target))
    return loading.with_imports(files, package)


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
    return loading.origin(info.target)


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
    cls = registered.get(parsed.name) or loading.load(info.target)
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
    options = {} if inspect.isclass(parsed) else dict(parsed.at_stage().options)
    widths = {"embed_dim": embed_dim, "qkv_dim": qkv_dim, "num_heads": num_heads}
    widths.update((key, options.pop(key)) for key in SKELETON_ARGUMENTS if key in options)
    name = parsed.__name__ if inspect.isclass(parsed) else str(parsed)
    cls = attention_class(parsed)
    from xbench.attention.adapter import adapt, on_contract

    sizes = {**widths, "head_dim": widths["embed_dim"] // widths["num_heads"]}
    words = {key: value for key, value in options.items() if isinstance(value, str) and value in sizes}
    options |= {key: sizes[word] for key, word in words.items()}
    if not on_contract(cls):
        return _materialised(adapt(cls, name, widths, options, words), widths["embed_dim"])
    try:
        attention = cls(**widths, **handed_on(options))
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"attention '{name}' cannot be built with {widths | options}: {error}") from error
    return _materialised(attention, widths["embed_dim"])


def _materialised(attention: "nn.Module", embed_dim: int) -> "nn.Module":
    """The attention, with layers that wait for a first input to know their width (``nn.LazyLinear``) made real."""
    import torch
    from torch.nn.parameter import is_lazy

    if any(is_lazy(tensor) for tensor in (*attention.parameters(), *attention.buffers())):
        attention.eval()
        with torch.no_grad():
            attention(torch.zeros(1, 64, embed_dim), (8, 8))
        attention.train()
    return attention
