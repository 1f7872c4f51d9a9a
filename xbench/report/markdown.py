"""report.md: the question, the answer in words, the tables, the plots, and how the figures were taken."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from xbench.analysis.results import Results
from xbench.report.inert import fenced, markdown
from xbench.report.tables.ability import ability_grids
from xbench.report.tables.grids import Grid, markdown_table, result_grids
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
from xbench.report.text.accuracy import contract
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

BEHIND = (
    *("breakdown", "roofline", "scaling", "memory_scaling", "threads", "learning"),
    *("ability", "ability_learning", "pareto"),
)  # plots that are not beside the figures


def markdown_report(
    results: Results,
    question: str,
    command: str,
    plots: Sequence[Path],
    folder: Path,
    seen: Mapping[str, Path] = MappingProxyType({}),
) -> str:
    """The report as Markdown, with links relative to ``folder``: to ``plots``, and to pictures of what was ``seen``.

    Without a ``command`` nothing is said of how to run it again.
    """
    links = {path.stem: f"\n![{path.stem.replace('_', ' ')}]({path.relative_to(folder)})" for path in plots}
    brief = is_brief(results)
    parts = [f"# {markdown(question)}\n"]
    parts += [f"- **{markdown(sentence)}**" for sentence in headline(results)]
    parts += _folded("In detail", answers(results))
    if notes := caveats(results):
        parts += ["\n## Before you believe it\n"] + [f"- {markdown(note)}" for note in notes]
    parts += _section("At a glance", "", [*mode_grids(results), *(pivot_grids(results) if brief else [])], links, [])
    parts += _section("What they can do", "", ability_grids(results), links, ["ability"])
    parts += _section("What that costs", PARETO, [], links, ["pareto"])
    parts += ["\n## Figures", *_tables(result_grids(results))]
    parts += [link for name, link in links.items() if name not in BEHIND]
    parts += _section("Where the time goes", "", share_grids(results), links, ["breakdown"])
    parts += _section("How latency is spread", SPREAD, spread_grids(results), links, [])
    parts += _section("Before the first pass", STARTING, start_grids(results), links, [])
    machine = "\n".join(f"- {markdown(line)}" for line in machine_lines(results))
    parts += _section("How near the machine's limits", machine, limit_grids(results), links, ["roofline"])
    parts += _section("How it grows", GROWTH, exponent_grids(results), links, ["scaling", "memory_scaling"])
    parts += _section("What more threads bring", THREADS, thread_grids(results), links, ["threads"])
    parts += _section("Who overtakes whom", OVERTAKING, crossover_grids(results) if brief else [], links, [])
    fair = "\n".join(f"- {markdown(line)}" for line in [*ability_contract(results), *contract(results)])
    parts += _section("What was learnt, and how", fair, [], links, ["ability_learning", "learning"])
    parts += _seen(seen, folder)
    left_out = "\n".join(f"- {markdown(line)}" for line in products_left_out(results))
    parts += _section("Do the counters agree", left_out, cost_grids(results, results.conditions), links, [])
    parts += ["\n## How the figures were taken\n", PROTOCOL]
    parts += [f"\n{text}" for text in explanations(results)]
    parts += ["", *(f"- {markdown(name)}: {markdown(text)}" for name, text in circumstances(results))]
    if command:
        parts += ["\n## Again\n", fenced(command)]
    return "\n".join(parts) + "\n"


def _seen(seen: Mapping[str, Path], folder: Path) -> list[str]:
    """The pictures of what arms have seen, each under its arm's name."""
    if not seen:
        return []
    parts = ["\n## What they see\n", "The first test pictures, the truth above and the answers of seed 0 below."]
    for arm, path in seen.items():
        parts.append(f"\n{markdown(arm)}:\n\n![{markdown(arm)}]({path.relative_to(folder)})")
    return parts


def _folded(title: str, sentences: Sequence[str]) -> list[str]:
    """A list behind its title, which a click opens."""
    if not sentences:
        return []
    said = [f"- {markdown(sentence)}" for sentence in sentences]
    return [f"\n<details><summary>{title}</summary>\n", *said, "\n</details>"]


def _section(title: str, words: str, grids: Sequence[Grid], links: dict[str, str], plots: Iterable[str]) -> list[str]:
    """Nothing where there is neither table nor plot."""
    shown = [links[name] for name in plots if name in links]
    if not grids and not shown:
        return []
    return [f"\n## {title}", *([f"\n{words}"] if words else []), *_tables(grids), *shown]


def _tables(grids: Iterable[Grid]) -> list[str]:
    parts = []
    for grid in grids:
        notes = [f"\n{markdown(note)}" for note in grid.notes]
        parts += [f"\n**{markdown(grid.title)}**\n", markdown_table(grid), *notes]
    return parts
