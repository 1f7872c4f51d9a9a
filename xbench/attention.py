"""The attention contract, its registry, and spec strings such as "xfa:rank=4" or "package.module:Class".

An attention is an ``nn.Module`` with

    __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, <own options with defaults>)
    forward(self, x, grid) -> [B, N, C]      x: [B, N, C]; grid = (rows, columns) of tokens, rows · columns = N
    macs(self, grid) -> int                  multiply–accumulates of one sequence, in closed form
    init_weights(self)                       optional; without it the skeleton draws the linear layers' weights

B counts sequences: with patch size p the skeleton forms one sequence per position inside the patch, p² per image.

Built-in attentions are found by *reading* the files of ``attention_variants`` and imported only when built, because
importing torch takes seconds and ``xbench list`` should not.
"""

import ast
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from xbench.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import nn

BUILT_IN_PACKAGE = "attention_variants"
ENTRY_POINT_GROUP = "xbench.attention"
SKELETON_ARGUMENTS = ("embed_dim", "qkv_dim", "num_heads")

AttentionClass = TypeVar("AttentionClass", bound=type)


@dataclass(frozen=True)
class AttentionInfo:
    """What ``xbench list`` says of an attention.

    ``options`` maps an option's name to its default; ``target`` is the "package.module:Class" to import.
    """

    name: str
    target: str
    summary: str = ""
    paper: str = ""
    cost: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AttentionSpec:
    """A parsed spec string: a name or an import string, and option values. ``str()`` gives its canonical form."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.name + (":" + ",".join(f"{key}={value}" for key, value in self.options) if self.options else "")


_registered: dict[str, type] = {}


def register_attention(name: str, *, paper: str, cost: str) -> Callable[[AttentionClass], AttentionClass]:
    """Class decorator that makes an attention known by ``name``.

    Args:
        name: what the user types; no ":" , "," or "=".
        paper: source, with its arXiv id.
        cost: growth of the token mixing in the number of tokens N, for example "O(N)".

    Raises:
        ValueError: another class already has the name.
    """

    def register(cls: AttentionClass) -> AttentionClass:
        known = _registered.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"attention '{name}' is already registered by {known.__module__}:{known.__qualname__}")
        _registered[name] = cls
        cls.attention_info = AttentionInfo(  # type: ignore[attr-defined]
            name=name,
            target=f"{cls.__module__}:{cls.__qualname__}",
            summary=(inspect.getdoc(cls) or "").partition("\n")[0],
            paper=paper,
            cost=cost,
            options=_signature_options(cls),
        )
        return cls

    return register


@cache
def _built_in() -> dict[str, AttentionInfo]:
    package = find_spec(BUILT_IN_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise RuntimeError(f"the package '{BUILT_IN_PACKAGE}' is not installed beside xbench")
    found: dict[str, AttentionInfo] = {}
    for folder in package.submodule_search_locations:
        for path in sorted(Path(folder).glob("[!_]*.py")):
            for info in read_attentions(path, module=f"{BUILT_IN_PACKAGE}.{path.stem}"):
                if info.name in found:
                    raise ValueError(f"attention '{info.name}' stands in {found[info.name].target} and {info.target}")
                found[info.name] = info
    return found


def read_attentions(path: Path, module: str) -> list[AttentionInfo]:
    """The attentions that the file registers, read from its source without running it."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register_attention":
                facts = {str(word.arg): ast.literal_eval(word.value) for word in decorator.keywords}
                found.append(
                    AttentionInfo(
                        name=ast.literal_eval(decorator.args[0]),
                        target=f"{module}:{node.name}",
                        summary=(ast.get_docstring(node) or "").partition("\n")[0],
                        options=_source_options(node),
                        **facts,
                    )
                )
    return found


def _source_options(node: ast.ClassDef) -> dict[str, Any]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
            return {arg.arg: ast.literal_eval(default) for arg, default in pairs if default is not None}
    return {}


def _signature_options(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in SKELETON_ARGUMENTS}


