"""Versions of what can change a figure. The standard library alone is imported: others run this file, too."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "timm", "fvcore", "ptflops", "numpy", "triton")


def library_versions() -> dict[str, str]:
    """Of Python and of the libraries that can change a figure, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
