"""The tables of ``xbench list``: what there is to be named on a command line."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from xbench.attention.registry import AttentionInfo
from xbench.data.names import SETS, TASKS_OF
from xbench.errors import UserError
from xbench.files import shipped
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import LEVELS, MODES_IN_WORDS
from xbench.study.files import read_request

HOW = {
    "static": "on paper",
    "exact": "in one run, exact",
    "timed": "in launches, in turns",
    "trained": "by training, over seeds",
}


def list_table(attentions: Sequence[AttentionInfo]) -> Group:
    """A row per attention; what a package brings names it. Below it, why any of them cannot be used."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("attention", "what it is", "paper", "cost in N", "options"):
        # A long list of options leaves room for what the attention is.
        table.add_column(head, overflow="fold", max_width=24 if head == "options" else None)
    for info in attentions:
        what = info.summary.rstrip(".")
        if info.computes:
            what += f"; the function of {info.computes}"
        if info.owner:
            what = f"{what} [{info.owner}]".strip()
        if info.problem:
            what += " cannot be used, see below"
        options = ", ".join(f"{key}={value}" for key, value in info.options.items() if value is not None)
        cost = f"{info.cost}\nmemory {info.memory}" if info.memory else info.cost
        cells = (info.name, what, info.paper, cost, options or "–")
        table.add_row(*map(Text, cells), style="red" if info.problem else None)
    problems = [
        Text(f"{info.name} of {info.owner} cannot be used: {info.problem}", style="red")
        for info in attentions
        if info.problem
    ]
    return Group(table, *problems)


def metrics_table() -> Table:
    """What can be measured: its unit, how it is found, and where it has a meaning."""
    rows = []
    for metric in METRICS.values():
        better = "more" if metric.better == "higher" else "less"
        levels = "all" if metric.levels == LEVELS else ", ".join(metric.levels)
        rows.append((metric.name, metric.label, metric.unit, better, HOW[metric.how], levels))
    return _table(("metric", "what it is", "unit", "better", "found", "levels"), rows)


def modes_table() -> Table:
    """The ways in which a model can run."""
    return _table(("mode", "what it is"), list(MODES_IN_WORDS.items()))


def data_table() -> Table:
    """Data sets, and the tasks that each is for."""
    rows = [(name, said, ", ".join(TASKS_OF.get(name.partition(":")[0], ("classify",)))) for name, said in SETS.items()]
    return _table(("data", "what it is", "tasks"), rows)


def studies_table() -> Table:
    """The studies that come with xbench, by the names that ``xbench run`` takes, and the files of this folder."""
    rows = [(name, _question(shipped.STUDIES / f"{name}.toml")) for name in shipped.names(shipped.STUDIES)]
    here = Path("studies")
    if here.is_dir() and not here.samefile(shipped.STUDIES):
        rows += [(str(path), _question(path)) for path in sorted(here.glob("*.toml"))]
    return _table(("study", "question"), rows)


def _question(study: Path) -> str:
    """What it asks; what is wrong with it where it is none."""
    try:
        return read_request(study).question
    except UserError as error:
        return str(error)


def claims_table() -> Table:
    """The claims that come with xbench, by the names that ``xbench claims`` takes."""
    return _table(("claims",), [(name,) for name in shipped.names(shipped.CLAIMS)])


def baselines_table() -> Table:
    """The committed figures that come with xbench, by the names that ``xbench check --baseline`` takes."""
    return _table(("baseline",), [(name,) for name in shipped.names(shipped.BASELINES)])


def models_table(pattern: str) -> Table:
    """timm's models whose names hold the pattern, * standing for anything."""
    import timm
    from timm.models import get_pretrained_cfg

    rows = []
    for name in timm.list_models(f"*{pattern}*"):
        config = get_pretrained_cfg(name)
        size = f"{config.input_size[1]}x{config.input_size[2]}" if config else ""
        rows.append((name, size))
    return _table(("model", "made for, px"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
