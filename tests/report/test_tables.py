"""Tables: what stands in which row and column, on a terminal and in Markdown."""

import io
import re
from dataclasses import replace

import pytest
from made_records import CONTROL, DETAIL, LINEAR, QUADRATIC, WARM, MadeArm, exact, failed, make, place, timed
from markdown_it import MarkdownIt
from rich.console import Console

from xbench.analysis.results import Results
from xbench.errors import UserError
from xbench.report.tables.chosen import choose
from xbench.report.tables.grids import markdown_table, result_grids, rich_table
from xbench.report.tables.meanings import (
    cost_grids,
    crossover_grids,
    exponent_grids,
    limit_grids,
    machine_lines,
    share_grids,
    spread_grids,
    start_grids,
)
from xbench.report.tables.modes import mode_grids
from xbench.report.tables.pivot import pivot_grids


def shown(grid, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_table(grid, width))
    return console.export_text()


def column(grid, head):
    return [row[grid.heads.index(head)] for row in grid.rows]


def test_names_are_whole_and_columns_give_way():
    long = replace(LINEAR, label="a_timm_model_with_a_name_of_forty_letters_ @224")
    (grid,) = result_grids(Results(timed(QUADRATIC, place()) + timed(long, place()) + exact(long, place())))
    for width in (60, 80, 120):
        text = shown(grid, width)
        assert long.label in text, width
        assert max(map(len, text.splitlines())) <= width
    assert "params" not in shown(grid, 60)


def test_percentiles_are_of_single_calls_where_there_are_enough():
    def grids(iterations, rounds):
        warm = {**WARM, "block_iterations": iterations}
        detail = {**DETAIL, "warm_up": warm}
        records = [
            make(LINEAR, place(), "latency", [float(x) for x in range(rounds)], n, detail=detail) for n in (1, 2)
        ]
        return spread_grids(Results(records))

    assert grids(iterations=2, rounds=300) == []
    assert grids(iterations=1, rounds=20) == []
    (grid,) = grids(iterations=1, rounds=101)
    assert dict(zip(grid.heads, grid.rows[0], strict=True)) == {
        **{"arm": "xfa", "calls": "202", "p50 ms": "50.0", "p90 ms": "90.0", "p99 ms": "–", "longest ms": "100"}
    }
    (grid,) = grids(iterations=1, rounds=301)
    assert grid.rows[0][grid.heads.index("p99 ms")] == "297"


def test_a_reader_chooses_columns_order_and_rows():
    records = [r for arm in (QUADRATIC, LINEAR) for r in timed(arm, place()) + exact(arm, place())]
    grids = result_grids(Results(records + failed(MadeArm("lost", attn="lost"), place())))
    (fast,) = choose(grids, ["img/s", "MACs"], "img/s", None)
    assert fast.heads == ["arm", "img/s", "MACs"]
    assert [row[0] for row in fast.rows] == ["xfa", "mhsa", "lost"]
    assert fast.spans.keys() == {2}
    (small,) = choose(grids, [], "peak MiB", 1)
    assert [row[0] for row in small.rows] == ["xfa"]
    with pytest.raises(UserError, match="Did you mean 'peak MiB'"):
        choose(grids, ["peak MB"], None, None)
    with pytest.raises(UserError, match="--top must be at least 1"):
        choose(grids, [], None, 0)


def test_models_in_several_modes_are_a_row_each_with_the_quickest_where_it_is_shown():
    where = place(224)
    fast = MadeArm("xfa onnxruntime", cost=1e-6, attn="xfa", mode="onnxruntime")
    noisy = replace(QUADRATIC, label="mhsa onnxruntime", mode="onnxruntime")
    records = [record for arm in (QUADRATIC, LINEAR) for record in timed(arm, where) + exact(arm, where)]
    records += timed(fast, where) + timed(noisy, where, noise=0.5)
    records += [make(LINEAR, where, "published_top1", [78.5])]
    (grid,) = mode_grids(Results(records))
    by_model = {row[0]: dict(zip(grid.heads, row, strict=True)) for row in grid.rows}
    assert set(by_model) == {"xfa", "mhsa"}
    assert [own["published top-1 %"] for own in (by_model["xfa"], by_model["mhsa"])] == ["78.5", ""]
    assert [own["quickest"] for own in (by_model["xfa"], by_model["mhsa"])] == ["onnxruntime", ""]
    assert mode_grids(Results(timed(QUADRATIC, where))) == []


