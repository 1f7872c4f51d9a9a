"""Brings modules that were not written for xbench onto its contract, by looking at what they take and return.

Arguments are mapped by the signature of ``__init__``:

- the width: the first of ``WIDTHS`` that it has, else the only argument that must be given, ← embed_dim;
- heads: the first of ``HEADS`` ← num_heads; a head's width that must be given ← embed_dim / num_heads;
- an output width that must be given ← embed_dim; ``batch_first`` ← True; ``qkv_dim`` ← qkv_dim.

What else must be given is an option of the spec string. A constructor that takes one object with all settings in it is
refused, with the class to write instead. Arguments of ``forward``: the first is x; of the others that must be given,
those in ``ROWS`` and ``COLS`` are the sides of the grid, those in ``GRIDS`` are (rows, columns), those in ``AGAIN`` are
x once more, as in the cross-attention of x with itself. ``need_weights`` is False. Of several results the first counts.

How the tokens are arranged is found by trying, see ``layouts``.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from xbench.attention.layouts import BY_WORD, Grid, Layout, NoLayoutError, find_layout, reason, wake
from xbench.errors import UserError, unknown_name
from xbench.parsing.options import handed_on, option_text

WIDTHS = (
    *("embed_dim", "dim", "d_model", "embed_dims", "hidden_dim", "hidden_size", "model_dim", "emb_dim", "n_embd"),
    *("channels", "in_channels", "in_chs", "in_chans", "num_channels", "channel", "in_dim", "input_dim", "dim_in"),
    *("in_dims", "in_features", "num_features", "in_planes"),
)
HEADS = (
    *("num_heads", "heads", "nhead", "n_heads", "n_head", "num_attention_heads", "attention_heads", "num_head"),
    *("head_count", "nheads"),
)
HEAD_WIDTHS = ("head_dim", "dim_head", "key_dim", "value_dim", "d_head", "head_size", "dim_per_head")
OUTPUT_WIDTHS = (
    "dim_out",
    "out_dim",
    "output_dim",
    "out_channels",
    "out_features",
    "out_chs",
    "out_dims",
    "out_planes",
)
CONFIGS = ("config", "cfg", "configuration", "conf", "args", "opts", "hparams", "model_args", "model_config")

ROWS = ("h", "height", "rows")
COLS = ("w", "width", "cols", "columns")
GRIDS = (
    *("grid", "grid_size", "feat_size", "hw", "hw_shape", "size", "x_size", "input_size", "resolution"),
    *("patch_resolution", "input_resolution", "spatial_shape"),
)
AGAIN = (
    *("query", "key", "value", "queries", "keys", "values", "q", "k", "v", "kv", "key_value"),
    *("y", "context", "memory", "x_q", "x_k", "x_v", "x_kv"),
)


def on_contract(cls: type[nn.Module]) -> bool:
    """Whether a class takes the contract's three widths by name and its forward takes (x, grid)."""
    try:
        known = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return False
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    second = _positional(cls.forward)[1:2]
    takes_grid = bool(second) and (second[0].name in GRIDS or (second[0].default is second[0].empty and not takes_any))
    return takes_grid and (takes_any or {"embed_dim", "qkv_dim", "num_heads"} <= set(known))


