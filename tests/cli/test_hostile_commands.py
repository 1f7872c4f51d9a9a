"""Command lines that nobody should type: each ends as the list says, touches nothing, shows no control character."""

import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from here import run_here
from hostile_folder import FILES, lay_out

COMMANDS = tomllib.loads(Path(__file__).with_name("hostile_commands.toml").read_text(encoding="utf-8"))["command"]
WORDS = {
    "SHORTDIGITS": "9" * 4000,
    "DIGITS": "9" * 5000,
    "NESTED": "[" * 20_000 + "]" * 20_000,
    "LONG": "x" * 5000,
    "NOTEXT": os.fsdecode(b"\xff\xfe"),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    """By path, what lies there; None for what has no content."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def spelled(text: str) -> str:
    for word, meaning in WORDS.items():
        text = meaning if text == word else text.replace(word, meaning)
    return text


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laid-out")
    lay_out(folder)
    return folder


def cases() -> Iterator[object]:
    for number, command in enumerate(COMMANDS):
        marks = [pytest.mark.process] if command.get("process") else []
        yield pytest.param(command, id=f"{number}-{command['args'][0][:10]!a}", marks=marks)


@pytest.mark.parametrize("command", list(cases()))
def test_a_hostile_command_ends_as_it_should(command, template, monkeypatch):
    monkeypatch.chdir(template)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as the list has it
    before = contents(template)
    arguments = list(map(spelled, command["args"]))
    environment = {name: spelled(value) for name, value in command.get("env", {}).items()}
    encoding = "ascii" if command.get("ascii") else "utf-8"
    code, out, errors = run_here(arguments, monkeypatch, environment, encoding, command.get("out", ""))
    assert code == command.get("code", 2), errors
    said = " ".join((out + errors).split())
    assert command.get("says", "") in said
    if command.get("once"):
        assert said.count(command["says"]) == 1
    assert not set("\x1b\x9b\x07\u202e") & set(out + errors), "no control character of a name reaches a terminal"
    after = contents(template)
    made = set(command.get("made", ()))
    try:
        assert {name for name in after if name.partition("/")[0] not in made and name not in before} == set()
        assert [name for name in before if name not in made and after.get(name, b"?") != before[name]] == []
    finally:
        for name in made:
            shutil.rmtree(template / name) if (template / name).is_dir() else (template / name).unlink()
        for name in made & FILES.keys():
            (template / name).write_text(FILES[name])
