"""Runs in experiment trackers: what is logged, by libraries that note it down, and by the real ones where they are."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_records import LINEAR, QUADRATIC, exact, failed, place, timed

from xbench.analysis.results import Results
from xbench.errors import UserError
from xbench.exchange.trackers import TRACKERS, log_run, logged_figures

RESULTS = Results(
    [r for res in (256, 512) for arm in (QUADRATIC, LINEAR) for r in timed(arm, place(res)) + exact(arm, place(res))]
    + failed(QUADRATIC, place(1024))
)


def test_every_figure_is_a_metric_named_by_what_who_and_where():
    figures = logged_figures(RESULTS)
    assert figures["params/xfa/256 px XFormer-s patch 2 batch 1 fp32 cpu 2 threads"] == 5_475_688
    assert len([name for name in figures if name.startswith("throughput/")]) == 4
    assert not [name for name in figures if "1024 px" in name], "what failed has no figure"


class Noting:
    """A tracker that notes down what it is told."""

    def __init__(self):
        self.told, self.summary = {}, {}

    def init(self, **given):
        self.told |= given
        return nullcontext(SimpleNamespace(summary=self.summary, save=lambda *_, **__: None))

    set_experiment = staticmethod(lambda name: None)
    finish = staticmethod(lambda: None)
    log_artifact = staticmethod(lambda file: None)

    def start_run(self, run_name):
        self.told["name"] = run_name
        return nullcontext()

    def log_params(self, found):
        self.told["config"] = found

    def log_metrics(self, found):
        self.summary |= found

    log = log_metrics


@pytest.mark.parametrize("tracker", TRACKERS)
def test_each_tracker_is_told_all_of_it(tracker, monkeypatch, tmp_path):
    noting = Noting()
    monkeypatch.setitem(sys.modules, tracker, noting)
    (tmp_path / "report.md").write_text("# ?\n")
    assert log_run(tracker, RESULTS, tmp_path, "mine", "xbench") == len(noting.summary)
    assert noting.summary == logged_figures(RESULTS)
    assert noting.told["name"] == "mine"
    assert noting.told["config"]["arms"] == "mhsa, xfa"


def test_what_is_not_there_or_refuses_is_a_sentence(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'mlflow'"):
        log_run("mlflw", RESULTS, tmp_path, "mine", "xbench")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb is not installed: pip install wandb"):
        log_run("wandb", RESULTS, tmp_path, "mine", "xbench")
    broken = Noting()
    broken.set_experiment = lambda name: (_ for _ in ()).throw(OSError("no server at http://nowhere"))
    monkeypatch.setitem(sys.modules, "mlflow", broken)
    with pytest.raises(UserError, match="mlflow did not take the run: no server at"):
        log_run("mlflow", RESULTS, Path(tmp_path), "mine", "xbench")
