"""The table of models on back ends: a row per model, beside what it is a column per way to run it."""

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS, PUBLISHED
from xbench.parsing.axes import in_label
from xbench.report.tables.grids import Grid
from xbench.statistics.estimates import Estimate
from xbench.statistics.verdicts import verdict
from xbench.study.conditions import Conditions
from xbench.wording.conditions import conditions_line
from xbench.wording.numbers import show_counted, show_estimate, show_mib

# What a model is, however it is run.
FACTS = {PUBLISHED: "published top-1 %", "params": "params", "macs": "MACs", "peak_memory": "peak MiB, eager"}


def mode_grids(results: Results) -> list[Grid]:
    """A table for each set of conditions under which models were timed in several modes, fastest first."""
    modes = list(dict.fromkeys(case["mode"] for case in results.cases.values()))
    return [_grid(results, place, modes) for place in results.conditions] if len(modes) > 1 else []


def _grid(results: Results, place: Conditions, modes: list[str]) -> Grid:
    metric = results.speed_metric_at(place) or "latency"
    unit = METRICS[metric].unit
    by_model: dict[str, dict[str, str]] = {}
    for arm in results.arms:
        by_model.setdefault(_model(results, arm), {})[results.cases[arm]["mode"]] = arm
    facts = [name for name in FACTS if any(_figure(results, place, arm, name) for arm in results.arms)]

    def row(model: str) -> list[str]:
        arms = by_model[model]
        known = [_known(results, place, arms, name) for name in facts]
        cells = [_fact(name, figure) for name, figure in zip(facts, known, strict=True)]
        times = [_time(results, place, arms.get(mode), metric) for mode in modes]
        return [model, *cells, *times, _quickest(results, place, arms)]

    def rank(model: str) -> float:
        found = [figure.value for arm in by_model[model].values() if (figure := _figure(results, place, arm, metric))]
        better = METRICS[metric].better
        return min((value if better == "lower" else -value for value in found), default=float("inf"))

    heads = ["model", *(FACTS[name] for name in facts), *(f"{mode} {unit}" for mode in modes), "quickest"]
    title = f"Every model in every mode · {conditions_line(place, but=['size'])}"
    note = (
        "Sorted by the quickest mode; ± is half of a 95 % interval over launches. A mode is named quickest where it is "
        "shown to be faster than every other."
    )
    return Grid(title, heads, [row(model) for model in sorted(by_model, key=rank)], {}, (note,))


def _model(results: Results, arm: str) -> str:
    """Its name without the mode, but with the policy where it is not the usual one."""
    case = results.cases[arm]
    policy = f" {case['policy']}" if arm.endswith(f" {case['policy']}") else ""
    return arm.removesuffix(policy).removesuffix(in_label(case["mode"])) + policy


def _known(results: Results, place: Conditions, arms: dict[str, str], name: str) -> Estimate | None:
    """What is known of the model in any mode; its memory in eager mode alone, in which torch sees all of it."""
    modes = [mode for mode in arms if mode == "eager" or name != "peak_memory"]
    return next((figure for mode in modes if (figure := _figure(results, place, arms[mode], name))), None)


def _figure(results: Results, place: Conditions, arm: str, metric: str) -> Estimate | None:
    cell = results.cell(place, arm, metric)
    return cell.figure if cell else None


def _fact(name: str, figure: Estimate | None) -> str:
    if figure is None:
        return ""
    if name == PUBLISHED:
        return f"{figure.value:.1f}"
    return show_mib(figure.value) if name == "peak_memory" else show_counted(figure)


def _time(results: Results, place: Conditions, arm: str | None, metric: str) -> str:
    cell = results.cell(place, arm, metric) if arm else None
    if cell is None:
        return ""
    return show_estimate(cell.figure) if cell.figure else cell.status


def _quickest(results: Results, place: Conditions, arms: dict[str, str]) -> str:
    """The mode that is shown to be faster than every other; empty where none is, or there is no other."""
    control = results.control_ratio(place)
    for mode, arm in arms.items():
        others = [results.speed_ratio(place, arm, to=other) for other in arms.values() if other != arm]
        known = [times for times in others if times]
        if known and all(verdict(times, control) == "higher" for times in known):
            return mode
    return ""
