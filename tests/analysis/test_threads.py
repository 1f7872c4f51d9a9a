"""What more threads bring, held to Welch's interval as scipy takes it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_records import LINEAR, place, timed
from scipy import stats

from xbench.analysis.results import Results
from xbench.analysis.threads import thread_scaling, threads_apart
from xbench.report.plots.catalogue import plot
from xbench.report.tables.meanings import thread_grids


def at_threads(threads, img_per_second):
    """A launch for each figure."""
    records = timed(LINEAR, place(threads=threads), launches=len(img_per_second))
    kept = [record for record in records if record.metric == "throughput"]
    return [replace(record, samples=[value]) for record, value in zip(kept, img_per_second, strict=True)]


def test_the_power_of_the_threads_is_welchs():
    one, four = [10.0, 10.4, 9.8, 10.1], [27.0, 30.5, 29.0, 28.2]
    results = Results(at_threads(1, one) + at_threads(4, four))
    (places,) = threads_apart(results.conditions)
    (found,) = thread_scaling(results, places, LINEAR.label)
    expected = stats.ttest_ind(np.log(four), np.log(one), equal_var=False)
    low, high = expected.confidence_interval(0.95)
    middle = np.log(four).mean() - np.log(one).mean()
    assert found.threads == 4
    for estimate, of in ((found.speed, math.exp), (found.power, lambda log: log / math.log(4))):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((of(middle), of(low), of(high)))


def test_table_and_plot_are_of_what_differs_in_threads_alone():
    results = Results(at_threads(1, [10.0, 10.0]) + at_threads(2, [20.0, 20.0]) + at_threads(4, [20.0, 20.0]))
    (grid,) = thread_grids(results)
    assert grid.title.startswith("As fast as with 1 thread · ")
    assert "threads" not in grid.title.partition(" · ")[2]
    assert [row[1:] for row in grid.rows] == [["2.00 · 1.00", "2.00 · 0.500"]]
    assert plot(results, "threads") is not None
    assert thread_grids(Results(at_threads(1, [10.0, 10.0]))) == []
    assert plot(Results(at_threads(1, [10.0, 10.0])), "threads") is None
