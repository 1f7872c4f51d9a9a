"""The conditions of a comparison in words: what they are, which of them vary, which can be an axis."""

from collections.abc import Container, Sequence
from typing import Any

from xbench.parsing.axes import OWN, show_img_size
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions, axis_value
from xbench.wording.numbers import show_interval

# Conditions that can differ among comparison groups of one level and direction, with their heads in a table. "extent"
# is the size of the image in pixels, or the number of tokens where the attention stands alone.
HEADS = {
    "extent": "input",
    "patch_size": "patch",
    "size": "size",
    "batch": "batch",
    "dtype": "dtype",
    "device": "device",
    "threads": "threads",
}
# Those that are numbers, the first to become an axis first.
AXES = {
    "extent": "resolution [px]",
    "patch_size": "patch size [pixels of the feature map a side]",
    "batch": "batch [images]",
    "threads": "threads of the CPU",
}
LEVELS = {
    "model": "XFormer-{}",
    "block": "XF block of XFormer-{}",
    "layer": "layers of XFormer-{} alone",
    "op": "attention of XFormer-{} alone",
}
TASK_WORDS = {"classify": "", "detect": " detector", "segment": " segmenter"}


def conditions_line(conditions: Conditions, but: Container[str | None] = ()) -> str:
    """ "1024 px · XFormer-s, patch 2 · batch 1 · fp32 · cpu, 2 threads", without the conditions named in ``but``."""
    groups = ["extent"], ["size", "patch_size"], ["direction"], ["batch"], ["dtype"], ["device", "threads"]
    parts = in_words(conditions)
    lines = (", ".join(parts[key] for key in group if parts[key] and key not in but) for group in groups)
    return " · ".join(filter(None, lines))


def in_words(conditions: Conditions) -> dict[str, str]:
    """Each condition as a phrase that stands by itself, empty where there is nothing to say."""
    alone, batch = conditions.alone, conditions.batch
    return {
        "extent": name_extent(show_value(conditions, "extent"), alone),
        "size": LEVELS[conditions.level].format(conditions.size) + TASK_WORDS[conditions.task],
        "patch_size": "" if alone else f"patch {conditions.patch_size}",
        "direction": "training" if conditions.direction == "training" else "",
        "batch": _plural(batch, "sequence") if alone else f"batch {batch}",
        "dtype": conditions.dtype,
        "device": conditions.device,
        "threads": _plural(conditions.threads, "thread"),
    }


def name_extent(size: str, alone: bool) -> str:
    """ "1024 px", "own size", or "N = 4,096" where the attention stands alone: a place's name in tables and plots."""
    if alone:
        return f"N = {size}"
    return "own size" if size == OWN else f"{size} px"


def show_crossing(at: Estimate, alone: bool) -> tuple[str, str]:
    """A place between measured ones, and its interval: ("310 px", "301–321")."""
    text = show_interval(at) if alone else show_interval(at).replace(",", "")
    near, _, interval = text.partition(" (")
    return name_extent(near, alone), interval.rstrip(")")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def value(conditions: Conditions, key: str) -> Any:
    """The condition itself, to compare by."""
    if key != "extent":
        return getattr(conditions, key)
    return conditions.tokens if conditions.alone else conditions.img_size


def number(conditions: Conditions, key: str) -> float:
    """Where on an axis it stands; an image by the side in pixels of the square with as many of them."""
    if key != "extent":
        return float(getattr(conditions, key))
    return axis_value(conditions.extent, "tokens" if conditions.alone else "res")


def show_value(conditions: Conditions, key: str) -> str:
    """As it stands beside an axis, whose label has the unit."""
    found = value(conditions, key)
    if isinstance(found, tuple):
        return show_img_size(found)
    return f"{found:,}" if isinstance(found, int) else str(found)


def show_cell(conditions: Conditions, key: str) -> str:
    """As it stands in the column of a table under its head; of the input, with its unit."""
    return in_words(conditions)[key] if key == "extent" else show_value(conditions, key)


def varying(places: Sequence[Conditions]) -> list[str]:
    """Names of the conditions that take more than one value."""
    return [key for key in HEADS if len({value(place, key) for place in places}) > 1]


def alike(places: Sequence[Conditions]) -> set[str]:
    """Names of the conditions, but for the extent, that read the same at all places."""
    words = [in_words(place) for place in places]
    return {key for key in words[0] if key != "extent" and len({own[key] for own in words}) == 1} if words else set()


def settings(places: Sequence[Conditions]) -> list[list[Conditions]]:
    """The conditions apart by level and direction: what is measured there differs in kind."""
    found: dict[tuple[str, str], list[Conditions]] = {}
    for place in places:
        found.setdefault((place.level, place.direction), []).append(place)
    return list(found.values())
