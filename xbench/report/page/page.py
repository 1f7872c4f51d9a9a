"""report.html: a run to send to a colleague, as one file that asks the network for nothing.

Words and tables are in the page as text, also for readers without scripts. Charts and the table of all figures are
drawn from the run as data, by plotly.js, which is in the page too. Names come from users, plug-ins and files: jinja2
escapes them wherever they stand, and a policy in the page lets no script run but its own.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xbench.analysis.results import Results
from xbench.analysis.runs import question_of, read_run, run_folder
from xbench.errors import UserError
from xbench.files.writing import check_target, write_file
from xbench.report.inert import inert
from xbench.report.page.data import page_data
from xbench.report.page.quality import flags
from xbench.report.plots.catalogue import drawn, plot
from xbench.report.plots.panels import COLOURS
from xbench.report.tables.ability import ability_grids
from xbench.report.tables.grids import Grid
from xbench.report.tables.meanings import (
    cost_grids,
    crossover_grids,
    exponent_grids,
    limit_grids,
    machine_lines,
    share_grids,
    spread_grids,
    start_grids,
    thread_grids,
)
from xbench.report.tables.modes import mode_grids
from xbench.report.tables.pivot import pivot_grids
from xbench.report.text.ability import ability_contract
from xbench.report.text.answer_groups import group
from xbench.report.text.answers import answers, caveats
from xbench.report.text.counting import products_left_out
from xbench.report.text.headline import headline
from xbench.report.text.phrases import is_brief
from xbench.report.text.protocol import (
    GROWTH,
    OVERTAKING,
    PARETO,
    PROTOCOL,
    SPREAD,
    STARTING,
    THREADS,
    circumstances,
    explanations,
)


def _inert(value: Any) -> Any:
    """What the page shows of a text; its own scripts and styles, which are markup, stay to the letter."""
    return inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    finalize=_inert,
    loader=PackageLoader("xbench.report.page", "html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# plotly.js by Plotly, Inc. (MIT): npm's plotly.js-basic-dist-min, the bundle with lines and bars alone. It has a fourth
# of the whole's size, and takes a browser a tenth of the time to load.
SCRIPTS = ("plotly-basic.min.js", "nodes.js", "charts.js", "tables.js", "page.js")
TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}


@dataclass(frozen=True)
class Chapter:
    """A run on the page: its name, what it was asked, and the command that makes its records again, "" if unknown."""

    name: str
    question: str
    command: str
    results: Results


def write_page(runs: Sequence[str | Path], out: Path, *, force: bool = False) -> None:
    """Writes a page with a section for each run; nothing is compared across them.

    Args:
        runs: as for ``analysis.runs.run_folder``.
        out: a file that ends in .html or .htm; one that is there is replaced if xbench made it.
        force: replaces any file but a run's records.

    Raises:
        UserError: there is no such run, or ``out`` is no page, not to be replaced, or cannot be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"the page must be named like report.html, not '{out}'.")
    check_target(out, force=force)
    text = page([read_chapter(run) for run in dict.fromkeys(map(str, runs))])
    write_file(out, text)


def read_chapter(run: str | Path) -> Chapter:
    """A run as its folder holds it.

    Raises:
        UserError: see ``analysis.runs.read_run``.
    """
    results = read_run(run)
    command = (results.overhead or {}).get("command", "")
    return Chapter(run_folder(run).resolve().name, question_of(run, results), command, results)


def page(chapters: Sequence[Chapter]) -> str:
    """The whole page as HTML."""
    scripts = list(map(source, SCRIPTS))
    return TEMPLATES.get_template("page.html").render(
        chapters=[_content(chapter) for chapter in chapters],
        scripts=[Markup(script) for script in scripts],
        style=Markup(source("page.css")),
        policy=policy_of(scripts),
        colours=COLOURS,
    )


def source(name: str) -> str:
    """A script or a style sheet that stands in a page."""
    loader = TEMPLATES.loader
    assert loader is not None
    return loader.get_source(TEMPLATES, name)[0]


def policy_of(scripts: Sequence[str]) -> str:
    """A content security policy: these scripts and no others, and nothing from anywhere else."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _content(chapter: Chapter) -> dict[str, Any]:
    """What the template shows of a run, in its order."""
    results = chapter.results
    return {
        "name": chapter.name,
        "question": chapter.question,
        "command": chapter.command,
        "flags": flags(results),
        "headline": headline(results),
        "answers": group(results, answers(results)),
        "caveats": caveats(results),
        "data": page_data(results),
        "glance": [*mode_grids(results), *(pivot_grids(results) if is_brief(results) else [])],
        "sections": _sections(results),
        "protocol": [PROTOCOL, *explanations(results)],
        "facts": circumstances(results),
    }


@dataclass(frozen=True)
class Section:
    """A part of the page behind the figures. ``bars`` names the kind of parts that its chart shows, "" for none;
    ``pictures`` are plots, by name, that stand in it as they are in the report.
    """

    title: str
    words: Sequence[str]
    grids: Sequence[Grid]
    bars: str = ""
    folded: bool = False
    pictures: Sequence[tuple[str, str]] = ()


def _pictures(results: Results, *names: str) -> list[tuple[str, str]]:
    """By name, the plots that the results allow, each as the address of a picture in the page itself."""
    figures = [(name, figure) for name in names if (figure := plot(results, name))]
    return [
        (name.replace("_", " "), f"data:image/svg+xml;base64,{base64.b64encode(drawn(figure, name, 'svg')).decode()}")
        for name, figure in figures
    ]


def _sections(results: Results) -> list[Section]:
    """Those that the run has something for."""
    measured = {record.metric for record in results.records}
    crossings = crossover_grids(results) if is_brief(results) else []
    counted = cost_grids(results, results.conditions)
    found = [
        Section("What they can do", [], ability_grids(results), pictures=_pictures(results, "ability")),
        Section("What that costs", [PARETO], [], pictures=_pictures(results, "pareto")),
        Section("How it was learnt", ability_contract(results), [], pictures=_pictures(results, "ability_learning")),
        Section("Where the time goes", [], share_grids(results), "breakdown" if "breakdown" in measured else ""),
        Section("How latency is spread", [SPREAD], spread_grids(results), folded=True),
        Section("Before the first pass", [STARTING], start_grids(results), folded=True),
        Section("What a training step is made of", [], [], "step" if "backward_time" in measured else ""),
        Section("How near the machine's limits", machine_lines(results), limit_grids(results), folded=True),
        Section("How it grows", [GROWTH], exponent_grids(results), folded=True),
        Section("What more threads bring", [THREADS], thread_grids(results), pictures=_pictures(results, "threads")),
        Section("Who overtakes whom", [OVERTAKING], crossings, folded=True),
        Section("Do the counters agree", products_left_out(results), counted, folded=True),
    ]
    return [section for section in found if section.grids or section.bars or section.pictures]
