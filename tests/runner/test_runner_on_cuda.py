"""The whole line on a GPU: every metric has a figure, and what does not fit is out of memory and nothing worse."""

import pytest

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.records.ledger import Ledger
from xbench.runner.progress import RunLimits
from xbench.runner.runner import Runner
from xbench.study.request import StudyRequest, make_study

pytestmark = [pytest.mark.cuda, pytest.mark.process]


def cells(tmp_path, **asked):
    study = make_study(StudyRequest(device="cuda", quick=True, **asked))
    ledger = Ledger(tmp_path / "records.jsonl")
    Runner(study, ledger, limits=RunLimits(turn_seconds=120.0)).run()
    return study, Results(ledger.read())


def test_every_metric_of_an_attention_and_a_whole_model(tmp_path):
    study, results = cells(tmp_path, attn=["xfa"], model=["mobilevit_xxs"], res=[128], size="xxs", dtype=["fp16"])
    assert {"device_time", "breakdown", "limits", "latency", "peak_memory"} <= set(study.metrics)
    assert not results.failures
    times = [record for record in results.records if METRICS[record.metric].how == "timed"]
    assert all(min(record.samples) > 0 for record in times)
    (name,) = {record.detail["device"]["name"] for record in times if record.metric == "throughput"}
    assert name in results.records[0].machine["gpu"]


def test_training(tmp_path):
    _, results = cells(tmp_path, attn=["xfa"], res=[64], size="xxs", direction=["training"], dtype=["bf16"])
    assert not results.failures
    assert {"forward_time", "backward_time", "peak_memory"} <= {record.metric for record in results.records}


def test_compiled_runs_beside_eager(tmp_path):
    _, results = cells(
        tmp_path, attn=["xfa"], res=[64], size="xxs", mode=["eager", "compile"], metrics=["throughput", "peak_memory"]
    )
    assert not results.failures


def test_what_does_not_fit_is_out_of_memory(tmp_path):
    # 65,536 tokens squared are 17 GiB of scores for each of four heads and one image.
    _, results = cells(
        tmp_path, attn=["mhsa", "xfa"], level=["op"], tokens=[65536], batch=[8], metrics=["peak_memory", "throughput"]
    )
    assert {(arm, cell.status) for _, arm, cell in results.failures} == {("mhsa", "oom")}


def test_the_largest_batch_is_within_the_device(tmp_path):
    _, results = cells(tmp_path, attn=["mhsa"], res=[1024], size="s", metrics=["max_batch"], direction=["training"])
    assert not results.failures
    (record,) = (record for record in results.records if record.metric == "max_batch")
    assert record.samples[0] >= 1
    assert record.detail["peak_mib"] * 2**20 <= record.detail["limit"]
