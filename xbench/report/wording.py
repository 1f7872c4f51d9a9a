"""Words that the sentences of a report share: where something holds, figures with their intervals, lists."""

from collections.abc import Sequence

from xbench.report.numbers import show_interval
from xbench.results import Results
from xbench.statistics import Estimate
from xbench.sweeps import Conditions, Sweep, show_extent

# How the conditions other than the extent read; a whole model and inference go without saying.
NAMES = {"patch_size": "patch {}", "batch": "batch {}", "dtype": "{}", "threads": "{} threads", "device": "{}"}
UNUSUAL = {"op": "attention alone", "block": "one block", "training": "training"}


def describe(conditions: Conditions, results: Results) -> str:
    """The conditions in words: the extent, what is not usual, and whatever else differs within the results."""
    return ", ".join([show_extent(conditions), *_beside_extent(conditions, results)])


def _beside_extent(conditions: Conditions, results: Results) -> list[str]:
    words = [UNUSUAL[conditions[key]] for key in ("level", "direction") if conditions[key] in UNUSUAL]
    alike = [other for other in results.conditions if other["level"] == conditions["level"]]
    differ = [key for key in NAMES if len({str(other[key]) for other in alike}) > 1]
    return words + [NAMES[key].format(conditions[key]) for key in differ]


def describe_sweep(sweep: Sweep, results: Results) -> str:
    """ "from 256 to 1024 pixels a side, batch 8" or "from 1,024 to 16,384 tokens, attention alone"."""
    first, last = (show_extent(conditions).removesuffix(" tokens") for conditions in (sweep.ends[0], sweep.ends[-1]))
    unit = "tokens" if sweep.axis == "tokens" else "pixels a side"
    return ", ".join([f"from {first} to {last} {unit}", *_beside_extent(sweep.conditions[0], results)])


def bare(estimate: Estimate) -> str:
    """The value, with the digits that its interval earns."""
    return show_interval(estimate).partition(" (")[0]


def span(estimate: Estimate) -> str:
    """The interval, "1.80 to 1.90", or "unknown"."""
    ends = show_interval(estimate).partition(" (")[2].rstrip(")")
    return ends.replace("–", " to ") if ends != "?" else "unknown"


def listing(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
