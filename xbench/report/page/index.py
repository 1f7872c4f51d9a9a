"""index.html: all runs of some folders on one page, newest first, with what changed over commits."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from xbench.analysis.history import changes, histories
from xbench.analysis.results import Results
from xbench.analysis.runs import RunInfo, find_runs, newest
from xbench.errors import UserError
from xbench.files.run_folders import LEDGER, REPORT
from xbench.files.writing import check_target, write_file
from xbench.records.ledger import read_records
from xbench.records.record import Record
from xbench.report.history import changes_grid, draw, drawn_series
from xbench.report.page.page import TEMPLATES, policy_of, source
from xbench.report.plots.catalogue import drawn
from xbench.report.text.headline import fastest, headline
from xbench.wording.numbers import show_seconds


def write_index(folders: Sequence[str | Path], out: Path, *, force: bool = False) -> int:
    """Writes the page and returns the number of runs on it. Links are relative to the page.

    Args:
        folders: that hold runs, at any depth.
        out: a file that ends in .html or .htm; one that is there is replaced if xbench made it.

    Raises:
        UserError: there is no such folder or no run in any, or ``out`` is no page, or cannot be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"the page must be named like index.html, not '{out}'.")
    check_target(out, force=force)
    runs = [run for folder in folders for run in find_runs(folder)]
    if not runs:
        raise UserError(f"there are no runs in {', '.join(map(str, folders))}.")
    runs = sorted({run.path.resolve(): run for run in runs}.values(), key=lambda run: run.when, reverse=True)
    records = {run.path: read_records([run.path / LEDGER]) for run in runs if not run.problem}
    series = histories([record for own in records.values() for record in own])
    found = changes(series)
    pictures = {
        metric: draw(own, [one for one in found if one.series.metric == metric])
        for metric, own in drawn_series(series).items()
    }
    scripts = [source(name) for name in ("nodes.js", "tables.js", "index.js")]
    text = TEMPLATES.get_template("index.html").render(
        runs=[_row(run, records.get(run.path, []), out.parent) for run in runs],
        changes=changes_grid(found) if found else None,
        pictures=[(metric.replace("_", " "), _address(figure, metric)) for metric, figure in pictures.items()],
        scripts=[Markup(script) for script in scripts],
        style=Markup(source("page.css")),
        policy=policy_of(scripts),
    )
    write_file(out, text)
    return len(runs)


def _row(run: RunInfo, records: list[Record], beside: Path) -> dict[str, Any]:
    report = run.path / REPORT
    target = report if report.is_file() else run.path
    return {
        "name": run.path.name,
        "link": quote(os.path.relpath(target, beside)),
        "when": f"{run.when.astimezone():%Y-%m-%d %H:%M}",
        "commit": run.commit,
        "question": run.question or run.study,
        "said": _said(records),
        "sizes": ", ".join(run.sizes),
        "figures": f"{run.ok}, {run.failed} failed" if run.failed else str(run.ok),
        "launches": str(run.launches or "–"),
        "took": "–" if run.seconds is None else show_seconds(run.seconds),
        "machine": run.machine,
        "problem": run.problem,
    }


def _said(records: list[Record]) -> str:
    """The answer of a run, in brief."""
    results = Results(newest(records))
    return fastest(results, brief=True) or next(iter(headline(results)), "")


def _address(figure: Any, metric: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn(figure, metric, 'svg')).decode()}"
