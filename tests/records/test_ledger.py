"""The ledger survives what machines do to files."""

import json
import multiprocessing
from pathlib import Path

import pytest

from xbench.errors import UserError
from xbench.records.ledger import Ledger, SkippedWarning, read_records
from xbench.records.record import SCHEMA, Record


def record(launch: int = 0, **fields) -> Record:
    case = {"arm": "xfa", "attn": "xfa", "baseline": None, "control": False, "img_size": [64, 64]}
    return Record(run="r", study="s", key="k", case=case, metric="latency", unit="ms", launch=launch, **fields)


def test_what_is_appended_is_read(tmp_path):
    ledger = Ledger(tmp_path / "new" / "records.jsonl")
    kept = [record(1, samples=[1.5, 2.5, 9.0], detail={"a": [1]}), record(2, status="oom", reason="too large")]
    ledger.append(kept[:1])
    ledger.append(kept[1:])
    assert ledger.read() == kept
    assert kept[0].value == 2.5
    assert kept[1].value is None


def test_a_torn_line_is_skipped_and_the_next_record_is_whole(tmp_path):
    ledger = Ledger(tmp_path / "records.jsonl")
    ledger.append([record(1, samples=[1.0])])
    with ledger.path.open("ab") as file:
        file.write(b'{"run": "r", "stu')
    ledger.append([record(2, samples=[2.0])])
    with pytest.warns(UserWarning, match=r"records.jsonl:2 \(not a whole line"):
        assert [r.launch for r in ledger.read()] == [1, 2]


def test_older_schemas_are_read_and_newer_ones_are_said_to_be_newer(tmp_path):
    path = tmp_path / "records.jsonl"
    old = {"run": "r", "study": "s", "key": "k", "case": {}, "metric": "macs", "unit": "MACs", "schema": 0}
    more = {**old, "samples": [1.0], "schema": SCHEMA, "a_field_of_the_future": True}
    path.write_text("".join(json.dumps(line) + "\n" for line in (old, more, {**more, "schema": 99})))
    with pytest.warns(SkippedWarning, match=r"records.jsonl:3 \(made by a newer xbench"):
        found = read_records([path])
    assert [r.schema for r in found] == [0, SCHEMA]
    assert found[1].samples == [1.0]


def _write_many(path, writer):
    for i in range(50):
        Ledger(path).append([record(1000 * writer + i, samples=[i + 1.0] * 50)])


@pytest.mark.process
def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "records.jsonl"
    writers = [multiprocessing.Process(target=_write_many, args=(path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(r.launch for r in read_records([path])) == [1000 * n + i for n in range(4) for i in range(50)]


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write results"):
        Ledger(tmp_path / "file" / "records.jsonl")
    with pytest.raises(UserError, match="No space left"):
        Ledger(Path("/dev/full")).append([record(1, samples=[1.0])])


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status"):
        record(status="fine")
