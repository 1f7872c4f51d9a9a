"""Where trainings begin: for each model and seed, the weights that an earlier training of it left. Without torch."""

import hashlib
from pathlib import Path
from typing import Any

from xbench.errors import UserError
from xbench.files.reading import read_json

CONFIG, IN_RUN = "config.json", "training"  # as checkpoints and runs name them
WEIGHTS_DIGEST = "weights_sha256"


def start_of(place: Path, attn: str | None, baseline: str | None, size: str, seed: int) -> Path:
    """The folder whose weights a training begins from.

    Args:
        place: of one training of that model, whatever its seed; or of a run, or any folder, that holds some.

    Raises:
        UserError: there is none of that model and seed, or more than one.
    """
    wanted = (attn, baseline, size if attn else None, seed)
    name = f"{attn}, size {size}" if attn else baseline
    if (place / CONFIG).is_file():
        config = read_json(place / CONFIG, "the configuration")
        if not _is_training(config) or _model(config)[:3] != wanted[:3]:
            raise UserError(f"{place} holds no training of {name} to begin from.")
        return place
    trainings = _trainings(place)
    found = [folder for folder, config in trainings if _model(config) == wanted]
    if not found:
        models = (_model(config) for _, config in trainings)
        has = ", ".join(f"{one[0] or one[1]} (seed {one[3]})" for one in models)
        raise UserError(f"{place} holds no training of {name} with seed {seed} to begin from; it has {has or 'none'}.")
    if len(found) > 1:
        named = ", ".join(folder.name for folder in found)
        raise UserError(f"{place} holds several trainings of {name} with seed {seed}: {named}. Begin from one of them.")
    return found[0]


def digest_of(place: Path) -> str:
    """What all weights are that lie there."""
    folders = [(place, read_json(place / CONFIG, "the configuration"))] if (place / CONFIG).is_file() else []
    digests = sorted(str(config.get(WEIGHTS_DIGEST)) for _, config in folders or _trainings(place))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def _trainings(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    inside = place / IN_RUN if (place / IN_RUN).is_dir() else place
    read = ((path.parent, read_json(path, "the configuration")) for path in sorted(inside.glob(f"*/{CONFIG}")))
    return [(folder, config) for folder, config in read if _is_training(config)]


def _is_training(config: Any) -> bool:
    """Whether this is the configuration of one that has left weights."""
    return isinstance(config, dict) and isinstance(config.get("job"), dict) and WEIGHTS_DIGEST in config


def _model(config: dict[str, Any]) -> tuple[Any, ...]:
    job = config["job"]
    return (job.get("attn"), job.get("baseline"), job.get("size") if job.get("attn") else None, job.get("seed"))
