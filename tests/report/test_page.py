"""The page of a run as text: what stands in it, that names cannot become markup, that its commands measure its rows."""

import json
import re
import shlex
from dataclasses import replace

import pytest
from made_records import CONTROL, LINEAR, QUADRATIC, MadeArm, exact, failed, make, place, timed
from typer.testing import CliRunner

from xbench.analysis.results import Results
from xbench.cli import study as measure
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.records.ledger import Ledger
from xbench.report.page.commands import command_of
from xbench.report.page.data import page_data
from xbench.report.page.page import Chapter, page, write_page
from xbench.report.page.quality import flags
from xbench.report.text.answers import answers

EVIL = "<script>alert(1)</script>\"'</script><b>"


def chapter(records, question="Why?"):
    return Chapter("a run", question, "xbench compare", Results(records))


def evil_records():
    arm = MadeArm(EVIL, attn=EVIL)
    ran = [r for one in (QUADRATIC, arm) for r in exact(one, place(256)) + timed(one, place(256))]
    return [*ran, *failed(replace(arm, label=EVIL + "2"), place(256))]


def without_library(text):
    """The page but for plotly.js, which is markup-like in places."""
    return re.sub(r"<script>/\*\*.*?</script>", "", text, flags=re.DOTALL)


def test_a_name_never_becomes_markup():
    text = without_library(page([chapter(evil_records(), question=f"Why {EVIL}?")]))
    assert "<script>alert" not in text
    assert "</script><b>" not in text
    assert text.count("&lt;script&gt;alert(1)") > 3, "the name is still there, as text"
    block = re.search(r'<script type="application/json" class="data">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    assert EVIL in [arm["name"] for arm in json.loads(block[1])["arms"]]


def test_the_page_asks_nothing_of_the_network():
    text = without_library(page([chapter(exact(QUADRATIC, place(256)))]))
    assert "default-src &#39;none&#39;" in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert not re.findall(r"url\(|@import|https?://(?!www\.w3\.org)", text)


def test_words_stand_in_the_page_before_anything_is_drawn():
    records = [r for res in (256, 1024) for arm in (QUADRATIC, LINEAR, CONTROL) for r in timed(arm, place(res))]
    text = page([chapter(records)])
    said = [text.index(part) for part in ("<h1>Why?", "At 1024 px", "Before you believe it", 'class="charts"')]
    assert said == sorted(said)
    for sentence in answers(Results(records)):
        assert sentence.rpartition(", ")[2].replace("'", "&#39;") in text


def test_several_runs_are_sections_of_their_own():
    chapters = [chapter(exact(arm, place(256)), question=f"What of {arm.label}?") for arm in (QUADRATIC, LINEAR)]
    text = page(chapters)
    assert text.count('<article class="run"') == 2
    assert "never across runs" in text
    assert text.count('class="data"') == 2


def test_data_keep_digits_reasons_and_doubt():
    records = timed(QUADRATIC, place(256)) + timed(LINEAR, place(256)) + failed(LINEAR, place(512))
    records += timed(replace(CONTROL, cost=4e-8), place(256))
    data = page_data(Results(records))
    by_arm = {(data["arms"][row["arm"]]["name"], tuple(row["at"])): row for row in data["rows"]}
    cell = by_arm["xfa", (0, 0)]["cells"]["throughput"]
    assert cell["low"] < cell["value"] < cell["high"]
    assert cell["launches"] == 6
    assert cell["void"], "the control came out twice as slow as itself"
    assert cell["times"]["text"].startswith("void ")
    assert by_arm["xfa", (1, 1)]["failure"] == "oom: allocating 16 GiB"
    assert by_arm["xfa", (1, 1)]["cells"]["throughput"] == {"text": "oom", "why": "oom: allocating 16 GiB"}
    json.dumps(data, allow_nan=False)
    assert next(flag.kind for flag in flags(Results(records))) == "bad"


def test_an_attention_that_failed_its_checks_is_marked_wherever_it_stands():
    unverified = {"unverified": "gradients are not finite"}
    records = [replace(r, detail={**r.detail, **unverified}) for r in exact(LINEAR, place(256))]
    results = Results([*exact(QUADRATIC, place(256)), *records])
    assert [arm["label"] for arm in page_data(results)["arms"]] == ["mhsa", "xfa †"]
    assert "† 1 of 2 arms failed their checks" in [flag.text for flag in flags(results)]


def test_one_launch_has_no_interval_and_is_drawn_all_the_same():
    data = page_data(Results(timed(QUADRATIC, place(256), launches=1)))
    assert "low" not in data["rows"][0]["cells"]["throughput"]
    json.dumps(data, allow_nan=False)


CASES = [
    (QUADRATIC, LINEAR, place(512, threads=1)),
    (QUADRATIC, replace(LINEAR, label="xfa compiled", mode="compile"), place(512, threads=1)),
    (QUADRATIC, LINEAR, place(tokens=1024, threads=1)),
    (QUADRATIC, LINEAR, place(512, threads=1, direction="training", batch=4)),
    (QUADRATIC, LINEAR, place(512, threads=1, level="block", patch_size=4, img_size=[256, 512], dtype="bf16")),
    (QUADRATIC, replace(QUADRATIC, label="mhsa #2"), place(512, threads=1)),
]


@pytest.mark.parametrize(("reference", "arm", "where"), CASES)
def test_the_command_of_a_row_asks_for_its_very_case(monkeypatch, reference, arm, where):
    metrics = ("params", "macs")
    records = exact(reference, where, metrics) + exact(arm, where, metrics)
    records += timed(reference, where, launches=3) if not where.alone else []
    results = Results(records)
    study = asked_by(monkeypatch, command_of(results, results.conditions[0], arm.label))
    cases = {case.arm.label: case for case in study.cases()}
    assert cases[arm.label].flat() == results.records[len(metrics)].case
    assert study.against == reference.label
    assert set(study.metrics) == {record.metric for record in records}


def test_the_command_names_a_whole_model_as_reference_and_the_memory_of_a_batch(monkeypatch):
    where = place(512, threads=1)
    model = {"arm": "mobilevit_s", "attn": None, "baseline": "mobilevit_s", "mode": "eager"}
    model |= {"policy": "tuned", "control": False, **where.flat()}
    limited = make(LINEAR, where, "max_batch", [7], detail={"limit": 3 * 2**30})
    records = [replace(record, against="mobilevit_s") for record in (limited, replace(limited, case=model))]
    command = command_of(Results(records), where, "xfa")
    assert "--memory-limit 3" in command
    assert asked_by(monkeypatch, command).against == "mobilevit_s"


def asked_by(monkeypatch, command):
    """The study that the command line would run."""
    asked = []
    monkeypatch.setattr(measure, "_run_study", lambda study, *rest: asked.append(study))
    program, *words = shlex.split(command)
    done = CliRunner().invoke(app, words)
    assert (program, done.exit_code) == ("xbench", 0), done.output
    return asked[0]


def test_the_verb_writes_a_page_and_refuses_what_is_none(tmp_path):
    Ledger(tmp_path / "records.jsonl").append(exact(QUADRATIC, place(256)))
    done = CliRunner().invoke(app, ["report", str(tmp_path), "-o", str(tmp_path / "new" / "page.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(UserError, match=r"report\.html"):
        write_page([tmp_path], tmp_path / "records.jsonl")
    with pytest.raises(UserError, match="no run 'nowhere'"):
        write_page(["nowhere"], tmp_path / "page.html")
