"""Tables for other documents: what LaTeX is given is LaTeX, and what calculates gets the figures themselves."""

import json
import re
from io import BytesIO, StringIO
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from xbench.analysis.frame import tidy_frame
from xbench.analysis.runs import read_run
from xbench.cli.verbs import app
from xbench.report.tables.grids import Grid
from xbench.report.tables.portable import FORMS, _latex_table, portable

REPORTS = Path(__file__).parents[2] / "results" / "reports"


@pytest.fixture(scope="module")
def results():
    return read_run(REPORTS / "overview")


def test_numbers_come_back_as_they_were(results):
    frame = tidy_frame(results)
    read = {
        "csv": pd.read_csv(StringIO(portable(results, "csv").decode())),
        "json": pd.DataFrame(json.loads(portable(results, "json"))),
        "xlsx": pd.read_excel(BytesIO(portable(results, "xlsx"))),
    }
    for form, found in read.items():
        assert list(found.columns) == list(frame.columns), form
        assert found["arm"].tolist() == frame["arm"].tolist()
        for column in ("value", "low", "high", "ratio"):
            expected = frame[column].astype(float)
            pd.testing.assert_series_equal(found[column].astype(float), expected, rtol=1e-9), form


def test_every_row_has_its_cells_and_nothing_is_read_as_a_command(results):
    text = portable(results, "latex").decode()
    tables = text.split(r"\begin{tabular}")[1:]
    assert len(tables) >= 3
    for table in tables:
        columns = re.search(r"\{([lr]+)\}", table)[1]
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 5
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert r"mobilevit\_s" in text
    assert text.isascii()


def test_names_from_outside_are_text_in_latex():
    grid = Grid("50 % of $x_1$ & \\input{x}", ["arm", "a_b"], [["{#1}~^", "1 × 2"], ["other", ""]], {1: "oom: 90 %"})
    text = _latex_table(grid)
    assert r"\caption{50 \% of \$x\_1\$ \& \textbackslash input\{x\}}" in text
    assert r"\{\#1\}" in text
    assert r"1 $\times$ 2" in text
    assert r"other & oom: 90 \% \\" in text


@pytest.mark.parametrize("form", FORMS)
def test_a_run_is_exported_and_exported_again(form, tmp_path):
    command = ["export", str(REPORTS / "ci"), "--format", form, "-o", str(tmp_path / "table")]
    for _ in range(2):
        done = CliRunner().invoke(app, command + (["--force"] if form == "xlsx" else []))
        assert done.exit_code == 0, done.output
    assert (tmp_path / "table").stat().st_size > 100
    both = CliRunner().invoke(
        app, ["export", str(REPORTS / "ci"), str(REPORTS / "overview"), *command[2:-1], str(tmp_path / "all")]
    )
    assert both.exit_code == 0
    assert len(list((tmp_path / "all").iterdir())) == 2


def test_what_is_somebody_elses_stays(tmp_path):
    (tmp_path / "table.tex").write_text("mine")
    command = ["export", str(REPORTS / "ci"), "--format", "latex", "-o", str(tmp_path / "table.tex")]
    with pytest.raises(Exception, match=r"table.tex"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert (tmp_path / "table.tex").read_text() == "mine"