def _positional(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    """What ``forward`` takes by position, after ``self``."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


class Adapted(nn.Module):
    """A foreign module on the contract: [B, N, C] → [B, N, C]. ``mapping`` says in words what became what."""

    def __init__(self, inner: nn.Module, layout: Layout, roles: tuple[str, ...], fixed: dict[str, Any], mapping: str):
        super().__init__()
        self.inner = inner
        self.layout = layout
        self.roles = roles
        self.fixed = fixed
        self.mapping = mapping
        for name in ("macs", "attention_info"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        # x: [B, N, C]
        inside = self.layout.into(x, grid)
        return self.layout.back(self.call(inside, grid), grid)

    def call(self, inside: Tensor, grid: Grid) -> Tensor:
        """What the foreign module returns for x in its own layout; the first of several results."""
        return _call(self.inner, self.roles, self.fixed, inside, grid)


def _call(inner: nn.Module, roles: tuple[str, ...], fixed: dict[str, Any], inside: Tensor, grid: Grid) -> Tensor:
    places = {"x": inside, "rows": grid[0], "cols": grid[1], "grid": grid}
    y = inner(*(places[role] for role in roles), **fixed)
    if isinstance(y, Mapping):
        y = tuple(y.values())
    return y[0] if isinstance(y, tuple | list) and y else y


def adapt(
    cls: type[nn.Module],
    name: str,
    widths: dict[str, int],
    options: dict[str, Any],
    words: dict[str, str] | None = None,
) -> Adapted:
    """An instance of ``cls`` for the widths (embed_dim, qkv_dim, num_heads), on the contract.

    Args:
        words: the options that were given as the name of a width, and that name.

    Raises:
        UserError: an argument that nothing is known to fill, a constructor that refuses, or no layout that works.
    """
    asked = None if _takes(cls, "layout") else options.pop("layout", None)
    if asked is not None and asked not in BY_WORD:
        raise unknown_name(f"layout for attention '{name}':", str(asked), BY_WORD)
    arguments, mapping = _map_arguments(cls, name, widths, options, words or {})
    roles, fixed = _map_forward(cls, name)
    try:
        layout, note, everywhere = _layout_of(cls, arguments, roles, fixed, widths["embed_dim"], asked)
        inner = cls(**handed_on(arguments))
    except NoLayoutError as error:
        hint = _layout_hint(str(error))
        raise UserError(f"attention '{name}' cannot be adapted: {error}{hint}") from None
    call = ", ".join([*roles, *(f"{key}={value}" for key, value in fixed.items())])
    chosen = ", as asked" if asked else ""
    said = f"{mapping}; forward({call}) with x as {layout.name}{chosen}{note}"
    return (Adapted if everywhere else AdaptedToSomeGrids)(inner, layout, roles, fixed, said)


def _layout_hint(problem: str) -> str:
    if "any number of channels" not in problem:
        return ""
    return f" Say where its channels are, as in layout=BNC; there are {', '.join(BY_WORD)}."


class AdaptedToSomeGrids(Adapted):
    """A foreign module that works on some grids only; on others it is refused, rather than failing inside."""

    def call(self, inside: Tensor, grid: Grid) -> Tensor:
        try:
            return super().call(inside, grid)
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
            if "memory" in str(error):
                raise
            where = f"{type(self.inner).__name__} fails on a grid of {grid[0]} x {grid[1]} tokens"
            raise UserError(f"{where}, as on others when it was adapted: {reason(error)}") from error


def _takes(cls: type[nn.Module], argument: str) -> bool:
    try:
        return argument in inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return False


def _map_arguments(
    cls: type[nn.Module], name: str, widths: dict[str, int], options: dict[str, Any], words: dict[str, str]
) -> tuple[dict[str, Any], str]:
    """Arguments of the constructor, and in words where each came from."""
    try:
        known = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        raise UserError(f"attention '{name}' cannot be adapted: what its constructor takes is unknown.") from None
    parameters = {p.name: p for p in known.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    needed = [word for word, p in parameters.items() if p.default is p.empty and word not in options]
    if config := next((word for word in needed if word.lower() in CONFIGS), None):
        raise UserError(_wrapper_to_write(cls, name, parameters[config]))
    found: dict[str, Any] = {}
    said = []

    def fill(argument: str, value: Any, source: str) -> None:
        if argument not in options:
            found[argument] = value
            said.append(f"{argument} ← {source}")

    heads = next((word for word in HEADS if word in parameters), None)
    left = [word for word in needed if word != heads]
    width = next((word for word in WIDTHS if word in left), None)
    width = width or next((word for word in WIDTHS if word in parameters), None)
    if width is None and len(left) == 1:
        width = left[0]
    if width is None and left:
        raise UserError(
            f"attention '{name}' cannot be adapted: its constructor takes ({', '.join(parameters)}), none of which is "
            f"known to be the width of the tokens: {', '.join(WIDTHS)}. Give it as an option: "
            f"{_with_option(name, options, left[0])}embed_dim"
        )
    if width is not None:
        fill(width, widths["embed_dim"], "embed_dim")
    if heads is not None:
        fill(heads, widths["num_heads"], f"num_heads {widths['num_heads']}")
    for word in parameters:
        if word in HEAD_WIDTHS and word in needed:
            fill(word, widths["embed_dim"] // widths["num_heads"], "embed_dim / num_heads")
        elif word in HEAD_WIDTHS and word not in options and parameters[word].default is not None:
            said.append(f"{word} {parameters[word].default}, its default")
        elif word in OUTPUT_WIDTHS and word in needed:
            fill(word, widths["embed_dim"], "embed_dim")
    if "qkv_dim" in parameters:
        fill("qkv_dim", widths["qkv_dim"], f"qkv_dim {widths['qkv_dim']}")
    if "batch_first" in parameters:
        fill("batch_first", True, "True")
    filled = (("embed_dim", width), ("num_heads", heads), ("qkv_dim", "qkv_dim" in parameters))
    if ignored := [word for word, used in filled if not used and word not in words.values()]:
        said.append(f"{' and '.join(ignored)} ignored")
    missing = [word for word in needed if word not in found]
    if missing:
        raise UserError(
            f"attention '{name}' cannot be adapted: nothing is known to fill {', '.join(missing)} of its constructor. "
            f"Give it as an option: {_with_option(name, options, missing[0])}…"
        )
    said += [f"{key} ← {words.get(key, option_text(value))}, as asked" for key, value in options.items()]
    return found | options, ", ".join(said)


def _with_option(name: str, options: dict[str, Any], word: str) -> str:
    return f"{name}{',' if options else ':'}{word}="


def _wrapper_to_write(cls: type[nn.Module], name: str, config: inspect.Parameter) -> str:
    """Why a constructor with a configuration is refused, and the class that makes the configuration."""
    kind = config.annotation if isinstance(config.annotation, str) else getattr(config.annotation, "__name__", "")
    made = f"{kind}(…)" if kind.isidentifier() and kind not in ("_empty", "dict", "Any") else "…"
    return f"""attention '{name}' cannot be adapted: its constructor takes all settings in one object, '{config.name}'.
Write a class that makes this object, in a file of your own, and name that, as ./mine.py:Mine:

    from {cls.__module__} import {cls.__name__}

    class Mine({cls.__name__}):
        def __init__(self, dim, num_heads):
            {config.name} = {made}  # whose width is dim, with num_heads heads
            super().__init__({config.name})"""


def _map_forward(cls: type[nn.Module], name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What each argument of ``forward`` that must be given is: "x", "rows", "cols" or "grid"; and fixed keywords."""
    parameters = inspect.signature(cls.forward).parameters
    fixed = {"need_weights": False} if "need_weights" in parameters else {}
    needed = [p.name for p in _positional(cls.forward) if p.default is p.empty]
    by_keyword = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    roles = ["x"]
    for word in [*needed[1:], *(word for word in by_keyword if word not in fixed)]:
        known = (("rows", ROWS), ("cols", COLS), ("grid", GRIDS), ("x", AGAIN))
        role = next((role for role, words in known if word.lower() in words and word not in by_keyword), None)
        if role is None:
            raise UserError(
                f"attention '{name}' cannot be adapted: its forward takes ({', '.join([*needed, *by_keyword])}), and "
                f"nothing is known to fill '{word}'. Needed is forward(x), with grid, H and W or key and value beside "
                f"x if need be."
            )
        roles.append(role)
    return tuple(roles), fixed


def _layout_of(
    cls: type[nn.Module],
    arguments: dict[str, Any],
    roles: tuple[str, ...],
    fixed: dict[str, Any],
    embed_dim: int,
    asked: str | None,
) -> tuple[Layout, str, bool]:
    """As ``layouts.find_layout``, once for each way to build a class."""
    hashable: Any = cls  # which mypy does not believe of a module class
    return _found_layout(hashable, tuple(arguments.items()), roles, tuple(fixed.items()), embed_dim, asked)


@cache
def _found_layout(
    cls: Any,
    arguments: tuple[tuple[str, Any], ...],
    roles: tuple[str, ...],
    fixed: tuple[tuple[str, Any], ...],
    embed_dim: int,
    asked: str | None,
) -> tuple[Layout, str, bool]:
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(0)
        try:
            inner = cls(**handed_on(dict(arguments)))
            inner.eval()  # on its own: some modules override train() and forget to return themselves
        except Exception as error:
            given = ", ".join(f"{key}={value}" for key, value in arguments)
            raise NoLayoutError(f"{cls.__name__}({given}) fails: {reason(error)}") from None
        wake(inner)
        return find_layout(partial(_call, inner, roles, dict(fixed)), embed_dim, BY_WORD[asked] if asked else None)
