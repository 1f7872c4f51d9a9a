"""Tables: what stands in which row and column, on a terminal and in Markdown."""

import io
from dataclasses import replace

import pytest
from made_records import CONTROL, LINEAR, QUADRATIC, MadeArm, exact, failed, make, place, timed
from rich.console import Console

from xbench.report.meaning_tables import cost_grids, exponent_grids, limit_grids, share_grids
from xbench.report.tables import markdown_table, result_grids, rich_table
from xbench.results import Results


def shown(grid, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_table(grid, width))
    return console.export_text()


def column(grid, head):
    return [row[grid.heads.index(head)] for row in grid.rows]


def test_a_failure_is_a_row_with_its_reason():
    arm = MadeArm("<script>|b", 1.0, 1e-6)
    records = exact(QUADRATIC, place(), ("macs",)) + failed(arm, place(), ("macs",))
    records[-1] = replace(records[-1], reason="killed | <b>")
    (grid,) = result_grids(Results(records))
    assert column(grid, "arm") == ["mhsa", "<script>|b"]
    table = markdown_table(grid)
    assert "oom: killed \\| &lt;b&gt;" in table
    assert "<script>" not in table
    assert all(line.count("|") - line.count("\\|") == len(grid.heads) + 1 for line in table.splitlines())
    assert rich_table(grid, 100).row_count == 1


def test_a_narrow_terminal_gets_fewer_columns_and_never_loses_the_name():
    arm = MadeArm("a_rather_long_name", 1.0, 1e-6)
    (grid,) = result_grids(Results(exact(arm, place(), ("macs",)) + timed(arm, place())))
    for width in (100, 50, 40):
        text = shown(grid, width)
        assert "a_rather_long_name" in text
        assert ("MACs" in text) == (width > 40)


def test_a_sweep_is_one_table_that_names_each_place_once():
    places = [place(res, patch_size=patch) for res in (256, 512) for patch in (1, 2, 4)]
    arms = (QUADRATIC, LINEAR)
    records = [r for where in places for arm in arms for r in exact(arm, where, ("params", "macs"))]
    (grid,) = result_grids(Results(records))
    assert grid.title == "XFormer-s · batch 1 · fp32 · cpu, 2 threads"
    assert grid.heads[: grid.names] == ["px", "patch", "arm"]
    assert [row[:3] for row in grid.rows[:3]] == [["256", "1", "mhsa"], ["256", "1", "xfa"], ["256", "2", "mhsa"]]
    lines = markdown_table(grid).splitlines()
    assert [line.split("|")[1:4] for line in lines[2:4]] == [[" 256 ", " 1 ", " mhsa "], ["  ", "  ", " xfa "]]
    cut = grid.shortened(5)
    assert len(cut.rows) == 4, "cut between places"
    assert cut.notes == ("… 8 more rows in report.md",)


def test_a_place_whose_first_arm_failed_still_has_its_name():
    places = [place(res) for res in (256, 512, 768, 1024, 2048)]
    records = [r for where in places[:-1] for arm in (QUADRATIC, LINEAR) for r in exact(arm, where, ("macs",))]
    records += failed(QUADRATIC, places[-1], ("macs",)) + exact(LINEAR, places[-1], ("macs",))
    (grid,) = result_grids(Results(records))
    (row,) = grid.spans
    assert grid.name(row) == "px 2048, mhsa"
    assert "2048" in shown(grid, 100)


def test_levels_and_directions_have_tables_of_their_own():
    alone = place(tokens=4096, batch=8)
    places = [place(512), place(512, direction="training"), alone]
    records = [r for where in places for arm in (QUADRATIC, LINEAR) for r in timed(arm, where)]
    model, training, op = result_grids(Results(records))
    assert "img/s" in model.heads
    assert "backward ms" not in model.heads
    assert {"forward ms", "backward ms", "optimizer ms"} <= set(training.heads)
    assert "training" in training.title
    assert op.title.startswith("N = 4,096 · attention of XFormer-s alone · 8 sequences")
    assert "seq/s" in op.heads


def test_where_the_time_goes_adds_up_and_has_its_bound():
    records = timed(QUADRATIC, place(1024), noise=0.0) + timed(LINEAR, place(1024), noise=0.0)
    (grid,) = share_grids(Results(records + timed(CONTROL, place(1024))))
    assert column(grid, "arm") == ["mhsa", "xfa"]
    shares = [float(text.partition("%")[0]) for text in grid.rows[0][1:7]]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert column(grid, "attention")[0].startswith("67.2%")
    assert column(grid, "without attention ×")[0].startswith("3.05")


def test_exponents_stand_beside_what_is_stated():
    records = [
        r
        for tokens in (1024, 4096, 16384)
        for arm in (QUADRATIC, LINEAR)
        for r in timed(arm, place(tokens=tokens)) + exact(arm, place(tokens=tokens))
    ]
    (grid,) = exponent_grids(Results(records))
    assert column(grid, "stated") == ["2", "1"]
    assert [float(text.split()[0]) for text in column(grid, "time")] == pytest.approx([2, 1], abs=0.05)
    assert "N =" not in grid.title


def test_the_roof_has_a_row_for_each_arm_that_was_timed():
    records = [r for arm in (QUADRATIC, LINEAR) for r in exact(arm, place()) + timed(arm, place())]
    (grid,) = limit_grids(Results(records))
    assert column(grid, "arm") == ["mhsa", "xfa"]
    assert column(grid, "MACs per byte") == ["20.0", "20.0"]


def test_counters_are_compared_where_they_were_asked():
    detail = {"attention_formula": 40, "attention_torch": 40, "counters": {"torch": 100}, "disagreements": []}
    (unchecked,) = [make(LINEAR, place(), "macs", [100], detail=detail)]
    (checked,) = exact(QUADRATIC, place(), ("macs",))
    results = Results([checked, unchecked])
    (grid,) = cost_grids(results, results.conditions)
    assert column(grid, "arm") == ["mhsa"]
    assert column(grid, "fvcore") == ["failed"]
    alone = Results([unchecked])
    assert cost_grids(alone, alone.conditions) == []
    odd = make(LINEAR, place(), "macs", [100], detail=detail | {"disagreements": ["torch counts 0.9 ×"]})
    (grid,) = cost_grids(Results([odd]), results.conditions)
    assert column(grid, "ptflops") == ["–"]
    assert grid.notes == ("xfa: torch counts 0.9 ×.",)
