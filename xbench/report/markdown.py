"""report.md: the question, the answer in words, the tables, the plots, and how the figures were taken."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from xbench.report.accuracy import contract
from xbench.report.answers import answers, caveats
from xbench.report.meaning_tables import (
    cost_grids,
    crossover_grids,
    exponent_grids,
    limit_grids,
    machine_lines,
    share_grids,
)
from xbench.report.numbers import show_seconds
from xbench.report.pivot import pivot_grids
from xbench.report.tables import Grid, markdown_table, result_grids
from xbench.report.wording import is_brief
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
    "top1": """\
Accuracy is top-1 on test images that no arm was trained or chosen on, as a mean over seeds with a t interval (95 %).
Differences are in points, seed by seed: the two arms of a pair had the same start and the same pixels.""",
    "limits": """\
The machine's limits are measured in the same run: multiply–accumulates per second of a large matrix product, bytes per
second of a large copy. The roof at an intensity, in MACs per byte, is the smaller of the first and intensity × the
second. Bytes are those that the operations would move if each went to memory and back, so an arm whose bytes stay in a
cache can stand above it. A compiled arm has no place under it: what is fused moves fewer bytes than are counted.""",
}
GROWTH = """\
A figure grows as N to this power, 95 % interval in brackets: among the largest sizes where four or more are within a
factor of 16 of N, else between the two largest; "bends" where no single power describes them. The stated power is that
of the attention alone for large N; all else in a model is linear."""
OVERTAKING = """\
Between the two measured sizes in the last column: at each, one of the two arms is shown to be the faster."""

BEHIND = ("breakdown", "roofline", "scaling", "memory_scaling", "learning")  # plots that are not beside the figures


def markdown_report(results: Results, question: str, command: str, plots: Sequence[Path], folder: Path) -> str:
    """The report as Markdown, with links to ``plots`` relative to ``folder``.

    Without a ``command`` nothing is said of how to run it again.
    """
    links = {path.stem: f"\n![{path.stem.replace('_', ' ')}]({path.relative_to(folder)})" for path in plots}
    brief = is_brief(results)
    parts = [f"# {question}\n"]
    parts += [f"- {sentence}" for sentence in answers(results)]
    if notes := caveats(results):
        parts += ["\n## Before you believe it\n"] + [f"- {note}" for note in notes]
    parts += _section("At a glance", "", pivot_grids(results) if brief else [], links, [])
    parts += ["\n## Figures", *_tables(result_grids(results))]
    parts += [link for name, link in links.items() if name not in BEHIND]
    parts += _section("Where the time goes", "", share_grids(results), links, ["breakdown"])
    machine = "\n".join(f"- {line}" for line in machine_lines(results))
    parts += _section("How near the machine's limits", machine, limit_grids(results), links, ["roofline"])
    parts += _section("How it grows", GROWTH, exponent_grids(results), links, ["scaling", "memory_scaling"])
    parts += _section("Who overtakes whom", OVERTAKING, crossover_grids(results) if brief else [], links, [])
    fair = "\n".join(f"- {line}" for line in contract(results))
    parts += _section("What was learnt, and how", fair, [], links, ["learning"])
    parts += _section("Do the counters agree", "", cost_grids(results, results.conditions), links, [])
    parts += ["\n## How the figures were taken\n", PROTOCOL]
    measured = {record.metric for record in results.records}
    parts += [f"\n{text}" for name, text in EXPLAINED.items() if name in measured]
    parts += ["", *_provenance(results)]
    if command:
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
    """What the figures were taken on and with; where that changed on the way, all of it."""
    facts: dict[str, dict[str, None]] = {}
    for record in results.records:
        for name, value in {**record.machine, **record.versions, "commit": record.commit}.items():
            if value:
                facts.setdefault(name, {})[str(value)] = None
    lines = [f"- {name}: {', '.join(values)}" for name, values in facts.items()]
    if times := sorted(record.time for record in results.records if record.time):
        lines.append(f"- measured: {' to '.join(dict.fromkeys([times[0], times[-1]]))}")
    if spent := results.overhead:
        lines.append(
            f"- time: {show_seconds(spent['total_seconds'])} in all, {show_seconds(spent['model_seconds'])} running "
            f"models, {show_seconds(spent['start_seconds'])} starting processes, {spent['share']:.1%} neither"
        )
    return lines
