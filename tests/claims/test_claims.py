"""Claims: the file is checked, and what is made of records whose answer is known."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_records import CONTROL, LINEAR, QUADRATIC, MadeArm, exact, place, timed
from places import ROOT
from scipy import stats
from typer.testing import CliRunner

from xbench.analysis.results import Results
from xbench.claims.claim import load_claims
from xbench.claims.quantities import Measured
from xbench.claims.replay import Evidence, judge, missing, replay, studies_for
from xbench.cli.verbs import app
from xbench.errors import UserError
from xbench.records.ledger import Ledger
from xbench.report.claims import claims_json, claims_page, summary
from xbench.statistics.ranks import rank_correlation

SHIPPED = ROOT / "studies" / "claims" / "xformer.toml"
HEAD = '[[claim]]\nid = "c"\nby = "somebody"\nbasis = "stated"\nsentence = "It is so."\n'
RATIO = 'quantity = "ratio"\nmetric = "throughput"\narm = "xfa"\nto = "mhsa"\nat = { res = 1024 }\n'


def write(path, *tests, head=HEAD):
    path.write_text(head + "".join(f"[[claim.test]]\n{test}\n" for test in tests), encoding="utf-8")
    return path


def evidence(records, name="somewhere"):
    return Evidence(name, Results(records), records[-1])


def outcome(tmp_path, test, *sources):
    (replayed,) = replay(load_claims(write(tmp_path / "claims.toml", test)), list(sources))
    (finding,) = replayed.findings
    return finding


def test_the_shipped_claims_are_whole():
    claims = {claim.id: claim for claim in load_claims(SHIPPED)}
    assert {"parameters", "macs", "speed-1024", "memory-1024", "linear-time", "flops-predict-speed"} <= claims.keys()
    untested = {name for name, claim in claims.items() if claim.untestable}
    assert untested >= {"detection-accuracy", "segmentation-speed", "segmentation-accuracy", "top-1"}
    assert all("arXiv" in claim.by or claim.basis == "reconstructed" for claim in claims.values())


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (RATIO + "valeu = 2", r"unknown key in .*claim 'c', test 1: 'valeu'. Did you mean 'value'"),
        (RATIO + "value = 2", "claim 'c', test 1: value and tolerance go together"),
        (RATIO, "test 1: say what is accepted"),
        (RATIO + "at_least = 1\nat_most = 2", "say what is accepted"),
        (RATIO.replace('to = "mhsa"', "") + "at_least = 1", "test 1: to: field required"),
        (RATIO.replace("throughput", "troughput") + "at_least = 1", "Did you mean 'throughput'"),
        (RATIO.replace("1024", "8") + "at_least = 1", "from 32 to 16384, not 8"),
        (RATIO.replace("res = 1024", "rse = 1024") + "at_least = 1", "'rse'. Did you mean 'res'"),
        (RATIO.replace("res = 1024", "tokens = 64") + "at_least = 1", "at level 'model' name res"),
        (RATIO.replace("1024", "[256, 512]") + "at_least = 1", "name one size"),
        (RATIO.replace("ratio", "raito") + "at_least = 1", "'figure', 'ratio'"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path, test, message):
    with pytest.raises(UserError, match=message):
        load_claims(write(tmp_path / "claims.toml", test))


def test_a_claim_is_tested_or_says_why_not_and_has_an_id_of_its_own(tmp_path):
    with pytest.raises(UserError, match="claim 'c': give it a test that decides, or say in untestable"):
        load_claims(write(tmp_path / "claims.toml"))
    with pytest.raises(UserError, match="two claims have the id 'c'"):
        load_claims(write(tmp_path / "claims.toml", head=HEAD + 'untestable = "no"\n' + HEAD + 'untestable = "no"\n'))
    with pytest.raises(UserError, match="is not a TOML file"):
        load_claims(write(tmp_path / "claims.toml", head="[[claim"))


@pytest.mark.parametrize(
    ("measured", "expected", "why"),
    [
        ((2.1, 2.0, 2.2), "reproduced", ""),
        ((2.6, 2.55, 2.7), "not reproduced", "greater than claimed: the difference is there, and more so"),
        ((1.2, 1.1, 1.3), "not reproduced", "smaller than claimed: the difference is there, and less so"),
        ((2.4, 2.2, 2.6), "not testable here", "reaches across the edge"),
        ((2.0, float("nan"), float("nan")), "not testable here", "a single launch"),
    ],
)
def test_the_whole_interval_decides(tmp_path, measured, expected, why):
    (claim,) = load_claims(write(tmp_path / "claims.toml", RATIO + "value = 2\ntolerance = 0.25"))
    found, reason = judge(claim.test[0], Measured(*measured))
    assert found == expected
    assert why in reason


def test_a_ratio_is_read_from_the_run_that_has_it_and_nothing_else(tmp_path):
    at = place(1024)
    records = [*timed(QUADRATIC, at), *timed(LINEAR, at), *timed(CONTROL, at)]
    expected = sum(QUADRATIC.cost * n**2 + 4e-5 * n for n in [4096]) / sum(6e-6 * n + 4e-5 * n for n in [4096])
    found = outcome(
        tmp_path, RATIO + f"value = {expected}\ntolerance = 0.1", evidence(timed(LINEAR, at)), evidence(records)
    )
    assert found.outcome == "reproduced"
    assert found.measured.low < expected < found.measured.high
    elsewhere = outcome(tmp_path, RATIO.replace("1024", "512") + "at_least = 1", evidence(records))
    assert (elsewhere.outcome, elsewhere.measured) == ("not testable here", None)
    assert "--run" in elsewhere.reason


def test_what_is_missing_is_asked_in_one_study_for_each_place(tmp_path):
    other = RATIO.replace("xfa", "pool").replace("throughput", "peak_memory")
    elsewhere = RATIO.replace("1024", "512")
    path = write(tmp_path / "claims.toml", *(test + "at_least = 1" for test in (RATIO, other, elsewhere)))
    first, second = studies_for(missing(replay(load_claims(path), [])))
    assert [arm.label for arm in first.arms] == ["mhsa", "xfa", "pool"]
    assert (first.metrics, first.res) == (("throughput", "peak_memory"), ((1024, 1024),))
    assert ([arm.label for arm in second.arms], second.res) == (["mhsa", "xfa"], ((512, 512),))


def test_what_needs_a_gpu_is_not_testable_without_one_and_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    test = RATIO.replace("res = 1024", 'res = 1024, device = "cuda"') + "at_least = 1"
    found = replay(load_claims(write(tmp_path / "claims.toml", test)), [evidence(timed(LINEAR, place(1024)))])
    assert "no CUDA device" in found[0].findings[0].reason
    assert missing(found) == []


def test_a_void_run_proves_nothing(tmp_path):
    at = place(1024)
    wrong = MadeArm("mhsa again", 2.0, 4e-8, control=True)
    records = [*timed(QUADRATIC, at), *timed(LINEAR, at), *timed(wrong, at)]
    found = outcome(tmp_path, RATIO + "at_least = 1", evidence(records))
    assert found.outcome == "not testable here"
    assert "the control failed" in found.reason


def test_the_power_of_n(tmp_path):
    sizes = [place(tokens=n) for n in (64, 256, 1024, 4096, 16384)]
    records = [r for at in sizes for arm in (QUADRATIC, LINEAR) for r in timed(arm, at, noise=0.001)]
    at = 'at = {{ level = "op", tokens = [64] }}'
    test = f'quantity = "exponent"\nmetric = "throughput"\narm = "{{}}"\n{at}\nat_most = 1.1'
    linear, quadratic = (outcome(tmp_path, test.format(arm), evidence(records)) for arm in ("xfa", "mhsa"))
    assert linear.outcome == "reproduced"
    assert linear.measured.value == pytest.approx(1, abs=0.01)
    assert quadratic.outcome == "not reproduced"
    assert quadratic.measured.value == pytest.approx(2, abs=0.01)


def test_ranks_need_many_attentions(tmp_path):
    test = 'quantity = "rank-correlation"\nmetric = "throughput"\nwith = "macs"\nat = { res = 1024 }\nat_least = 0.8'
    arms = [MadeArm(f"a{i}", 1.0, 1e-6 * 2**i, attn="xfa") for i in range(8)]
    records = [r for arm in arms for r in [*timed(arm, place(1024)), *exact(arm, place(1024), ["macs"])]]
    found = outcome(tmp_path, test, evidence(records))
    assert found.outcome == "reproduced"
    assert found.measured.value == pytest.approx(1)
    few = outcome(tmp_path, test, evidence([r for r in records if r.case["arm"] in ("a0", "a1", "a2")]))
    assert (few.outcome, few.measured) == ("not testable here", None)
    assert "only 3 attentions" in few.reason


def test_rank_correlation_is_spearmans_and_its_interval_covers():
    random = np.random.default_rng(1)
    x, y = random.standard_normal((2, 12))
    value, low, high, chance = rank_correlation(x, y)
    assert value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert low < value < high
    assert chance == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.02)
    assert rank_correlation(x, np.exp(x))[0] == pytest.approx(1)


def test_sum_page_and_json_say_the_same(tmp_path):
    path = write(tmp_path / "claims.toml", RATIO + "at_least = 1", RATIO + "at_most = 1")
    path.write_text(path.read_text() + HEAD.replace('"c"', '"d"') + 'untestable = "no | <b>data</b>."\n')
    at = place(1024)
    found = replay(load_claims(path), [evidence([*timed(QUADRATIC, at), *timed(LINEAR, at)], "results/some")])
    assert summary(found) == "2 claims: 0 reproduced, 1 not reproduced, 1 not testable here."
    page = claims_page(found, "T", "xbench claims")
    assert "results/some" in page
    assert all(
        line.count("|") == before.count("|")
        for before, line in pairwise(page.split("\n"))
        if line[:1] == before[:1] == "|"
    )
    first, second = json.loads(claims_json(found))
    assert [test["outcome"] for test in first["tests"]] == ["reproduced", "not reproduced"]
    assert first["outcome"] == "not reproduced"
    assert (second["outcome"], second["tests"]) == ("not testable here", [])


def test_what_is_on_paper_is_counted_and_bad_input_has_exit_code_2(tmp_path, workers_here):
    at = 'at = {{ res = 64, size = "xxs" }}'
    figure = f'quantity = "figure"\nmetric = "params"\narm = "{{}}"\n{at}\nvalue = {{}}\ntolerance = 1e-9'
    write(tmp_path / "claims.toml", figure.format("xfa", 1218688), figure.format("mhsa", 1))
    (tmp_path / "records").mkdir()
    records = timed(LINEAR, place(64))
    Ledger(tmp_path / "records" / "records.jsonl").append(records)
    asked = ["claims", str(tmp_path / "claims.toml"), "--from", str(tmp_path / "records"), "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    (claim,) = json.loads(done.stdout)
    assert [test["outcome"] for test in claim["tests"]] == ["reproduced", "not reproduced"]
    assert {test["source"] for test in claim["tests"]} == {"on paper"}

    write(tmp_path / "claims.toml", figure.format("xfaa", 1))
    with pytest.raises(UserError, match=r"unknown arm 'xfaa'. Did you mean 'xfa'"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
