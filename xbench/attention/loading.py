"""Attentions from outside: where a class lies, how it is loaded, and whose it is. No torch here.

A target is "package.module:Class" or "folder/file.py:Class". Installed packages announce theirs by entry points of the
group ``xbench.attention``. Nothing here runs before its target is asked for: an installed plug-in that is broken must
not disturb those who never heard of it.
"""

import ast
import hashlib
import importlib
import inspect
import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache, reduce
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, entry_points
from importlib.metadata import packages_distributions as read_packages_distributions
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from xbench.errors import UserError, unknown_name

ENTRY_POINT_GROUP = "xbench.attention"
OWN = ("xbench", "attention_variants")  # packages that lie beside one another here

packages_distributions = cache(read_packages_distributions)


def installed() -> dict[str, list[EntryPoint]]:
    """The entry points of installed packages, by the name they announce. Nothing is imported."""
    return _installed_on(tuple(sys.path))


@cache
def _installed_on(path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Looking through all installed packages takes milliseconds, and every build of an attention asks."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        same = found.setdefault(point.name, [])
        if point.value not in [other.value for other in same]:
            same.append(point)
    return found


def owner(point: EntryPoint) -> str:
    """ "package 1.0": the distribution that announces the entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def is_file(place: str) -> bool:
    """Whether a target's part before the colon is a file rather than a module."""
    return place.endswith(".py")


def load(target: str) -> Any:
    """The class that a target names, freshly read if its file was changed since.

    Raises:
        UserError: the file or module does not exist or fails while it is imported, or has no such class, or something
            else of that name.
    """
    place, _, path = target.rpartition(":")
    if is_file(target) or not place:
        raise UserError(f"attention '{target}': name the class too, as in {target}:MyAttention{_classes_in(target)}.")
    try:
        module = _load_file(Path(place)) if is_file(place) else _load_module(place)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"attention '{target}': importing '{place}' failed: {error!r}") from error
    try:
        found = reduce(getattr, path.split("."), module)
    except Exception:  # a module may make up its attributes, and fail at it
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise unknown_name(f"class in '{place}'", path, classes) from None
    torch = sys.modules.get("torch")  # without it there is no such class
    if not (inspect.isclass(found) and torch and issubclass(found, torch.nn.Module)):
        what = "another class" if inspect.isclass(found) else f"a {type(found).__name__}"
        raise UserError(f"attention '{target}' is not a torch.nn.Module class but {what}.")
    return found


def _classes_in(target: str) -> str:
    try:
        body = ast.parse(Path(target).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return ""
    names = [node.name for node in body if isinstance(node, ast.ClassDef)]
    return f"; it has {', '.join(names)}" if names else ""


def _load_module(name: str) -> ModuleType:
    # An installed script does not look in the folder it is called from, where a user's own module often lies.
    _look_in(os.getcwd())
    return importlib.import_module(name)


def _load_file(path: Path) -> ModuleType:
    """Runs the file as a module of its own name, so that a file called like a library hides nothing."""
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"there is no file '{path}'.")
    content = path.read_bytes()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__dict__.get("__xbench_content__") == content:
        return loaded
    # Modules beside the file can be imported by it, as when Python runs it as a script.
    _look_in(str(path.parent))
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not by the loader, which may take compiled code of the same second's older text.
        exec(compile(content, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    module.__dict__["__xbench_content__"] = content
    return module


def _look_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)


def origin(target: str) -> dict[str, str]:
    """Whose code a target is: {distribution: version}, or {file: hash of its content} for code that nobody installed.

    Raises:
        UserError: see ``load``.
    """
    place = target.rpartition(":")[0]
    found = None if is_file(place) else _distribution(place.partition(".")[0])
    if found is not None:
        return {found.name: found.version}
    if is_file(place):
        path = Path(place)
    else:
        load(target)
        path = Path(sys.modules[place].__file__ or place)
    label = place if is_file(place) else path.name
    return {label: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"}


def whose(target: str) -> str:
    """ "package 1.0", "Python" or "xbench": what installed a target, "" where nothing did. Nothing is imported."""
    place = target.rpartition(":")[0] or target
    top = place.partition(".")[0]
    if is_file(place) or not top.isidentifier():
        return ""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.origin in ("built-in", "frozen"):
        return "Python"
    origins = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    files = [Path(origin).resolve() for origin in origins]
    found = _distribution(top)
    name = f"{found.name} {found.version}" if found else ""
    if files and all(_lies_in(file, [Path(__file__).parents[2]]) for file in files) and top in OWN:
        return "xbench"
    if files and found and all(_lies_in(file, _editable(found)) for file in files):
        return name
    paths = sysconfig.get_paths()
    packages = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    folders = list(map(Path, packages))
    if files and all(_lies_in(file, folders) for file in files):
        return name or "an installed package"
    library = [Path(paths["stdlib"]), Path(paths["platstdlib"])]
    return "Python" if files and top in sys.stdlib_module_names and all(_lies_in(f, library) for f in files) else ""


def _lies_in(file: Path, folders: Iterable[Path]) -> bool:
    return any(file.is_relative_to(folder.resolve()) for folder in folders)


def _editable(found: Distribution) -> list[Path]:
    """The folder that a package is installed from by "pip install -e"."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        url = urlsplit(origin["url"]) if origin.get("dir_info", {}).get("editable") else None
    except (ValueError, KeyError, AttributeError):
        return []
    return [Path(unquote(url.path))] if url and url.scheme == "file" else []


def _distribution(package: str) -> Distribution | None:
    names = packages_distributions().get(package, [])
    try:
        return distribution(names[0]) if names else None
    except PackageNotFoundError:
        return None


def class_files(cls: type) -> list[Path]:
    """The files of a class and of the classes it derives from; torch's, which its version stands for, are left out."""
    bases = [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in ("torch", "builtins")]
    return list(dict.fromkeys(Path(inspect.getfile(base)).resolve() for base in bases))


def with_imports(paths: list[Path], package: Path, leave: Iterable[Path] = ()) -> list[Path]:
    """The files, and those of the same package or folder that they import, or of ``package``. Read, not run.

    Files of other installed packages are not followed: their version stands for what they import. Those to ``leave``
    are neither taken nor followed.
    """
    waiting, found = list(paths), dict.fromkeys(leave)
    left = len(found)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            if package in path.parents or not {"site-packages", "dist-packages"} & set(path.parts):
                waiting += _imported(path, package)
    return list(found)[left:]


def _imported(path: Path, package: Path) -> Iterator[Path]:
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    own = path.relative_to(root).parts[0]
    for level, name in _import_names(path.read_bytes()):
        parts = name.split(".")
        if level:
            folder = path.parents[level - 1]
        elif parts[0] == package.name:
            folder = package.parent
        elif parts[0] == own or (own == path.name and parts[0] != "xbench"):
            folder = root
        else:
            continue
        place = folder.joinpath(*parts)
        candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
        yield from (candidate.resolve() for candidate in candidates if candidate.is_file())


@cache
def _import_names(content: bytes) -> list[tuple[int, str]]:
    """Whatever may be a module of what a file imports: dots before it, and its name."""
    found: list[tuple[int, str]] = []
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):
        return found
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = f"{node.module}." if node.module else ""
            names = [node.module or "", *(stem + alias.name for alias in node.names)]
            found += [(node.level, name) for name in names if name]
    return found
