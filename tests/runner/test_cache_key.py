"""What makes two figures comparable: the code that decides them, wherever it lies, the inputs, the commit."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import QUADRATIC, exact, place
from places import ROOT

from xbench.data.photos import photo_paths
from xbench.records.ledger import Ledger
from xbench.records.provenance import unlike
from xbench.runner import code as sources
from xbench.runner.cache_key import case_key, forget_sources, source_hash
from xbench.runner.code import (
    DECIDES_NOTHING,
    TRAINING,
    TURNS,
    WORKER,
    deciding_files,
    file_of,
    files_of,
    hash_of,
    what_it_says,
)
from xbench.runner.runner import Runner
from xbench.study.request import StudyRequest, make_study

# A worker that answers, and then tells which files of ours it has come to hold.
ANSWERS = """
import json, sys
from xbench.worker.requests import Worker, answer
worker = Worker()
for line in sys.stdin:
    reply = answer(worker, json.loads(line))
    assert "result" in reply, reply
ours = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "xbench"]
print(json.dumps(ours))
"""


def requests():
    """All that a worker is asked of a model, and of a step of its training."""
    photos = [str(path) for path in photo_paths()]
    study = make_study(
        StudyRequest(["xfa"], [64], size="xxs", threads=[1], direction=["inference", "training"], batch=[2])
    )
    yield {"do": "vouch", "attn": "xfa", "size": "xxs"}
    for case in (case.request() for case in study.cases() if not case.arm.control):
        yield {"do": "survey", "case": case, "cross_check": True}
        yield {"do": "build", "case": case, "photos": photos}
        yield {"do": "memory"}
        yield {"do": "warm_up", "batch": 2, "seconds": 0.0, "at_least": 1}
        yield {"do": "block", "batch": 2}
        if case["direction"] == "inference":
            yield {"do": "breakdown"}
    yield {"do": "device"}


@pytest.mark.process
def test_all_that_a_worker_comes_to_import_is_hashed_or_decides_nothing():
    command = [sys.executable, "-P", "-c", ANSWERS]
    asked = "".join(json.dumps(request) + "\n" for request in requests())
    there = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=300, env=there)
    assert done.returncode == 0, done.stderr
    loaded = {Path(file) for file in json.loads(done.stdout)}
    assert file_of("xbench.worker.subject") in loaded
    left_out = [file for room in DECIDES_NOTHING for file in files_of(room)]
    hashed = {*deciding_files(WORKER), *left_out}
    # What decides nothing brings in what decides nothing.
    brought = set(sources.with_imports(left_out, sources.PACKAGE))
    missed = {file for file in loaded - hashed - brought if what_it_says(file.read_bytes()) != what_it_says(b"")}
    assert not missed


def test_the_process_that_trains_is_followed_as_the_worker_is():
    names = {str(file.relative_to(sources.PACKAGE)) for file in deciding_files(TRAINING)}
    assert {
        "training/loop.py",
        "training/recipe.py",
        "data/epochs.py",
        "data/canvas/dataset.py",
        "models/xformer.py",
    } <= names
    assert not {"metrics/timing.py", "records/ledger.py"} & names
    assert {file_of(module) for module in TURNS}.isdisjoint(deciding_files(WORKER))


def test_a_file_that_was_moved_and_is_still_named_by_its_old_place_is_an_error():
    with pytest.raises(LookupError, match=r"xbench\.moved"):
        file_of("xbench.moved")


def test_code_counts_and_not_where_it_lies_or_how_it_is_explained(tmp_path):
    def said(text):
        return what_it_says(text.encode())

    before = (
        '"""A."""\nfrom xbench.metrics.cost import count, survey\nfrom torch import nn\n\ndef f(x):\n    return x + 1\n'
    )
    moved = "# B\nfrom torch import nn\nfrom xbench.paper import survey\nfrom xbench.counters import count\n"
    moved += 'def f(x):\n    """C."""\n    return (x\n            + 1)\n'
    assert said(before) == said(moved)
    for old, new in (("x + 1", "x + 2"), ("count, survey", "count"), ("torch import", "timm import")):
        assert said(before) != said(before.replace(old, new)), new
    assert said(before) != said(before.replace("count, survey", "count as survey, survey as count"))
    for name in ("a.py", "folder/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(before)
    assert hash_of([tmp_path / "a.py"]) == hash_of([tmp_path / "folder" / "b.py"])


def test_installed_code_is_followed_as_that_of_a_checkout_is(tmp_path, monkeypatch):
    here = {file.relative_to(ROOT) for file in deciding_files(WORKER)}
    wheel = tmp_path / "site-packages"
    shutil.copytree(ROOT / "xbench", wheel / "xbench", ignore=shutil.ignore_patterns("__pycache__", "html"))
    monkeypatch.setattr(sources, "PACKAGE", wheel / "xbench")
    assert {file.relative_to(wheel) for file in deciding_files(WORKER)} == here


@pytest.mark.process
def test_code_in_an_environment_in_somebodys_repository_is_not_of_its_commit(tmp_path):
    # What pip leaves: the package among files that the repository around it does not hold.
    wheel = tmp_path / "env" / "site-packages"
    (wheel / "xbench" / "records").mkdir(parents=True)
    shutil.copy(ROOT / "xbench" / "records" / "commits.py", wheel / "xbench" / "records")
    for package in ("xbench", "xbench/records"):
        (wheel / package / "__init__.py").touch()
    (tmp_path / "theirs.txt").touch()
    (tmp_path / ".gitignore").write_text("env\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    ask = [
        sys.executable,
        "-P",
        "-c",
        "from xbench.records.commits import *; print(repository(), len(known_commits()))",
    ]

    def found():
        there = {**os.environ, "PYTHONPATH": str(wheel)}
        return subprocess.run(ask, capture_output=True, text=True, env=there, check=True).stdout.split()

    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    assert found() == ["None", "0"]
    subprocess.run([*git, "add", "-f", "env"], check=True)
    assert found() == [str(wheel / "xbench" / "records"), "1"], "a repository that holds it is its own"


def keys(tmp_path, *metrics, **asked):
    """By (level, batch, metric), the keys of a study, and what the records say of the inputs."""
    study = make_study(StudyRequest(["xfa"], [64], size="xxs", threads=[1], metrics=metrics, **asked))
    recorder = Runner(study, Ledger(tmp_path / "records.jsonl")).recorder
    places = [(case, name) for case in study.cases() for name in study.metrics_of(case)]
    by_place = {(case.level, case.batch, name): recorder.key(case, name) for case, name in places}
    seen = {case.level for case, name in places if "inputs" in recorder.record(case, name, [1.0]).policy}
    return by_place, seen


def test_photographs_are_part_of_a_key_where_they_are_inputs_and_no_more_of_them_than_the_batch(tmp_path):
    parts = {"level": ["op", "block", "model"], "tokens": [16]}
    alone, seen = keys(tmp_path, "peak_memory", "throughput", batch=[1], **parts)
    assert seen == {"model"}
    more, _ = keys(tmp_path, "peak_memory", "throughput", batch=[1, 2], **parts)
    assert {place: more[place] for place in alone} == alone, "another batch size measures nothing again"
    (folder := tmp_path / "photos").mkdir()
    for number, path in enumerate(reversed(photo_paths())):
        shutil.copy(path, folder / f"{number}.jpg")
    others, _ = keys(tmp_path, "peak_memory", "throughput", batch=[1], images=str(folder), **parts)
    assert {place[0] for place in alone if alone[place] != others[place]} == {"model"}
    paper, seen = keys(tmp_path, "params", "limits")
    assert not seen
    assert paper == keys(tmp_path, "params", "limits", images=str(folder))[0]


def test_an_older_record_of_an_attention_alone_has_photographs_that_it_never_saw():
    for where, named in ((place(tokens=16), []), (place(64), ["inputs was a, is unknown"])):
        (now,) = exact_memory(where, {})
        (before,) = exact_memory(where, {"inputs": "a"})
        assert unlike(before, now) == named


def exact_memory(where, policy):
    return [replace(record, policy=policy) for record in exact(QUADRATIC, where, ["peak_memory"])]


def test_a_change_of_the_turns_changes_times_alone_and_of_training_accuracy_alone(monkeypatch):
    study = make_study(StudyRequest(["xfa"], [64], size="xxs", threads=[1], metrics=["params", "throughput", "top1"]))
    (case, *_) = study.cases()

    def found():
        forget_sources()
        return {name: case_key(case, name, {}) for name in ("params", "throughput", "top1")}

    before = found()
    monkeypatch.setattr("xbench.runner.cache_key.TURNS", TURNS[:1])
    assert {name for name, key in found().items() if key != before[name]} == {"throughput"}
    monkeypatch.undo()
    monkeypatch.setattr("xbench.runner.cache_key.TRAINING", "xbench.training.loop")
    assert {name for name, key in found().items() if key != before[name]} == {"top1"}
    assert source_hash("xfa") != source_hash("mhsa")
