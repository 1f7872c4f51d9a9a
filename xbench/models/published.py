"""What others found a model to be worth: top-1 accuracies of the weights that timm publishes. Nothing of it is ours."""

import csv
from functools import cache
from importlib.resources import files

from xbench.errors import UserError
from xbench.models.baselines import config_of

SOURCE = "timm, results/results-imagenet.csv of 2025-10-30 (Apache-2.0): ImageNet-1k, single crop"


def published_top1(name: str, img_size: tuple[int, int]) -> tuple[float, str]:
    """In %, of a timm model at (height, width) with the weights that timm loads by default; and their name.

    Raises:
        UserError: unknown name, or nothing is published for it at that size.
    """
    config = config_of(name)
    bare = name.partition(".")[0]
    weights = f"{bare}.{config.tag}" if config is not None and config.tag else bare
    height, width = img_size
    found = _table().get((weights, height)) if height == width else None
    if found is None:
        raise UserError(f"timm publishes no top-1 accuracy of {weights} at {height}×{width}.")
    return found, weights


@cache
def _table() -> dict[tuple[str, int], float]:
    text = files("xbench.models").joinpath("published.csv").read_text()
    return {(row["weights"], int(row["img_size"])): float(row["top1"]) for row in csv.DictReader(text.splitlines())}
