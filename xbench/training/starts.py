"""Where trainings begin: for each model and seed, the weights that an earlier training of it left. Without torch."""

from pathlib import Path
from typing import Any

from xbench.data.chance import fingerprint
from xbench.errors import UserError
from xbench.files.reading import read_json

CONFIG, IN_RUN = "config.json", "training"  # as checkpoints and runs name them
WEIGHTS_DIGEST = "weights_sha256"
MODEL = ("attn", "baseline", "size", "seed")


def start_of(place: Path, attn: str | None, baseline: str | None, size: str, seed: int) -> Path:
    """The folder whose weights a training begins from.

    Args:
        place: of one training, whatever its seed; or of a run, or any folder, that holds some.

    Raises:
        UserError: there is none of that model and seed.
    """
    if (place / CONFIG).is_file():
        return place
    wanted = (attn, baseline, size if attn else None, seed)
    found = {_model(config): folder for folder, config in _trainings(place)}
    if wanted not in found:
        name = f"{attn}, size {size}" if attn else baseline
        raise UserError(f"{place} holds no training of {name} with seed {seed} to begin from; it has {_listed(found)}.")
    return found[wanted]


def digest_of(place: Path) -> str:
    """What all weights are that lie there."""
    folders = [(place, read_json(place / CONFIG, "the configuration"))] if (place / CONFIG).is_file() else []
    return fingerprint(sorted(str(config.get(WEIGHTS_DIGEST)) for _, config in folders or _trainings(place)))


def _trainings(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    inside = place / IN_RUN if (place / IN_RUN).is_dir() else place
    found = []
    for path in sorted(inside.glob(f"*/{CONFIG}")):
        config = read_json(path, "the configuration")
        if isinstance(config, dict) and isinstance(config.get("job"), dict) and WEIGHTS_DIGEST in config:
            found.append((path.parent, config))
    return found


def _model(config: dict[str, Any]) -> tuple[Any, ...]:
    job = config["job"]
    return (job.get("attn"), job.get("baseline"), job.get("size") if job.get("attn") else None, job.get("seed"))


def _listed(found: dict[tuple[Any, ...], Path]) -> str:
    named = [f"{attn or baseline} (seed {seed})" for attn, baseline, _, seed in found]
    return ", ".join(named) or "none"
