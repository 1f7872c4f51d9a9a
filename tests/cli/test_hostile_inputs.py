"""What others hand in: every reader takes it, skips it by name, or refuses it in a sentence, and runs none of it."""

import json
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest
from hostile import INPUTS, READERS, commands, good_lines, line, outcome, prepare, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import LINEAR, QUADRATIC, exact, place, timed
from places import ROOT

from xbench.analysis.frame import tidy_frame
from xbench.analysis.results import Results
from xbench.analysis.runs import read_run
from xbench.attention.loading import whose
from xbench.cli.trust import allow
from xbench.errors import UserError
from xbench.records.ledger import read_ledger
from xbench.report.page.page import page, read_chapter
from xbench.report.text.answers import answers, caveats

RESULTS = ROOT / "results"
RECORDS = INPUTS["records"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_every_committed_ledger_is_read_whole():
    ledgers = list(RESULTS.rglob("records.jsonl"))
    assert ledgers
    assert [skipped for ledger in ledgers for skipped in read_ledger(ledger).skipped] == []


def test_each_hostile_line_is_skipped_for_its_own_reason_and_the_others_stand(folder):
    for entry in RECORDS:
        write_run(folder, line(entry))
        reading = read_ledger(folder / "rr" / "records.jsonl")
        assert len(reading.records) - (entry["why"] is None) == len(good_lines()), entry["name"]
        if entry["why"] is not None:
            (skipped,) = reading.skipped
            assert skipped.line == 2, entry["name"]
            assert entry["why"] in skipped.why, (entry["name"], skipped.why)


def test_no_reader_ends_badly_or_runs_what_records_name(folder):
    write_run(folder, *map(line, RECORDS))
    bad = sum(entry["why"] is not None for entry in RECORDS)
    for verb in READERS:
        what, text = outcome(verb)
        assert what in ("read", "message"), (verb, text)
        assert f"{bad} lines are no records" in text, verb
    assert f"{bad} lines are no records" in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("kind", "entry"),
    [(kind, entry) for kind in ("studies", "claims", "configs", "imports", "resumes") for entry in INPUTS[kind]],
    ids=lambda one: one["name"] if isinstance(one, dict) else one,
)
def test_a_hostile_file_is_refused_in_a_sentence(folder, kind, entry):
    for verb in commands(kind, entry, folder):
        what, text = outcome(verb)
        assert what == "message" or (kind == "imports" and what == "read"), text
        assert entry["why"] in text


def test_whose_code_is_known_without_importing_it(folder, capsys):
    assert whose("torch.nn:Linear").startswith("torch ")
    assert whose("os:getcwd") == "Python"
    assert whose("xbench.attention:AttentionSpec") == "xbench"
    assert whose("rr.evil:X") == whose("./rr/evil.py:X") == whose("nosuch:X") == ""
    allow(["xfa:rank=2", "mhsa", "torch.nn:Linear"], Path("s.toml"), False)
    assert "'torch.nn:Linear' of torch" in capsys.readouterr().err
    allow(["./rr/evil.py:X"], Path("s.toml"), True)
    with pytest.raises(UserError, match="say --trust"):
        allow(["./rr/evil.py:X"], Path("s.toml"), False)
    assert not Path("code-ran").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GOOD = [asdict(record) for arm in (QUADRATIC, LINEAR) for record in [*exact(arm, place(64)), *timed(arm, place(64))]]
FIELDS = sorted({*GOOD[0], *(f"case.{key}" for key in GOOD[0]["case"]), "detail.parts", "detail.warm_up"})
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(data=st.data())
def test_whatever_stands_in_a_field_a_run_is_read_and_reported(tmp_path, data):
    lines = json.loads(json.dumps(GOOD))
    for record in data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=4)):
        above, _, name = data.draw(st.sampled_from(FIELDS)).rpartition(".")
        own = record[above] if above else record
        if isinstance(own, dict):
            own[name] = data.draw(JSON)
    ledger = tmp_path / "records.jsonl"
    ledger.write_bytes("\n".join(map(json.dumps, lines)).encode("utf-8", "surrogatepass"))
    reading = read_ledger(ledger)
    assert len(reading.records) + len(reading.skipped) == len(lines)
    results = Results(reading.records, skipped=reading.skipped)
    assert len(answers(results) + caveats(results)) >= bool(reading.skipped)
    if results.arms:
        assert tidy_frame(results).shape[0]


@QUICK
@given(text=st.binary(max_size=400))
def test_whatever_bytes_a_ledger_holds_it_is_read(tmp_path, text):
    ledger = tmp_path / "records.jsonl"
    ledger.write_bytes(text)
    reading = read_ledger(ledger)
    assert not reading.records
    assert len(reading.skipped) == sum(bool(part.strip()) for part in text.split(b"\n"))


def _calls(work) -> int:
    """Calls of Python functions that some work takes: the same on any machine."""
    count = 0

    def counting(frame, event, arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_four_times_as_many_records_take_about_four_times_the_work(tmp_path):
    def run(batches):
        records = [
            record
            for batch, res in product(range(1, batches + 1), (64, 128, 256))
            for arm in (QUADRATIC, LINEAR)
            for record in [*exact(arm, place(res, batch=batch)), *timed(arm, place(res, batch=batch), launches=3)]
        ]
        folder = tmp_path / str(batches)
        folder.mkdir()
        (folder / "records.jsonl").write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))
        return folder

    few, many = (run(batches) for batches in (8, 32))
    page([read_chapter(few)])  # what is done once
    ratios = [
        _calls(lambda: page([read_chapter(many)])) / _calls(lambda: page([read_chapter(few)])),
        _calls(lambda: tidy_frame(read_run(many))) / _calls(lambda: tidy_frame(read_run(few))),
    ]
    assert max(ratios) < 5, ratios
