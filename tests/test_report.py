"""Numbers, sentences, tables and pages, from records made by hand whose meaning is known."""

import io
import math

import pytest
from rich.console import Console

from xbench.metrics import METRICS
from xbench.records import Record
from xbench.report.answers import answers, caveats
from xbench.report.markdown import markdown_report
from xbench.report.numbers import show_count, show_estimate, show_interval, show_number, show_seconds
from xbench.report.plots import plot
from xbench.report.tables import markdown_table, result_grids, rich_table
from xbench.results import Results
from xbench.statistics import Estimate

WARM = {"settled": True, "block_iterations": 1}
DETAIL = {"batch": 1, "warm_up": WARM, "measured_seconds": 1.0, "steal_seconds": 0.0, "stall_seconds": 0.0}
COST = {"attention_formula": 10, "attention_torch": 10, "disagreements": ["fvcore is out"]}
COST["counters"] = {"torch": 100, "fvcore": None, "ptflops": 101}


def make(arm: str, metric: str, samples, launch=0, res=64, control=False, **fields) -> Record:
    case = {"arm": arm, "attn": arm, "baseline": None, "control": control, "img_size": [res, res], "patch_size": 2}
    case |= {"size": "s", "batch": 1, "dtype": "fp32", "device": "cpu", "threads": 1}
    unit = METRICS[metric].unit
    detail = fields.pop("detail", COST if metric == "macs" else DETAIL)
    return Record("r", "s", "k", case, metric, unit, "a", launch, list(samples), detail=detail, **fields)


def launches(arm: str, values, **fields) -> list[Record]:
    return [make(arm, "throughput", [v, v * 1.01, v * 0.99], launch=i, **fields) for i, v in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(602.4, 597.6, 607.2, 6), "602 ±5"),
        (Estimate(602.4, 600.9, 603.9, 6), "602.4 ±1.5"),
        (Estimate(3240.1, 2990.0, 3490.2, 6), "3,200 ±300"),
        (Estimate(0.31044, 0.3081, 0.3127, 6), "0.310 ±0.002"),
        (Estimate(5.0, math.nan, math.nan, 1), "5.0 ±?"),
        (Estimate(1042.0, 430.0, 2500.0, 3), "1,000 (400–2,500)"),
    ],
)
def test_digits_are_no_finer_than_the_interval_earns(estimate, shown):
    assert show_estimate(estimate) == shown


def test_numbers_are_written_as_people_read_them():
    assert show_interval(Estimate(0.18631, 0.1824, 0.1902, 6)) == "0.186 (0.182–0.190)"
    assert show_interval(Estimate.exact(2.207)) == "2.21"
    assert [show_count(n) for n in (5475688, 25415877760, 999_600, 12)] == ["5.48 M", "25.4 G", "1.00 M", "12"]
    assert [show_number(x, 3) for x in (0, 0.012345, 1234567.0)] == ["0", "0.0123", "1,230,000"]
    assert [show_seconds(s) for s in (4.2, 59.9, 200)] == ["4 s", "1 min 00 s", "3 min 20 s"]


def test_a_difference_is_said_in_the_direction_that_reads_well():
    records = launches("a", [10, 10.1, 9.9, 10, 10.05, 9.95]) + launches("b", [2, 2.02, 1.98, 2, 2.01, 1.99])
    (sentence,) = answers(Results(records))
    assert sentence.startswith("At 64, a is 5.0")
    assert "times as fast as b" in sentence
    assert "6 launches" in sentence


def test_no_difference_is_said_to_be_none():
    noisy = launches("a", [10, 12, 9, 11, 8, 10]) + launches("b", [11, 9, 10, 12, 9, 9])
    assert "no difference in speed shown between b and a" in answers(Results(noisy))[0]
    same = launches("a", [10, 11, 12, 10, 11, 12]) + launches("b", [10.01, 11, 12.02, 10, 11.01, 12])
    assert "b and a are equally fast to within 5%" in answers(Results(same))[0]


def test_a_failed_control_voids_the_speed_and_says_so():
    records = launches("a", [10] * 6) + launches("b", [5] * 6) + launches("a (control)", [9] * 6, control=True)
    results = Results(records)
    assert "nothing can be said of the speed" in answers(results)[0]
    assert any("VOID" in note for note in caveats(results))
    assert results.arms == ["a", "b"]


