"""A folder with runs whose names are hostile, files of somebody else, pipes and links."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from made_records import LINEAR, QUADRATIC, exact, place, timed

from xbench.records.ledger import Ledger

FILES = {
    "notes.txt": "Bring milk.\n",
    "own.html": "<p>Mine.</p>\n",
    "readonly.html": "<p>Mine.</p>\n",
    "own-report/report.md": "# What I think of it\n",
    "charts/throughput.png": "not a picture",
    "photos/broken.jpg": "not a picture",
    "foreign/config.json": '{"architectures": ["Another"]}\n',
    "foreign-weights/weights.safetensors": "not ours",
    "nested.json": "[" * 100_000,
    "s.toml": 'attn = ["xfa"]\nres = [64]\nmetrics = ["macs"]\n',
    "slash.toml": 'name = "../../x"\nattn = ["xfa"]\nres = [64]\nmetrics = ["macs"]\n',
    "dots.toml": 'name = ".."\nattn = ["xfa"]\nres = [64]\nmetrics = ["macs"]\n',
    "control.toml": 'attn = ["xfa\\u001b[31m"]\nres = [64]\nmetrics = ["macs"]\n',
    "null.toml": 'attn = ["xfa\\u0000"]\nres = [64]\nmetrics = ["macs"]\n',
    "os.toml": 'attn = ["os:getcwd"]\nres = [64]\nmetrics = ["macs"]\n',
    "mine.py": "def function():\n    pass\n",
    "broken.py": "1 / 0\n",
    "exits.py": "raise SystemExit(0)\n",
}
HOSTILE = "[red]xfa[/red]\x1b[31m\x9b2J\u202e :bomb: $x$ <b>"


def records(run: str):
    arms = [QUADRATIC, replace(LINEAR, label=HOSTILE), replace(LINEAR, label="mobilevit_s", attn=None)]
    found = [record for arm in arms for record in exact(arm, place()) + timed(arm, place(), launches=3)]
    return [replace(record, run=run, commit=run) for record in found]


def lay_out(folder: Path) -> None:
    """Runs, files of somebody else, pipes and links for the commands to stumble over."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for run in ("r", "r2"):
        Ledger(folder / run / "records.jsonl").append(records(run))
    for copy in ("copy.txt", "ledger.html"):
        shutil.copy(folder / "r" / "records.jsonl", folder / copy)
    (folder / "link.html").symlink_to("r/records.jsonl")
    (folder / "loop").symlink_to("loop")
    for pipe in ("fifo", "fifo.py", "pipe.html"):
        os.mkfifo(folder / pipe)
    (folder / "readonly.html").chmod(0o444)
