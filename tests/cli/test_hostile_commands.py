"""Command lines that nobody should type: each ends as the list says, touches nothing, shows no control character."""

import io
import os
import shutil
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile_folder import FILES, lay_out

from xbench.cli.main import main

COMMANDS = tomllib.loads(Path(__file__).with_name("hostile_commands.toml").read_text(encoding="utf-8"))["command"]
WORDS = {
    "SHORTDIGITS": "9" * 4000,
    "DIGITS": "9" * 5000,
    "NESTED": "[" * 20_000 + "]" * 20_000,
    "LONG": "x" * 5000,
    "NOTEXT": os.fsdecode(b"\xff\xfe"),
}
PATIENCE = 60  # seconds; something is read that never ends


def contents(folder: Path) -> dict[str, bytes | None]:
    """By path, what lies there; None for what has no content."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def spelled(text: str) -> str:
    for word, meaning in WORDS.items():
        text = meaning if text == word else text.replace(word, meaning)
    return text


@contextmanager
def standard_output(command) -> Iterator[io.TextIOWrapper]:
    """A stream as the command's ``out`` and ``ascii`` ask for."""
    encoding = "ascii" if command.get("ascii") else "utf-8"
    if command.get("out") == "full":
        stream = open("/dev/full", "w", encoding=encoding)  # noqa: SIM115, closed below
    elif command.get("out") == "closed":
        end, start = os.pipe()
        os.close(end)
        stream = os.fdopen(start, "w", encoding=encoding)
    else:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    yield stream
    try:
        stream.close()
    except OSError:
        return


def run(command, monkeypatch) -> tuple[int, str, str]:
    """The command in this process: its exit code, and what it wrote on standard output and standard error.

    Raises:
        TimeoutError: it did not end.
    """

    def stop(*_):
        raise TimeoutError("it did not end")

    with monkeypatch.context() as patch, standard_output(command) as out:
        errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        patch.setattr(sys, "argv", ["xbench", *map(spelled, command["args"])])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        patch.setattr(sys, "path", [*sys.path])
        patch.delenv("COLUMNS", raising=False)
        for name, value in command.get("env", {}).items():
            patch.setenv(name, spelled(value)) if value else patch.delenv(name, raising=False)
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(PATIENCE)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        written = out.buffer.getvalue().decode() if isinstance(out.buffer, io.BytesIO) else ""
        return code, written, errors.buffer.getvalue().decode()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laid-out")
    lay_out(folder)
    return folder


def cases() -> Iterator[object]:
    for number, command in enumerate(COMMANDS):
        marks = [pytest.mark.process] if command.get("process") else []
        yield pytest.param(command, id=f"{number}-{command['args'][0][:10]!a}", marks=marks)


@pytest.mark.parametrize("command", cases())
def test_a_hostile_command_ends_as_it_should(command, template, monkeypatch):
    monkeypatch.chdir(template)
    before = contents(template)
    code, out, errors = run(command, monkeypatch)
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
