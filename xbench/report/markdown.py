"""report.md: the question, the answer in words, the tables, the plots, and how the figures were taken."""

from collections.abc import Sequence
from pathlib import Path

from xbench.report.answers import answers, caveats
from xbench.report.numbers import show_seconds
from xbench.report.tables import cost_grids, markdown_table, result_grids
from xbench.results import Results

PROTOCOL = """\
Every launch starts a fresh process per arm; within a launch the arms take turns in random order, one short block each.
A ratio is the median of the paired log-ratios of a launch (for device time, the ratio of the launch's medians); its
interval (95 %, Student's t) is over launches. MACs and peak memory are exact, the latter from a process of its own.
FLOPs = 2 × MACs. 1 MiB = 2²⁰ bytes."""


def markdown_report(results: Results, question: str, command: str, plots: Sequence[Path], folder: Path) -> str:
    """The report as Markdown, with links to ``plots`` relative to ``folder``."""
    parts = [f"# {question}"]
    parts += [f"- {sentence}" for sentence in answers(results)]
    if notes := caveats(results):
        parts += ["\n## Before you believe it"] + [f"- {note}" for note in notes]
    parts.append("\n## Figures")
    for grid in result_grids(results):
        parts += [f"\n**{grid.title}**\n", markdown_table(grid), *(f"\n{note}" for note in grid.notes)]
    parts += [f"\n![{path.stem}]({path.relative_to(folder)})" for path in plots]
    for grid in cost_grids(results, results.conditions):
        parts += [f"\n**{grid.title}**\n", markdown_table(grid), *(f"\n{note}" for note in grid.notes)]
    parts += ["\n## How the figures were taken\n", PROTOCOL, ""]
    parts += _provenance(results)
    parts += ["\n## Again\n", f"```\n{command}\n```"]
    return "\n".join(parts) + "\n"


def _provenance(results: Results) -> list[str]:
    last = results.records[-1]
    versions = {name: text for record in results.records for name, text in record.versions.items()}
    facts = {**last.machine, **versions, "commit": last.commit, "time": last.time}
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    if spent := results.overhead:
        lines.append(
            f"- time: {show_seconds(spent['total_seconds'])} in all, {show_seconds(spent['model_seconds'])} running "
            f"models, {show_seconds(spent['start_seconds'])} starting processes, {spent['share']:.1%} neither"
        )
    return lines
