"""xbench: change only the attention; what happens to cost, speed and memory, and can the answer be trusted?

    import xbench
    comparison = xbench.compare(attn=["xfa", "mhsa"], res=[1024])
    comparison.frame, comparison.ratios, comparison.plot("throughput")
    xbench.load()  # every run there is, as one table
    model = xbench.build_model("xfa", size="s")

Nothing heavy is imported before it is used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("xbench")
__all__ = ["Comparison", "build_model", "compare", "load", "register_attention"]

_HOMES = {
    "compare": "xbench.api",
    "Comparison": "xbench.api",
    "load": "xbench.analysis.runs",
    "build_model": "xbench.models",
    "register_attention": "xbench.attention",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xbench' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
