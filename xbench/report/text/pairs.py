"""What one set of conditions says of the arms against the reference: a sentence per pair, or one for all of them."""

from collections.abc import Sequence

from xbench.analysis.equivalents import Strongest, functions, strongest
from xbench.analysis.results import Cell, Results
from xbench.metrics.definitions import MEMORY, METRICS
from xbench.report.text.phrases import NAMED, bare, counted, describe, listing, multiple, ranked, span
from xbench.statistics.estimates import CONFIDENCE, Estimate
from xbench.statistics.verdicts import EFFECT, verdict
from xbench.study.conditions import Conditions
from xbench.study.study import CLAIM_LAUNCHES
from xbench.wording.numbers import show_interval, show_number

BY = {"latency": "latency", "device_time": "device time"}
WORTH_SAYING = 0.01  # relative difference of exact figures
MOST_BESIDE = 2  # arms that the fastest evaluation of a function is compared with


def pair_sentences(results: Results, conditions: Conditions) -> list[str]:
    """A sentence for each arm against the reference, where anything of its cost was asked for."""
    where = opening(results, conditions)
    pairs = [_pair(results, conditions, arm) for arm in results.arms if arm != results.against]
    return [where + pair for pair in pairs if pair]


def summary(results: Results, conditions: Conditions) -> list[str]:
    """All arms against the reference in one sentence: how many are faster and slower, the extremes by name. None where
    nothing of their cost was asked for.
    """
    others = [arm for arm in results.arms if arm != results.against]
    parts = _standings(results, conditions, others) if results.speed_metric_at(conditions) else []
    parts += [text for metric in (*MEMORY, "macs") if (text := _extremes(results, conditions, others, metric))]
    where = opening(results, conditions).removesuffix(", ")
    if not parts and all(METRICS[name].how == "trained" for name in results.metrics):
        return []
    return [f"{where}, against {results.against}: {'; '.join(parts) or 'nothing was measured'}."]


def strength(results: Results, conditions: Conditions) -> list[str]:
    """Which evaluation of a function is the fastest, and how the fastest ones of the other functions compare with it.

    Against the reference arm itself the pairs have said that already.
    """
    found = strongest(results, conditions)
    best = {function: arms[0] for function, arms in functions(results).items()}
    best |= {one.function: one.fastest for one in found}
    sentences = []
    compared: set[str] = set()
    for one in found:
        compared.add(one.function)
        others = {}
        for function, arm in best.items():
            times = results.speed_ratio(conditions, arm, to=one.fastest) if function not in compared else None
            if times and one.fastest != results.against:
                others[arm] = times
        ahead = sorted(others, key=lambda arm: others[arm].value, reverse=True)[:MOST_BESIDE]
        control = results.control_ratio(conditions)
        parts = [_fastest(one), *(_beside(arm, others[arm], one.fastest, control) for arm in ahead)]
        sentences.append(opening(results, conditions) + "; ".join(parts) + ".")
    return sentences


def why_not(results: Results, conditions: Conditions, arm: str, metric: str | None) -> str | None:
    """Why an arm has no figure of a metric, or where none is named, none at all; None where it has one."""
    names = [metric] if metric else results.metrics
    cells = [cell for name in names if (cell := results.cell(conditions, arm, name))]
    if any(cell.figure for cell in cells):
        return None
    return show_failure(cells[0]) if cells else "not reached"


def show_failure(cell: Cell) -> str:
    """ "oom: allocating 16 GiB"."""
    return f"{cell.status}: {cell.reason}" if cell.reason else cell.status


def has_begun(results: Results, conditions: Conditions, arm: str) -> bool:
    """Whether the arm has a figure that is not from paper."""
    return any(results.measured(conditions, arm, name) for name in results.metrics if METRICS[name].how != "static")


def why_a_look(results: Results, conditions: Conditions) -> str:
    """What is missing for a claim of speed; empty where nothing is, or where the reference arm has none."""
    launches = results.launches(conditions)
    few = {arm: count for arm, count in launches.items() if count < CLAIM_LAUNCHES}
    if results.against not in launches:
        return ""
    reasons = []
    if few:
        least = min(few.values())
        whose = f" of {listing(list(few))}" if len(few) < len(launches) else ""
        reasons.append(f"{least} launch{'es' if least > 1 else ''}{whose}")
    if len(results.arms) > 1 and results.control_ratio(conditions) is None:
        reasons.append("no control")
    return ", ".join(reasons)


