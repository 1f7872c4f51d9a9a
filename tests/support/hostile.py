"""The hostile inputs of hostile_inputs.json as files, and what the verbs that read them do.

    python tests/support/hostile.py

hands them to the verbs one by one, and says how many ended in a message, how many were read or skipped, and how many
in a traceback, or in code that ran.
"""

import json
import os
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from copy import deepcopy
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from made_records import MadeArm, launches
from typer.testing import CliRunner

from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.training.request import make_job

INPUTS = json.loads((Path(__file__).parent / "hostile_inputs.json").read_text())
RAN = "code-ran"  # a file that the attention in evil.py leaves
EVIL = f"open({RAN!r}, 'a').write('x')\nclass X: pass\n"
READERS = [["show"], ["show", "rr"], ["report", "rr", "-o", "page.html"], ["history", "rr", "-o", "charts"]]
READERS += [["export", "rr", "--format", form, "-o", f"out-{form}"] for form in ("pytest-benchmark", "bmf", "asv")]
JOB = {"data": "digits", "img_size": [32, 32], "attn": "xfa", "baseline": None, "size": "xxs", "patch_size": 2}
AUGMENTATION = {"auto_augment": None, "color_jitter": 0.0, "random_erasing": 0.0, "hflip": 0.0, "scale": None}
AUGMENTATION |= {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0}
RECIPE = {"epochs": 1, "batch": 64, "optimizer": "adamw", "lr": 0.002, "min_lr": 0.01, "warmup_lr": 0.01, "warmup": 0.1}
RECIPE |= {"schedule": "cosine", "weight_decay": 0.05, "clip_grad": 1.0, "label_smoothing": 0.1, "drop_rate": 0.0}
RECIPE |= {"drop_path_rate": 0.0, "ema": 0.0, "dtype": "fp32", "augmentation": AUGMENTATION}
CONFIG = {"job": JOB | {"recipe": RECIPE, "seed": 0, "device": "cpu", "threads": 1, "workers": 0}, "history": []}
TRAIN = ["train", "--attn", "xfa", "--size", "xxs", "--res", "32", "--threads", "1", "--epochs", "1", "--out", "tr"]


def good_lines() -> list[str]:
    """What the hostile line lies among: three launches of two arms."""
    arms = [MadeArm("mhsa"), MadeArm("xfa", attn="xfa")]
    return [json.dumps(asdict(record)) for arm in arms for record in launches(arm, [4.0, 4.1, 4.2])]


def content(entry: dict[str, Any], base: Any = None) -> bytes:
    """The bytes of an input: its text, something repeated, or ``base`` with fields changed."""
    if "text" in entry:
        text = entry["text"]
        return text.encode().decode("unicode_escape").encode("latin-1") if entry.get("bytes") else text.encode()
    if "repeat" in entry:
        part, times = entry["repeat"]
        return (entry.get("before", "") + part * times + entry.get("after", "")).encode()
    values = deepcopy(base)
    for path, value in {**entry.get("set", {}), **entry.get("copy", {})}.items():
        _put(values, path, value)
    if "drop" in entry:
        del values[entry["drop"]]
    for kind in ("digits", "raw", "nested"):
        if kind in entry:
            path, what = entry[kind]
            _put(values, path, "PLACE")
            own = what if kind == "raw" else "9" * what if kind == "digits" else "[" * what + "]" * what
            return json.dumps(values).replace('"PLACE"', own).encode()
    return json.dumps(values).encode()


def _put(values: Any, path: str, value: Any) -> None:
    *above, last = path.split(".")
    for step in above:
        values = values[int(step)] if isinstance(values, list) else values.setdefault(step, {})
    if isinstance(values, list):
        values[int(last)] = value
    else:
        values[last] = value


def line(entry: dict[str, Any]) -> bytes:
    """A hostile line: the first one again where it is a copy, else one of a launch that no other line has."""
    base = json.loads(good_lines()[0])
    return content(entry, base if "copy" in entry else {**base, "launch": 3, "run": entry["name"][:20]})


def prepare(folder: Path) -> None:
    """A run "rr" with a file of code in it, in the folder of runs, too."""
    (folder / "rr").mkdir()
    (folder / "rr" / "evil.py").write_text(EVIL)
    (folder / "results").mkdir()
    (folder / "results" / "runs").symlink_to(folder)


def write_run(folder: Path, *lines: bytes) -> None:
    """Records of "rr": good ones, and these between them."""
    first, *rest = (text.encode() for text in good_lines())
    (folder / "rr" / "records.jsonl").write_bytes(b"\n".join([first, *lines, *rest]) + b"\n")


