"""What trained arms saw in test pictures: drawn when they were trained, and taken into the folder of the report."""

from contextlib import suppress
from pathlib import Path

from xbench.analysis.results import Results
from xbench.files.writing import write_file
from xbench.training.names import ANSWERS

PLACE = "answers"


def take_pictures(results: Results, folder: Path) -> dict[str, Path]:
    """By arm, the picture of its first seed in ``folder``/plots: from the training beside it, or as it was left before.

    Raises:
        UserError: the folder cannot be written.
    """
    found = {}
    for place in results.trained_places():
        for arm in results.arms:
            records = results.seeds(place, arm)
            if not records:
                continue
            first = records[min(records)]
            target = folder / "plots" / f"{PLACE}-{_slug(arm)}-{_slug(place.show_extent())}.png"
            for drawn in sorted((folder / "training").glob(f"*-seed{first.launch}-{first.key}/{ANSWERS}")):
                with suppress(OSError):
                    write_file(target, drawn.read_bytes())
            if target.is_file():
                found[f"{arm}, {place.show_extent()} px"] = target
    return found


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)
