"""What is shown while a run goes on: everything of a small study, how far it is of a large one."""

import io
from dataclasses import replace

from made_records import LINEAR, QUADRATIC, exact, failed, place
from rich.console import Console

from xbench.report.live import Display
from xbench.runner.progress import Progress
from xbench.statistics.estimates import Estimate
from xbench.study.request import StudyRequest, make_study


def show(study, batches, width=200):
    console = Console(file=io.StringIO(), width=width)
    with Display(study, console) as display:
        for records in batches:
            display.recorded(records)
    return console.file.getvalue().splitlines()


def static(arm, where):
    return exact(arm, where, ("params", "macs", "predicted_memory"))


def test_a_small_study_shows_every_figure_and_every_failure():
    study = make_study(StudyRequest(["mhsa", "xfa"], [512, 1024], metrics=["params", "macs", "peak_memory"]))
    lines = show(study, [static(QUADRATIC, place(512)), failed(LINEAR, place(512))])
    assert len(lines) == 4
    assert lines[0].startswith("512 px · mhsa: parameters 5.48 M")
    assert lines[-1] == "512 px · xfa: oom: allocating 16 GiB"


def test_a_large_sweep_shows_how_far_it_is():
    sides = range(64, 64 + 32 * 50, 32)
    study = make_study(
        StudyRequest(["mhsa", "xfa"], list(sides), patch=[1, 2, 4], metrics=["params", "macs", "predicted_memory"])
    )
    places = [place(res, patch_size=patch) for res in sides for patch in (1, 2, 4)]
    assert len(list(study.cases())) == 300
    lines = show(study, [static(arm, where) for where in places for arm in (QUADRATIC, LINEAR)])
    assert len(lines) == 10
    assert lines[3].startswith("figures on paper: 120 of 300 cases")


def test_failures_of_a_large_sweep_do_not_flood():
    sides = list(range(64, 64 + 32 * 50, 32))
    study = make_study(StudyRequest(["mhsa", "xfa"], sides, metrics=["params", "macs", "peak_memory"]))
    lines = show(study, [failed(LINEAR, place(res), ("params", "macs", "peak_memory")) for res in sides])
    assert sum("oom" in line for line in lines) == 12
    assert any("stands in the report" in line for line in lines)


def test_of_many_arms_a_launch_shows_the_extremes():
    ratios = {
        "xfa": Estimate(2.8, 2.7, 2.9, 3),
        "linear": Estimate(0.63, 0.6, 0.66, 3),
        "mhsa again": Estimate(1, 0.92, 1.09, 3),
    }
    lines = []
    for attn in (["mhsa", "xfa", "linear"], ["mhsa", "xfa", "linear", "window", "xca"]):
        study = make_study(StudyRequest(attn, [512], metrics=["throughput"]))
        console = Console(file=io.StringIO(), width=200)
        with Display(study, console) as display:
            display.advanced(Progress(next(study.cases()).conditions, 3, 6, ratios, 60.0))
        lines.append(console.file.getvalue())
    few, many = lines
    assert "xfa 2.80 (2.70–2.90)" in few or "xfa 2.8 (2.7–2.9)" in few
    assert "slowest linear 0.63, fastest xfa 2.8, widest interval ±9%" in many


def test_attentions_alone_are_named_by_their_tokens():
    study = make_study(StudyRequest(["mhsa", "xfa"], tokens=[256, 1024], level=["op"], metrics=["macs"]))
    lines = show(study, [exact(replace(QUADRATIC), place(tokens=1024), ("macs",))])
    assert lines[0].startswith("N = 1,024 · mhsa: multiply–accumulates")