def opening(results: Results, conditions: Conditions) -> str:
    """How a sentence about these conditions begins: "At 512 px, ", and that it is a look where it is no claim."""
    look = why_a_look(results, conditions)
    return f"{f'A look ({look}): at' if look else 'At'} {describe(conditions, results)}, "


# One pair


def _pair(results: Results, conditions: Conditions, arm: str) -> str:
    reference = results.against
    if not results.speed_metric_at(conditions):
        for label in (arm, reference):
            if (why := why_not(results, conditions, label, None)) is not None:
                return f"{label} could not be measured ({why})."
    parts = [_speed(results, conditions, arm)] if results.speed_metric_at(conditions) else []
    different, same = [], []
    memory = next((metric for metric in MEMORY if results.ratio(conditions, arm, metric)), MEMORY[0])
    for metric, thing in ((memory, METRICS[memory].label), ("macs", "MACs"), ("params", "parameters")):
        times = results.ratio(conditions, arm, metric)
        if times is not None and (times.bound or abs(times.value - 1) >= WORTH_SAYING):
            different.append(f"{multiple(times)} times the {thing}")
        elif times is not None:
            same.append(thing)
    if different:
        parts.append(f"{arm} has {listing(different)} of {reference}")
    if same:
        one = len(same) == 1 and same[0].endswith("memory")
        parts.append(f"{arm}'s {listing(same)} {'is' if one else 'are'} within {WORTH_SAYING:.0%} of {reference}'s")
    return "; ".join(parts) + "." if parts else ""


def _speed(results: Results, conditions: Conditions, arm: str) -> str:
    reference = results.against
    metric = results.speed_metric_at(conditions) or ""
    gone = {label: why for label in (reference, arm) if (why := why_not(results, conditions, label, metric))}
    if gone:
        return _without(results, conditions, arm, gone)
    faster = results.speed_ratio(conditions, arm)
    if faster is None:
        return f"the speed of {arm} and {reference} was not measured side by side"
    if not results.trusted(conditions):
        return f"nothing can be said of the speed of {arm} and {reference}, because the control failed"
    if faster.launches < 2:
        return f"nothing can be said of the speed of {arm} and {reference} from one launch"
    control = results.control_ratio(conditions)
    finding = verdict(faster, control)
    if finding == "lower":
        arm, reference, faster = reference, arm, faster.inverse
    by = "" if metric == "throughput" else f", by {BY.get(metric) or METRICS[metric].label}"
    if metric == "throughput" and conditions.batch > 1:
        by = f", by throughput at batch {conditions.batch}"
    interval = f"{CONFIDENCE:.0%} interval {span(faster)}, {faster.launches} launches{by}"
    times = f"{bare(faster)} times as fast as {reference} ({interval})"
    if finding == "equal":
        return f"{arm} and {reference} are equally fast to within {EFFECT:.0%} (ratio {bare(faster)}, {interval})"
    if finding != "not shown":
        return f"{arm} is {times}"
    if faster.doubtful and faster.median:
        low, high = (show_number(end, 3) for end in faster.median)
        return f"{arm} came out {times}, but by the median of the launches at {low}–{high}: not claimed"
    if faster.differs and control:
        return f"{arm} came out {times}, but {results.against} against itself at {span(control)}: not distinguishable"
    return f"no difference in speed shown between {arm} and {reference} (ratio {bare(faster)}, {interval})"


def _without(results: Results, conditions: Conditions, arm: str, gone: dict[str, str]) -> str:
    """Of a pair of which one or both have no speed, why, and the speed of the other."""
    parts = []
    for label, why in gone.items():
        begun = has_begun(results, conditions, label)
        parts.append(f"{label} {'was not timed' if begun else 'did not run'} ({why})")
    parts += [f"{label} did, {_at(results, conditions, label)}" for label in {arm, results.against} - gone.keys()]
    return "; ".join(parts)


