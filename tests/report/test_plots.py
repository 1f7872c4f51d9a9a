"""Plots: what is drawn of which results, and that nothing hides anything."""

import re

import pytest
from made_records import CONTROL, LINEAR, QUADRATIC, MadeArm, exact, failed, place, probed, timed, trained
from matplotlib.patches import Rectangle

from xbench.analysis.results import Results
from xbench.report.plots.catalogue import DRAWN, plot, save_plots
from xbench.report.plots.panels import ACROSS, MANY, featured, line_style, make_panels, style
from xbench.study.study import PLOTS

ALL = ("params", "macs", "predicted_memory", "peak_memory", "max_batch")


def measure(arms, places, control=True):
    records = [r for where in places for arm in arms for r in exact(arm, where, ALL) + timed(arm, where)]
    return records + [r for where in places if control for r in timed(CONTROL, where)]


def many_arms():
    arms = [QUADRATIC, *(MadeArm(f"arm-{i:02d}", 1 + i % 2, 1e-6 * (i + 1)) for i in range(24))]
    places = [place(res) for res in (256, 512, 1024)]
    return Results([r for where in places for arm in arms for r in timed(arm, where, launches=2, rounds=2)])


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(figure):
    return [text.get_text().replace("\n  ", " ") for text in figure.legends[0].get_texts()]


