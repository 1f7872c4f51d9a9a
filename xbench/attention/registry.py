"""Which attentions there are: built in, registered in this process, brought by installed packages, or named by place.

Built-in attentions are found by *reading* the files of ``attention_variants`` and imported only when built, because
importing torch takes seconds and ``xbench list`` should not. What comes from outside is loaded by ``loading``.
"""

import ast
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from xbench.attention import loading
from xbench.errors import UserError, unknown_name

BUILT_IN_PACKAGE = "attention_variants"
SKELETON_ARGUMENTS = ("embed_dim", "qkv_dim", "num_heads")
EXPONENTS = {"1": 0.0, "N": 1.0, "N log N": 1.0, "N√N": 1.5, "N²": 2.0, "N³": 3.0}

AttentionClass = TypeVar("AttentionClass", bound=type)


@dataclass(frozen=True)
class AttentionInfo:
    """What ``xbench list`` says of an attention.

    ``options`` maps an option's name to its default; ``target`` is the "package.module:Class" to import. ``owner`` is
    the installed package that brings it, and ``problem`` why it cannot be used. ``register_attention`` explains the
    others.
    """

    name: str
    target: str
    summary: str = ""
    paper: str = ""
    cost: str = ""
    memory: str = ""
    computes: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    problem: str = ""


registered: dict[str, type] = {}


def register_attention(
    name: str, *, paper: str, cost: str, memory: str = "", computes: str = ""
) -> Callable[[AttentionClass], AttentionClass]:
    """Class decorator that makes an attention known by ``name``.

    Args:
        name: what the user types; no ":" , "," or "=".
        paper: source, with its arXiv id.
        cost: growth of the token mixing in the number of tokens N, for example "O(N)".
        memory: growth of its memory in N, where that is not the same.
        computes: name of the attention whose function this one evaluates in another way, at the same parameters.

    Raises:
        ValueError: another class already has the name.
    """

    def register(cls: AttentionClass) -> AttentionClass:
        known = registered.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"attention '{name}' is already registered by {known.__module__}:{known.__qualname__}")
        registered[name] = cls
        cls.attention_info = AttentionInfo(  # type: ignore[attr-defined]
            name=name,
            target=f"{cls.__module__}:{cls.__qualname__}",
            summary=(inspect.getdoc(cls) or "").partition("\n")[0],
            paper=paper,
            cost=cost,
            memory=memory,
            computes=computes,
            options=_signature_options(cls),
        )
        return cls

    return register


@cache
def built_in() -> dict[str, AttentionInfo]:
    """The attentions of ``attention_variants``, read from their files."""
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

    Of what a package brings, only the name and where it lies are known: it is not imported. A name that exists
    already stays what it was; see ``catalogue_in_full``. A name that two packages claim has a ``problem``.

    Raises:
        UserError: a class registered in this process has the name of a built-in attention, or one of those known
            computes an attention that does not exist.
    """
    known = dict(built_in())
    for name, cls in registered.items():
        info: AttentionInfo = cls.attention_info  # type: ignore[attr-defined]
        if name in known and known[name].target != info.target:
            raise UserError(f"two attentions are called '{name}': {known[name].target} and {info.target}")
        known[name] = info
    for name, points in loading.installed().items():
        if name not in known:
            claims = " and ".join(f"{point.value} of {loading.owner(point)}" for point in points)
            problem = f"two packages claim this name: {claims}. Name one so." if len(points) > 1 else ""
            known[name] = AttentionInfo(name, points[0].value, owner=loading.owner(points[0]), problem=problem)
    for info in known.values():
        if info.computes and info.computes not in known:
            raise unknown_name(f"attention, which '{info.name}' computes:", info.computes, known)
    return known


def catalogue_in_full() -> list[AttentionInfo]:
    """The catalogue by name, with what packages bring imported and described; what cannot be used has a ``problem``."""
    known = catalogue()
    rows = [_describe_plugin(info) if info.owner else info for info in known.values()]
    for name, points in loading.installed().items():
        for point in points:
            if _shadowed(name, point):
                problem = f"'{name}' is {known[name].target}; name this one {point.value}."
                rows.append(AttentionInfo(name, point.value, owner=loading.owner(point), problem=problem))
    return sorted(rows, key=lambda info: info.name)


def _shadowed(name: str, point: Any) -> bool:
    """Whether an entry point's name means something else: not it, nor the class it gives, registered on import."""
    if name in built_in():
        return built_in()[name].target != point.value
    try:
        return name in registered and loading.load(point.value) is not registered[name]
    except UserError:
        return True


def describe(name: str) -> AttentionInfo:
    """An attention by name or place, with its options; imported where that is the only way to know them.

    Raises:
        UserError: it does not exist, or a place that the user named cannot be imported.
    """
    known = catalogue()
    info = known.get(name)
    if info is None:
        if ":" not in name and not loading.is_file(name):
            raise unknown_name("attention", name, known)
        return AttentionInfo(name, name, options=_outside_options(loading.load(name)))
    if info.owner:
        return _describe_plugin(info)
    for point in loading.installed().get(name, []):
        if _shadowed(name, point):
            warnings.warn(
                f"'{name}' is {info.target}; the one of {loading.owner(point)} is {point.value}", stacklevel=2
            )
    return info


def _describe_plugin(info: AttentionInfo) -> AttentionInfo:
    """What a package brings, in full: imported, unless it is known to be unusable. A failure becomes its problem."""
    if info.problem:
        return info
    try:
        cls = loading.load(info.target)
    except UserError as error:
        return replace(info, problem=str(error))
    own = getattr(cls, "attention_info", AttentionInfo("", "", summary=(inspect.getdoc(cls) or "").partition("\n")[0]))
    facts = {key: getattr(own, key) for key in ("summary", "paper", "cost", "memory", "computes")}
    return replace(info, **facts, options=_outside_options(cls))


def _outside_options(cls: Any) -> dict[str, Any]:
    """Options of a class from outside. One without a default, which the skeleton may not know to fill, is None here."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: None if p.default is p.empty else p.default for p in named if p.name not in SKELETON_ARGUMENTS}


def facts_of(name: str) -> AttentionInfo | None:
    """What is known here of an attention by its name alone: built in, or registered in this process. Nothing is
    imported, so that records, which come from anywhere, may name it.
    """
    if name in registered:
        return registered[name].attention_info  # type: ignore[attr-defined]
    return built_in().get(name)


def stated_exponent(cost: str) -> float | None:
    """ "O(N²)" → 2.0; None where the form is unknown. Factors without N do not matter."""
    inside = re.fullmatch(r"O\((.*)\)", cost.strip())
    if inside is None:
        return None
    for form, value in EXPONENTS.items():
        if inside[1].replace("·", " ").split() == form.split():
            return value
    power = re.fullmatch(r"N(?:\^|\*\*)([\d.]+)", inside[1].strip())
    return float(power[1]) if power else None