def _at(results: Results, conditions: Conditions, arm: str) -> str:
    """ "at 1.2 img/s"."""
    metric = results.speed_metric_at(conditions) or ""
    cell = results.cell(conditions, arm, metric)
    unit = METRICS[metric].unit.replace("img", "seq" if conditions.alone else "img")
    return f"at {bare(cell.figure)} {unit}" if cell and cell.figure else "in a time that is not known"


# All arms at once


def _standings(results: Results, conditions: Conditions, others: Sequence[str]) -> list[str]:
    reference, metric = results.against, results.speed_metric_at(conditions)
    gone = [arm for arm in others if why_not(results, conditions, arm, metric)]
    lost = {}
    for arm in gone:
        cell = results.cell(conditions, arm, metric or "")
        lost[arm] = f"{arm}: {cell.status if cell else 'not reached'}"
    absent = [counted(list(lost.values()), "did not run")] if lost else []
    if why := why_not(results, conditions, reference, metric):
        left = [f"{arm} did, {_at(results, conditions, arm)}" for arm in others if arm not in gone]
        listed = [listing(left)] if 0 < len(left) <= NAMED else [f"{len(left)} others did"]
        return [f"{reference} did not run ({why})", *listed, *absent]
    if not results.trusted(conditions):
        return ["nothing can be said of speed, because the control failed", *absent]
    ratios = {arm: times for arm in others if (times := results.speed_ratio(conditions, arm))}
    ordered = sorted(ratios, key=lambda arm: ratios[arm].value, reverse=True)
    control = results.control_ratio(conditions)
    by_verdict: dict[str, list[str]] = {}
    for arm in ordered:
        by_verdict.setdefault(verdict(ratios[arm], control), []).append(arm)
    said = []
    for finding, what in (("higher", "faster"), ("lower", "slower")):
        if arms := by_verdict.get(finding):
            said.append(ranked([f"{arm} {bare(ratios[arm])} ×" for arm in arms], what))
    for finding, what in (("equal", f"equally fast to within {EFFECT:.0%}"), ("not shown", "with no difference shown")):
        if arms := by_verdict.get(finding):
            said.append(counted(arms, what))
    apart = [arm for arm in others if arm not in ratios and arm not in gone]
    return said + ([counted(apart, "not measured side by side with it")] if apart else []) + absent


def _extremes(results: Results, conditions: Conditions, others: Sequence[str], metric: str) -> str:
    """ "peak memory 0.17 × (xfa) to 1.3 × (b)"; empty where it was not measured, or is not what speaks for memory."""
    if metric in MEMORY and metric != results.memory_metric_at(conditions):
        return ""
    ratios = {arm: times for arm in others if (times := results.ratio(conditions, arm, metric))}
    if not ratios:
        return ""
    label = "MACs" if metric == "macs" else METRICS[metric].label
    least, most = (end(ratios, key=lambda arm: ratios[arm].value) for end in (min, max))
    alike = ratios[most].value / ratios[least].value - 1 < WORTH_SAYING
    if alike and not any(times.bound for times in ratios.values()):
        return f"{label} {show_interval(ratios[least])} × for all"
    return f"{label} {show_interval(ratios[least])} × ({least}) to {show_interval(ratios[most])} × ({most})"


# The strongest evaluations


def _fastest(one: Strongest) -> str:
    start = f"of {len(one.arms)} ways to compute {one.function} ({listing(one.arms)}) {one.fastest} "
    unbeaten = [arm for arm in one.arms if arm != one.fastest and arm not in one.beaten]
    if not unbeaten:
        return start + "is the fastest"
    return start + f"came out fastest, though not shown to be faster than {listing(unbeaten)}"


def _beside(arm: str, times: Estimate, fastest: str, control: Estimate | None) -> str:
    finding = verdict(times, control)
    if finding == "equal":
        return f"{arm} is as fast as {fastest} to within {EFFECT:.0%}"
    if finding == "not shown":
        return f"no difference in speed is shown between {fastest} and {arm}"
    return f"{arm} is {show_interval(times)} times as fast as {fastest}"