def bars(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_every_plot_that_can_be_asked_for_is_drawn_or_not_there(tmp_path):
    learnt = [r for arm in (QUADRATIC, LINEAR) for r in trained(arm, place(256), [90.0, 92.0])]
    learnt += [r for arm in (QUADRATIC, LINEAR) for r in probed(arm, place(256), [{4: 90.0, 8: 50.0}])]
    inference = Results(measure((QUADRATIC, LINEAR), [place(res) for res in (256, 512, 1024)]) + learnt)
    training = Results(measure((QUADRATIC, LINEAR), [place(256, direction="training")]))
    assert set(DRAWN) == set(PLOTS)
    drawn = {name for name in PLOTS if plot(inference, name)}
    assert drawn == set(PLOTS) - {"device_time", "latency", "threads", "training"}
    (tmp_path / "scaling.png").touch()
    saved = save_plots(training, PLOTS, tmp_path)
    assert "training" in {path.stem for path in saved}
    assert not (tmp_path / "scaling.png").exists(), "what an earlier run drew and this one did not is gone"


def test_several_resolutions_become_lines_on_log_axes_and_a_failure_is_named():
    records = measure((QUADRATIC, LINEAR), [place(res) for res in (256, 512)])
    records += failed(QUADRATIC, place(1024)) + exact(LINEAR, place(1024)) + timed(LINEAR, place(1024))
    figure = plot(Results(records), "throughput")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["256", "512", "1024"]
    assert legend(figure) == ["mhsa (oom at 1024 px)", "xfa"]
    assert plot(Results(timed(LINEAR, place())), "memory") is None


def test_the_axis_is_the_number_that_varies():
    patches = [place(1024, patch_size=p) for p in (1, 2, 4, 8)]
    (axes,) = plot(Results(measure((QUADRATIC, LINEAR), patches)), "throughput").axes
    assert "patch size" in axes.get_xlabel()
    panels = make_panels([place(512, threads=t, dtype=d) for t in (2, 1) for d in ("fp32", "bf16")])
    assert [panel.axis for panel in panels] == ["threads", "threads"]
    assert [where.threads for where in panels[0].places] == [1, 2]


def test_levels_are_never_on_one_axis_and_rows_stay_short():
    places = [place(512), place(1024), place(tokens=256), place(tokens=1024), place(512, level="block")]
    panels = make_panels(places)
    assert [len(panel.places) for panel in panels] == [2, 2, 1]
    many = [place(res, patch_size=p, batch=b) for p in (1, 2, 4) for b in (1, 8) for res in (256, 512)]
    figure = plot(Results(measure((QUADRATIC, LINEAR), many, control=False)), "throughput")
    assert len(figure.axes) == 6
    assert max(axes.get_subplotspec().get_gridspec().ncols for axes in figure.axes) <= ACROSS


@pytest.mark.parametrize("name", ["throughput", "scaling"])
def test_25_arms_can_be_told_apart_and_their_legend_hides_nothing(name):
    results = many_arms()
    assert (
        len({(s["color"], str(s["linestyle"])) for s in (line_style(results.arms, arm) for arm in results.arms)}) == 25
    )
    coloured = featured(results)
    assert results.against in coloured
    assert len(coloured) <= MANY
    assert len({style(results, arm)["color"] for arm in results.arms}) == len(coloured) + 1, "the rest is grey"
    figure = plot(results, name)
    figure.draw_without_rendering()
    box, (axes,) = figure.legends[0].get_window_extent(), figure.axes
    assert not box.overlaps(axes.get_window_extent())
    assert figure.bbox.contains(box.x1 - 1, box.y0 + 1), "the legend is within the page"
    assert axes.get_window_extent().width > 200


def test_an_attention_has_one_colour_in_every_run_and_titles_say_what_was_found():
    places, separable = [place(res) for res in (256, 512)], MadeArm("separable", 1.0, 5e-6, attn="separable")
    two = Results(measure((QUADRATIC, LINEAR), places))
    three = Results(measure((separable, LINEAR, QUADRATIC), places))
    assert all(style(two, arm)["color"] == style(three, arm)["color"] for arm in two.arms)
    ways = ["xfa", "xfa:rank=4", "xfa compiled"]
    assert len({line_style(ways, arm)["color"] for arm in ways}) == 3
    title = plot(two, "speed").get_suptitle()
    assert title.startswith("At 512 px, xfa is the fastest: ")


def test_one_place_gives_bars_with_the_ratio_from_1():
    figure = plot(Results(measure((QUADRATIC, LINEAR), [place(1024)])), "speed")
    (axes,) = figure.axes
    (bar,) = [patch for patch in bars(axes) if patch.get_height() == 0.62]
    assert bar.get_x() == 1
    assert bar.get_width() == pytest.approx(1.7, abs=0.15)
    assert "mhsa against itself" in axes.get_xlabel()


def test_a_crossover_is_marked_with_its_interval():
    slow_start = MadeArm("xfa", 1.0, 2e-5, attn="xfa")
    records = measure((QUADRATIC, slow_start), [place(tokens=n) for n in (256, 512, 2048, 4096)])
    figure = plot(Results(records), "speed")
    (text, control) = legend(figure)
    at = re.match(r"xfa \(ahead from N = ([\d,]+) \(", text)
    assert at
    assert float(at[1].replace(",", "")) == pytest.approx(1000, rel=0.1)
    assert "control" in control
    assert len(bars(figure.axes[0])) == 1, "the band of its interval"


def test_components_add_up_to_the_whole_and_the_attention_has_its_interval():
    results = Results(measure((QUADRATIC, LINEAR), [place(1024)]))
    (axes,) = plot(results, "breakdown").axes
    whole = results.cell(results.conditions[0], "mhsa", "breakdown").figure.value
    assert sum(bar.get_width() for bar in bars(axes)[:6]) == pytest.approx(whole, rel=0.01)
    assert len(axes.containers) == 2 * 6 + 2, "an error bar for each arm's attention"
    assert any(re.search(r"× 3\.0\d \(3\.0\d–3\.0\d\)", text.get_text()) for text in axes.texts)
    training = plot(Results(measure((QUADRATIC, LINEAR), [place(256, direction="training")])), "training")
    assert len(training.axes[0].containers) == 2 * 3, "of parts that do not begin at 0 no error bars"


def test_of_many_arms_the_ends_are_ranked_and_the_parts_are_shares():
    results = many_arms()
    figure = plot(results, "speed")
    assert titles(figure) == ["256 px", "512 px", "1024 px"]
    for axes, where in zip(figure.axes, map(place, (256, 512, 1024)), strict=True):
        ratios = [results.speed_ratio(where, label.get_text()).value for label in axes.get_yticklabels()]
        assert len(ratios) == 24
        assert ratios == sorted(ratios, reverse=True)
    axes = plot(results, "breakdown").axes[0]
    assert axes.get_xlabel().endswith("[%]")
    assert sum(bar.get_width() for bar in bars(axes)[:6]) == pytest.approx(100)
    assert max(axes.get_xticks()) == 100


def test_every_number_of_threads_has_its_own_roof():
    places = [place(res, threads=threads) for threads in (1, 2) for res in (512, 1024)]
    compiled = MadeArm("compiled", 2.0, 2e-8, mode="compile")
    figure = plot(Results(measure((QUADRATIC, LINEAR, compiled), places)), "roofline")
    assert titles(figure) == ["1 thread", "2 threads"]
    assert [label.partition(":")[0] for label in legend(figure)] == ["mhsa", "xfa", "roof"], "compiled arms have none"


def test_where_the_control_failed_the_title_says_so():
    records = measure((QUADRATIC, LINEAR), [place(256), place(512)], control=False)
    records += timed(CONTROL, place(256)) + timed(MadeArm("mhsa again", 2.0, 4e-8, control=True), place(512))
    results = Results(records)
    assert titles(plot(results, "throughput")) == ["void at 512 px: control failed"]
    assert titles(plot(results, "memory")) == [""], "exact figures need no control"
    alone = Results([record for record in records if record.case["img_size"] == [512, 512]])
    assert titles(plot(alone, "speed")) == ["void: control failed"]


def test_names_that_mean_something_to_matplotlib_are_only_names():
    arms = (QUADRATIC, MadeArm("_private$a$", 1.0, 1e-6))
    figure = plot(Results(measure(arms, [place(256), place(512)])), "throughput")
    assert [text.strip() for text in legend(figure)] == ["mhsa", r"_private\$a\$"]
