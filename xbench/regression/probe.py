"""What an interpreter finds when it is asked to be a worker. Run as a script, in the environment of that worker.

Neither torch nor anything else of the user's is imported: the answer takes a fraction of a second.
"""

import ast
import json
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any

WORKERS = ("worker/requests.py", "worker.py")  # where a worker's requests stand, in this and in older commits


def probe(packages: list[str], case: dict[str, Any]) -> dict[str, Any]:
    """Where the packages come from, versions of libraries, and the requests that the worker answers.

    ``refused`` says why it does not understand the case, if so.
    """
    # As a worker does, for a module of the user's that nobody installed.
    sys.path.append(os.getcwd())
    origins = {name: _origin(name) for name in packages}
    # By its place: the xbench that is found by its name is the other one.
    software = run_path(str(Path(__file__).parents[1] / "records" / "software.py"))
    return {
        "origins": origins,
        "versions": software["library_versions"](),
        "requests": _requests(),
        "refused": _refusal(case),
    }


def _origin(package: str) -> str:
    """The folder of a package or the file of a module; empty where there is none."""
    spec = find_spec(package)
    if spec is None:
        return ""
    return str(next(iter(spec.submodule_search_locations or ()), spec.origin))


def _requests() -> dict[str, list[str]]:
    """By request, the names of its arguments: the public methods of the worker, read from its file."""
    places = [Path(_origin("xbench"), place) for place in WORKERS]
    file = next((place for place in places if place.is_file()), places[0])
    classes = [node for node in _parse(file) if isinstance(node, ast.ClassDef) and node.name == "Worker"]
    methods = [node for cls in classes for node in cls.body if isinstance(node, ast.FunctionDef)]
    return {
        method.name: sorted(argument.arg for argument in method.args.args[1:])
        for method in methods
        if not method.name.startswith("_")
    }


def _parse(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_bytes()).body if file.is_file() else []


def _refusal(case: dict[str, Any]) -> str:
    try:
        read = _case_class().from_flat(case)
        # Before cases had a request of their own, workers were told all that stands in a record.
        understood = read.request() if hasattr(read, "request") else read.flat()
        return "" if understood == case else "it reads a case as another one"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _case_class() -> Any:
    """That of the xbench that is found, wherever it has it."""
    try:
        return import_module("xbench.study.case").Case
    except ModuleNotFoundError:
        return import_module("xbench.study").Case


if __name__ == "__main__":
    print(json.dumps(probe(**json.loads(sys.argv[1]))))
