"""Training throughput beside timm's own train.py: the same model, pictures and settings, in launches that take turns.

    python tests/trials/training_throughput.py PATH/TO/pytorch-image-models/train.py [launches]

Prints images per second of the second epoch of every launch, and the ratio with its interval over launches.
"""

import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from xbench.statistics.estimates import ratio
from xbench.training.checkpoint import read_config
from xbench.wording.numbers import show_interval

CLASSES, SIDE, BATCH, EPOCHS = 10, 128, 32, 2
MODEL = {"attn": "mhsa", "size": "xxs"}
THREADS = str(os.cpu_count() or 1)
SETTINGS = {"train": 960, "val": 32, "test": 32}


def make_pictures(root: Path) -> None:
    """A folder per split and class, of noise."""
    rng = np.random.default_rng(0)
    for split, count in SETTINGS.items():
        for i in range(count):
            folder = root / split / f"class{i % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (SIDE + 32, SIDE + 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=90)


def ours(root: Path, out: Path) -> float:
    """Images per second of ``xbench train``."""
    command = [sys.executable, "-m", "xbench", "train", "--attn", MODEL["attn"], "--size", MODEL["size"]]
    command += ["--data", f"folder:{root}", "--res", str(SIDE), "--threads", THREADS, "--workers", "1"]
    command += ["--out", str(out), "--recipe", f"epochs={EPOCHS}", f"batch={BATCH}", "warmup=0.5", "ema=0.99"]
    command += ["clip_grad=1", "label_smoothing=0.1", "hflip=0.5", "scale=[0.2, 1.0]", "drop_rate=0"]
    subprocess.run(command, check=True, capture_output=True)
    return read_config(out)["history"][-1]["images_per_second"]


def theirs(train_py: Path, root: Path, out: Path) -> float:
    """Images per second of timm's train.py."""
    command = [sys.executable, __file__, "--as-timm", str(train_py), "--data-dir", str(root), "--val-split", "val"]
    command += ["--model", "xbench_model", "--num-classes", str(CLASSES), "--img-size", str(SIDE), "--device", "cpu"]
    command += ["-b", str(BATCH), "--epochs", str(EPOCHS), "--opt", "adamw", "--lr", "2e-3", "--weight-decay", "0.05"]
    command += ["--clip-grad", "1", "--smoothing", "0.1", "--hflip", "0.5", "--scale", "0.2", "1.0"]
    command += ["--color-jitter", "0", "--warmup-epochs", "1", "--sched-on-updates", "--model-ema"]
    command += ["--model-ema-decay", "0.99", "--workers", "1", "--log-interval", "1", "--output", str(out)]
    command += ["--channels-last"]  # as ours does
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if f"Train: {EPOCHS - 1} [" in line]
    if done.returncode or not lines:
        raise SystemExit(f"timm's train.py failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    mean_seconds = re.search(r"Time: .*?\(([\d.]+)s", lines[-1])
    assert mean_seconds is not None, lines[-1]
    return BATCH / float(mean_seconds[1])


def as_timm(arguments: list[str]) -> None:
    """Runs train.py with our model known to timm."""
    from timm.models import register_model

    from xbench.models import build_model

    def xbench_model(pretrained: bool = False, num_classes: int = 1000, **_: object):
        model = build_model(MODEL["attn"], size=MODEL["size"], num_classes=num_classes)
        model.pretrained_cfg = {"input_size": (3, SIDE, SIDE)}
        return model

    xbench_model.__module__ = "timm.models.xbench_model"
    sys.modules["timm.models.xbench_model"] = type(sys)("timm.models.xbench_model")
    register_model(xbench_model)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    """Both in turn, the first of each launch by turns too."""
    train_py, launches = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 6
    found: dict[str, dict[tuple[str, int, int], list[float]]] = {"xbench": {}, "timm": {}}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "pictures")
        make_pictures(root)
        for launch in range(launches):
            sides = {
                "xbench": lambda launch=launch: ours(root, Path(scratch, f"ours{launch}")),
                "timm": lambda launch=launch: theirs(train_py, root, Path(scratch, f"theirs{launch}")),
            }
            for name in sorted(sides, reverse=bool(launch % 2)):
                found[name]["", launch, 0] = [sides[name]()]
            print(
                f"launch {launch + 1}: " + ", ".join(f"{n} {v['', launch, 0][0]:.1f} img/s" for n, v in found.items())
            )
    print(f"xbench over timm's train.py: {show_interval(ratio(found['xbench'], found['timm']))}")


if __name__ == "__main__":
    as_timm(sys.argv[2:]) if sys.argv[1:2] == ["--as-timm"] else main()