def test_markdown_is_read_as_a_table_with_all_its_rows():
    (grid,) = result_grids(Results(exact(QUADRATIC, place()) + exact(LINEAR, place())))
    kinds = [token.type for token in MarkdownIt("commonmark").enable("table").parse(markdown_table(grid))]
    assert kinds.count("table_open") == 1
    assert kinds.count("tr_open") == 1 + len(grid.rows)


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
    assert grid.heads[: grid.names] == ["input", "patch", "arm"]
    assert [row[:3] for row in grid.rows[:3]] == [
        ["256 px", "1", "mhsa"],
        ["256 px", "1", "xfa"],
        ["256 px", "2", "mhsa"],
    ]
    lines = markdown_table(grid).splitlines()
    assert [line.split("|")[1:4] for line in lines[2:4]] == [[" 256 px ", " 1 ", " mhsa "], ["  ", "  ", " xfa "]]
    cut = grid.shortened(5)
    assert len(cut.rows) == 4, "cut between places"
    assert cut.notes == ("… 8 more rows in report.md",)


def test_a_place_whose_first_arm_failed_still_has_its_name():
    places = [place(res) for res in (256, 512, 768, 1024, 2048)]
    records = [r for where in places[:-1] for arm in (QUADRATIC, LINEAR) for r in exact(arm, where, ("macs",))]
    records += failed(QUADRATIC, places[-1], ("macs",)) + exact(LINEAR, places[-1], ("macs",))
    (grid,) = result_grids(Results(records))
    (row,) = grid.spans
    assert grid.name(row) == "2048 px, mhsa"
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
    assert "GMACs/s" in grid.heads
    (line,) = machine_lines(Results(records))
    assert re.fullmatch(
        r"fp32 · cpu, 2 threads: 1\d\d\.\d GMACs/s \([\d.–]+\) in a matrix product, 1\d\.\d GB/s \([\d.–]+\) copied",
        line,
    )


def test_a_pivot_ranks_the_arms_by_the_largest_size_and_says_why_a_cell_has_no_ratio():
    sizes = (256, 384, 512, 768, 1024)
    arms = (QUADRATIC, LINEAR, MadeArm("slow", 2.0, 4e-8), MadeArm("lost", 1.0, 1e-6))
    void = MadeArm("mhsa again", 2.0, 4e-8, control=True)
    records = [r for res in sizes for arm in arms[:3] for r in exact(arm, place(res)) + timed(arm, place(res))]
    records += [r for res in sizes[:4] for r in exact(arms[3], place(res)) + timed(arms[3], place(res))]
    records += failed(arms[3], place(1024), ("throughput", "peak_memory"), status="unsupported")
    records += timed(CONTROL, place(256)) + timed(void, place(512))
    (grid,) = pivot_grids(Results(records))
    assert grid.heads == ["arm", "256 px", "512 px", "1024 px", "memory ×", "attn %"]
    assert column(grid, "arm") == ["xfa", "mhsa", "slow", "lost", "mhsa again"]
    by_arm = {row[0]: row[1:] for row in grid.rows}
    assert by_arm["mhsa"][:4] == ["1", "1", "1", "1"]
    assert by_arm["xfa"][1].startswith("void ")
    assert by_arm["lost"][2:] == ["unsupported", "unsupported", ""]
    assert by_arm["mhsa"][4] == "67"


def test_a_pivot_of_figures_on_paper_compares_memory_least_first():
    places = [place(res, patch_size=patch) for patch in (1, 2) for res in (256, 512)]
    records = [r for where in places for arm in (QUADRATIC, LINEAR) for r in exact(arm, where)]
    (grid,) = pivot_grids(Results(records))
    assert grid.title.startswith("Memory as a multiple of mhsa's")
    assert column(grid, "patch") == ["1", "1", "2", "2"]
    assert column(grid, "arm") == ["xfa", "mhsa", "xfa", "mhsa"]


def test_crossovers_stand_between_the_sizes_that_show_them():
    slow_start = MadeArm("xfa", 1.0, 2e-5, attn="xfa")
    places = [place(tokens=n) for n in (256, 512, 2048, 4096)]
    (grid,) = crossover_grids(
        Results([r for where in places for arm in (QUADRATIC, slow_start) for r in timed(arm, where)])
    )
    ((arm, becomes, near, interval, bracket),) = grid.rows
    assert (arm, becomes, bracket) == ("xfa", "faster", "N = 512 and 2,048")
    assert float(near.removeprefix("N = ").replace(",", "")) == pytest.approx(1000, rel=0.1)
    assert "–" in interval


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


def test_modes_have_a_table_of_what_comes_before_a_pass():
    eager, engine = timed(LINEAR, place()), timed(MadeArm("xfa openvino", mode="openvino"), place())
    for record in eager + engine:
        record.detail.update({"warm_up": {"first_seconds": 0.25, "settled": True}, "device": {"process_mib": 300.0}})
    for record in engine:
        record.detail["device"]["export"] = {"off": 2.1e-6, "bytes": 3 * 2**20, "seconds": 12.34}
    (grid,) = start_grids(Results(eager + engine))
    assert grid.heads[grid.names :] == ["export off by", "file MiB", "export s", "first pass ms", "process MiB"]
    assert [row[grid.names :] for row in grid.rows] == [
        ["", "", "", "250", "300"],
        ["2e-06", "3.00", "12.3", "250", "300"],
    ]
    assert start_grids(Results(eager)) == []
