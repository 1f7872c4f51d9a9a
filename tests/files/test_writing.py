"""Files that are written: whole or as they were, and never in place of what is somebody else's."""

import errno
import json
import os
import resource
import signal

import pytest

from xbench.errors import UserError
from xbench.files.run_folders import drop_unused
from xbench.files.temporary import scratch
from xbench.files.writing import check_target, write_file
from xbench.signals import ending, exit_code, held


def test_a_file_that_does_not_fit_leaves_the_old_one_and_nothing_beside_it(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("before")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(UserError, match=f"cannot write .*x.txt: {os.strerror(errno.EFBIG)}"):
            write_file(target, "after" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_links_and_permissions_stay_and_what_a_killed_writer_left_is_used_up(tmp_path):
    (tmp_path / "x.txt").write_text("before")
    (tmp_path / "x.txt").chmod(0o640)
    (tmp_path / "link").symlink_to("x.txt")
    (tmp_path / ".x.txt.new").write_text("half of a longer te")
    write_file(tmp_path / "link", "after \udcff")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x.txt").read_text() == "after \\udcff"
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "x.txt"]


def test_only_what_xbench_made_is_replaced_unasked_and_records_never(tmp_path):
    target = tmp_path / "x"
    mine = ["# My notes\nI ran xbench check, and xbench claims.\n", '{"version": 1, "project": "mine"}', "\0\1"]
    ours = ["", "<!-- xbench check -->\n", '{\n "schema": 1,\n "verdict": "PASS",\n "headline": "x"}']
    for content in mine:
        target.write_text(content)
        with pytest.raises(UserError, match="--force replaces it"):
            check_target(target)
        check_target(target, force=True)
    for content in ours:
        target.write_text(content)
        check_target(target)
    target.write_text(json.dumps({"run": "r", "case": {}, "metric": "macs", "samples": []}) + "\n")
    with pytest.raises(UserError, match="records of a run"):
        check_target(target, force=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_what_must_not_be_left_half_done(number):
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(number)
            done.append("all of it")
        done.append("more")

    with ending(), pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert exit_code() == 128 + number


def test_a_signal_that_is_to_be_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_killed_process_left_is_removed_and_what_one_uses_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "xbench-left" / "code").mkdir(parents=True)
    (tmp_path / "another").mkdir()
    with scratch() as used:
        with scratch():
            assert used.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["another", used.name]
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_a_run_that_recorded_nothing_leaves_no_folder_and_any_other_stays(tmp_path):
    for name, files in {
        "none": {"records.jsonl": ""},
        "some": {"records.jsonl": "{}\n"},
        "notes": {"x.md": ""},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        drop_unused(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "some"]