def test_a_metric_where_less_is_better_is_said_the_right_way_round():
    records = [
        make(arm, "latency", [ms, ms * 1.01], n) for n in range(6) for arm, ms in (("a", 10 + n), ("b", 20 + 2 * n))
    ]
    results = Results(records)
    assert results.speed_ratio(results.conditions[0], "b").value == pytest.approx(0.5)
    assert answers(results)[0].startswith("At 64, a is 2.00 times as fast as b") or "a is 2" in answers(results)[0]
    assert "by latency" in answers(results)[0]


def test_what_equals_show_between_them_is_no_finding():
    slow_control = launches("a (control)", [10.4, 10.5, 10.3, 10.4, 10.5, 10.4], control=True)
    near = launches("a", [10.0] * 6) + launches("b", [10.45, 10.4, 10.35, 10.5, 10.45, 10.4])
    assert "times as fast" in answers(Results(near))[0] or "equally" in answers(Results(near))[0]
    far = launches("b", [12.0, 12.1, 11.9, 12.0, 12.1, 12.0])
    assert "b is 1.20" in answers(Results(launches("a", [10.0] * 6) + far + slow_control))[0]
    assert "times as fast" not in answers(Results(near + slow_control))[0]


def test_a_control_that_is_missing_somewhere_makes_a_look_there():
    records = [r for res in (64, 128) for arm in "ab" for r in launches(arm, [10.0 + n for n in range(6)], res=res)]
    records += launches("a (control)", [10.0 + n for n in range(6)], control=True, res=64)
    looks = [note for note in caveats(Results(records)) if "a look" in note]
    assert looks == ["At 128 this is a look, not a claim: no control ran."]


def test_unpaired_samples_are_compared_by_their_medians():
    records = [make("a", "device_time", [1, 1, 1, 1, 9], 1), make("b", "device_time", [9, 2, 2], 1)]
    results = Results(records)
    assert results.ratio(results.conditions[0], "b", "device_time").value == pytest.approx(2.0)


def test_the_order_and_the_reference_asked_for_go_before_what_was_recorded():
    results = Results(launches("a", [10] * 3) + launches("b", [5] * 3), ["b", "a"], against="b")
    assert results.arms == ["b", "a"]
    assert results.ratio(results.conditions[0], "a", "throughput").value == pytest.approx(2.0)


def test_interference_and_unsettled_arms_are_flagged():
    stolen = DETAIL | {"steal_seconds": 0.1, "warm_up": WARM | {"settled": False}}
    records = launches("a", [10] * 6) + launches("b", [5] * 6, detail=stolen)
    records += launches("a (control)", [10] * 6, control=True)
    notes = " ".join(caveats(Results(records)))
    assert "other machines on this host took 5% of the processor's time" in notes
    assert "b had not settled when measuring began in 6 of 6 launches" in notes


def test_a_failure_is_a_row_with_its_reason():
    failed = make("<script>|b", "macs", [], status="oom", reason="killed | <b>")
    results = Results([make("a", "macs", [100]), failed])
    (grid,) = result_grids(results)
    assert [row[0] for row in grid.rows] == ["a", "<script>|b"]
    table = markdown_table(grid)
    assert "oom: killed \\| &lt;b&gt;" in table
    assert "<script>" not in table
    assert all(line.count("|") - line.count("\\|") == len(grid.heads) + 1 for line in table.splitlines())
    assert rich_table(grid, 100).row_count == 1
    assert "could not be measured (oom: killed | <b>)" in answers(results)[0]


def test_a_narrow_terminal_gets_fewer_columns_and_never_loses_the_name():
    records = [*launches("a_rather_long_name", [10, 11, 12]), make("a_rather_long_name", "macs", [100])]
    (grid,) = result_grids(Results(records))
    for width in (100, 40, 30):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(rich_table(grid, width))
        text = console.export_text()
        assert "a_rather_long_name" in text
        assert ("MACs" in text) == (width > 30)


def test_report_links_and_says_how_to_run_again(tmp_path):
    records = launches("a", [10] * 3) + launches("b", [5] * 3) + [make(arm, "macs", [100]) for arm in "ab"]
    text = markdown_report(Results(records), "Why?", "xbench compare", [tmp_path / "plots" / "cost.png"], tmp_path)
    assert text.startswith("# Why?\n")
    assert "![cost](plots/cost.png)" in text
    assert "xbench compare" in text
    assert "| failed |" in text, "a counter that failed is shown as failed"
    assert "a: fvcore is out." in text


def test_several_resolutions_become_lines_on_log_axes():
    records = [r for res in (64, 128) for arm in "ab" for r in launches(arm, [10, 11, 9], res=res)]
    axes = plot(Results(records), "throughput").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert plot(Results(records), "memory") is None