def commands(kind: str, entry: dict[str, Any], folder: Path) -> list[list[str]]:
    """The verbs that read an input, which is written where they look for it."""
    if kind == "records":
        write_run(folder, line(entry))
        return READERS
    write_run(folder)
    if kind == "configs":
        (folder / "ck").mkdir(exist_ok=True)
        (folder / "ck" / "config.json").write_bytes(content(entry, CONFIG))
        (folder / "ck" / "weights.safetensors").write_bytes(EMPTY_WEIGHTS)
        return [["evaluate", "ck"]]
    if kind == "resumes":
        write_resume(folder / "tr", entry)
        return [TRAIN]
    name, verb = {
        "studies": ("s.toml", ["run", "s.toml", "--dry-run"]),
        "claims": ("c.toml", ["claims", "c.toml", "--from", "rr"]),
        "imports": ("b.json", ["import", "b.json", "--out", "imported"]),
    }[kind]
    (folder / name).write_bytes(content(entry))
    if kind == "studies":
        (folder / "base").mkdir(exist_ok=True)
        (folder / "base" / "study.toml").write_bytes(content(entry))
        write_run(folder)
        (folder / "base" / "records.jsonl").write_bytes((folder / "rr" / "records.jsonl").read_bytes())
        return [verb, ["check", "--baseline", "base"]]
    return [verb]


def write_resume(run: Path, entry: dict[str, Any]) -> None:
    """What a killed training left: torch's archive with fields changed, cut off or of another pickle; or no file."""
    run.mkdir()
    place = run / "resume.pt"
    if "kind" in entry:
        {"folder": Path.mkdir, "pipe": os.mkfifo}[entry["kind"]](place)
        return
    if "text" in entry:
        place.write_bytes(content(entry))
        return
    job = make_job("xfa", None, "digits", "32", 2, "xxs", 1, [], 0, "cpu", 1, 0).as_dict()
    state = {"job": job, "model": {}, "optimizer": {}, "history": [{"epoch": 1, "loss": 1.0}], "data_order": ""}
    for path, value in entry.get("set", {}).items():
        _put(state, path, value)
    state.pop(entry.get("drop"), None)
    packed = BytesIO()
    torch.save(state, packed)
    if "pickle" in entry:
        with zipfile.ZipFile(packed) as good:
            parts = {name: good.read(name) for name in good.namelist()}
        with zipfile.ZipFile(packed := BytesIO(), "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, entry["pickle"] if name.endswith("data.pkl") else part)
    place.write_bytes(packed.getvalue()[: entry.get("bytes")])


# A header of no tensors.
EMPTY_WEIGHTS = (2).to_bytes(8, "little") + b"{}"


def outcome(verb: list[str]) -> tuple[str, str]:
    """ "read", "message" or "traceback", and what was said; "ran" where the code in the run did."""
    Path(RAN).unlink(missing_ok=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = CliRunner().invoke(app, verb)
    error = result.exception
    text = f"{result.output}\n{error}\n" + "\n".join(str(warning.message) for warning in said)
    if Path(RAN).exists():
        return "ran", text
    if error is None or isinstance(error, SystemExit):
        return "read" if result.exit_code == 0 else "message", text
    return "message" if isinstance(error, UserError) else "traceback", text


def outcomes() -> Iterator[tuple[str, str, str, str]]:
    """Of every input and verb: kind, name, verb and outcome."""
    for kind, entries in INPUTS.items():
        for entry in entries:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(os.path.realpath(scratch))
                prepare(folder)
                with chdir(folder):
                    sys.path_importer_cache.clear()
                    for verb in commands(kind, entry, folder):
                        yield kind, entry["name"], " ".join(verb[:2]), outcome(verb)[0]
                        for module in [name for name in sys.modules if "evil" in name or name == "rr"]:
                            del sys.modules[module]


def main() -> None:
    count: dict[str, Counter[str]] = {}
    bad: dict[str, set[tuple[str, str]]] = {}
    for kind, name, verb, what in outcomes():
        count.setdefault(kind, Counter())[what] += 1
        if what in ("traceback", "ran"):
            bad.setdefault(what, set()).add((kind, name))
            print(f"{what}: {kind}, {name}, {verb}", file=sys.stderr)
    kinds = ("read", "message", "traceback", "ran")
    print("| inputs | verbs tried | read, or skipped and named | a message | a traceback | its code ran |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, found in count.items():
        cells = " | ".join(str(found[what]) for what in kinds)
        print(f"| {len(INPUTS[kind])} {kind} | {found.total()} | {cells} |")
    ended, ran = (len(bad.get(what, ())) for what in ("traceback", "ran"))
    print(f"{sum(map(len, INPUTS.values()))} inputs: {ended} ended in a traceback, of {ran} code ran.")


if __name__ == "__main__":
    main()