def catalogue() -> dict[str, AttentionInfo]:
    """Every attention known by name: built in, registered in this process, or brought by an installed package.

    Raises:
        UserError: two of them claim one name.
    """
    known = dict(_built_in())
    for name, cls in _registered.items():
        info: AttentionInfo = cls.attention_info  # type: ignore[attr-defined]
        if name in known and known[name].target != info.target:
            raise UserError(f"two attentions are called '{name}': {known[name].target} and {info.target}")
        known[name] = info
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in known and known[point.name].target != point.value:
            other = known[point.name].target
            raise UserError(f"two attentions are called '{point.name}': {other} and {point.value}")
        known.setdefault(point.name, AttentionInfo(name=point.name, target=point.value))
    return known


def parse_attention(text: str) -> AttentionSpec:
    """Parses "name", "name:option=value,…", "package.module:Class" or "package.module:Class:option=value,…".

    Raises:
        UserError: unknown name or option, or a value that is not of the option's type.
    """
    name, _, tail = text.rpartition(":")
    if not name or "=" not in tail:
        name, tail = text, ""
    info = _describe(name)
    options = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UserError(f"attention '{text}': write options as name=value, separated by commas; got '{part}'.")
        # The widths belong to the skeleton, but the number of heads may be asked for here.
        allowed = {**info.options, "num_heads": info.options.get("num_heads", 4)}
        if key not in allowed:
            raise unknown_name(f"option of attention '{name}'", key, allowed)
        options[key] = _option_value(text, key, value, allowed[key])
    return AttentionSpec(name, tuple(sorted(options.items())))


def _option_value(text: str, key: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UserError(f"attention '{text}': {key} must be true or false, not '{value}'.")
        return value.lower() == "true"
    if isinstance(default, int | float):
        kind = type(default)
        try:
            return kind(value)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise UserError(f"attention '{text}': {key} must be {word}, not '{value}'.") from None
    return value


def _describe(name: str) -> AttentionInfo:
    known = catalogue()
    if name in _built_in() or name in _registered:
        return known[name]
    target = known[name].target if name in known else name
    if ":" not in target:
        raise unknown_name("attention", name, known)
    # The options of a plug-in or of an import string are known only once it is imported.
    return AttentionInfo(name=name, target=target, options=_signature_options(_import(target)))


def attention_sources(text: str) -> list[Path]:
    """The files that define an attention: its own, and those of other built-in attentions that it builds on."""
    waiting, found = [_describe(parse_attention(text).name).target.partition(":")[0]], {}
    while waiting:
        module = waiting.pop()
        spec = find_spec(module)
        if module in found or spec is None or not spec.origin or not Path(spec.origin).is_file():
            continue
        found[module] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{BUILT_IN_PACKAGE}."):
                waiting.append(str(node.module))
    return list(found.values())


def _import(target: str) -> "type[nn.Module]":
    module_name, _, class_name = target.partition(":")
    # An installed script does not look in the folder it is called from, where a user's own file often lies.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(f"attention '{target}': importing '{module_name}' failed: {error!r}") from error
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise unknown_name(f"class in module '{module_name}'", class_name, classes)
    return cls


def attention_class(spec: "str | AttentionSpec | type[nn.Module]") -> "type[nn.Module]":
    """The class behind a spec; a class is returned as it is.

    Raises:
        UserError: it does not exist, cannot be imported or is not an ``nn.Module``.
    """
    if inspect.isclass(spec):
        return spec
    parsed = parse_attention(spec) if isinstance(spec, str) else spec
    cls = _registered.get(parsed.name) or _import(_describe(parsed.name).target)
    from torch import nn

    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise UserError(f"attention '{parsed.name}' is not a torch.nn.Module class but {cls!r}.")
    return cls


def build_attention(
    spec: "str | AttentionSpec | type[nn.Module]", *, embed_dim: int, qkv_dim: int, num_heads: int
) -> "nn.Module":
    """An attention for ``embed_dim`` channels, as the spec describes it. The spec's own ``num_heads`` goes first.

    Raises:
        UserError: see ``parse_attention``; or the class refuses its arguments.
    """
    parsed = parse_attention(spec) if isinstance(spec, str) else spec
    options = {} if inspect.isclass(parsed) else dict(parsed.options)
    arguments = {"embed_dim": embed_dim, "qkv_dim": qkv_dim, "num_heads": num_heads, **options}
    try:
        return attention_class(parsed)(**arguments)
    except (TypeError, ValueError) as error:
        name = parsed.__name__ if inspect.isclass(parsed) else parsed
        raise UserError(f"attention '{name}' cannot be built with {arguments}: {error}") from error
