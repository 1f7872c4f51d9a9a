"""report.md: the question, the answer in words, the tables, the plots, and how the figures were taken."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from xbench.report.answers import answers, caveats
from xbench.report.meaning_tables import cost_grids, exponent_grids, limit_grids, machine_lines, share_grids
from xbench.report.numbers import show_seconds
from xbench.report.tables import Grid, markdown_table, result_grids
from xbench.results import Results

PROTOCOL = """\
Every launch starts a fresh process per arm; within a launch the arms take turns in random order, one short block each.
A ratio is the median of the paired log-ratios of a launch (for device time, the ratio of the launch's medians); its
interval (95 %, Student's t) is over launches. MACs and peak memory are exact, the latter from a process of its own.
FLOPs = 2 × MACs. 1 MiB = 2²⁰ bytes."""

# What else to know of a metric, where it was measured.
EXPLAINED = {
    "predicted_memory": """\
Predicted memory is found on paper: the tensors of a step are followed on the meta device, from where they are made to
where the last use ends. It is a lower bound, because the scratch memory of kernels does not show there.""",
    "max_batch": """\
The largest batch is found by trying: the largest whose measured peak memory stays within the limit.""",
    "forward_time": """\
A training step is a forward pass with its loss, a backward pass and a step of the optimizer. Throughput in training
is that of the whole step; its parts are timed in the same blocks.""",
    "breakdown": """\
The time by component is that of an instrumented forward pass in eager mode: a module's time is its own, without that of
the modules inside it. What the instruments themselves take makes it longer than the time that throughput tells.""",
    "limits": """\
The machine's limits are measured in the same run: multiply–accumulates per second of a large matrix product, bytes per
second of a large copy. The roof at an intensity, in MACs per byte, is the smaller of the first and intensity × the
second. Bytes are those that the operations would move if each went to memory and back, so an arm whose bytes stay in a
cache can stand above it.""",
}
GROWTH = """\
A figure grows as N to this power over the upper part of the sweep, 95 % interval in brackets; "bends" where no single
power describes it. The stated power is that of the attention alone for large N; all else in a model is linear."""

BEHIND = ("breakdown", "roofline", "scaling", "memory_scaling")  # plots that are not beside the figures


def markdown_report(results: Results, question: str, command: str, plots: Sequence[Path], folder: Path) -> str:
    """The report as Markdown, with links to ``plots`` relative to ``folder``."""
    links = {path.stem: f"\n![{path.stem.replace('_', ' ')}]({path.relative_to(folder)})" for path in plots}
    parts = [f"# {question}"]
    parts += [f"- {sentence}" for sentence in answers(results)]
    if notes := caveats(results):
        parts += ["\n## Before you believe it"] + [f"- {note}" for note in notes]
    parts += ["\n## Figures", *_tables(result_grids(results))]
    parts += [link for name, link in links.items() if name not in BEHIND]
    parts += _section("Where the time goes", "", share_grids(results), links, ["breakdown"])
    machine = "\n".join(f"- {line}" for line in machine_lines(results))
    parts += _section("How near the machine's limits", machine, limit_grids(results), links, ["roofline"])
    parts += _section("How it grows", GROWTH, exponent_grids(results), links, ["scaling", "memory_scaling"])
    parts += _section("Do the counters agree", "", cost_grids(results, results.conditions), links, [])
    parts += ["\n## How the figures were taken\n", PROTOCOL]
    measured = {record.metric for record in results.records}
    parts += [f"\n{text}" for name, text in EXPLAINED.items() if name in measured]
    parts += ["", *_provenance(results)]
    parts += ["\n## Again\n", f"```\n{command}\n```"]
    return "\n".join(parts) + "\n"


def _section(title: str, words: str, grids: Sequence[Grid], links: dict[str, str], plots: Iterable[str]) -> list[str]:
    """Nothing where there is neither table nor plot."""
    shown = [links[name] for name in plots if name in links]
    if not grids and not shown:
        return []
    return [f"\n## {title}", *([f"\n{words}"] if words else []), *_tables(grids), *shown]


def _tables(grids: Iterable[Grid]) -> list[str]:
    parts = []
    for grid in grids:
        parts += [f"\n**{grid.title}**\n", markdown_table(grid), *(f"\n{note}" for note in grid.notes)]
    return parts


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
