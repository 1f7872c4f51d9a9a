"""The answer in plain words: one sentence per pair, and what to hold against it."""

from typing import Any

from xbench.evaluations import Strongest, functions, strongest
from xbench.metrics import METRICS
from xbench.report.findings import findings
from xbench.report.numbers import show_interval, show_number
from xbench.report.wording import bare, describe, listing, span
from xbench.results import Results
from xbench.statistics import CONFIDENCE, EFFECT, verdict
from xbench.study import CLAIM_LAUNCHES
from xbench.sweeps import Conditions

# Shares of the measured time above which the machine's interference is worth a word.
STEAL_SHARE, STALL_SHARE = 0.02, 0.25
BY = {"latency": "latency", "device_time": "device time"}
MANY = 6  # conditions up to which every one gets sentences of its own


def answers(results: Results) -> list[str]:
    """A sentence per arm against the reference, the strongest baselines, and what the sweeps say.

    With more than ``MANY`` conditions, pairs and baselines are said at the ends of every sweep only.
    """
    found = []
    for conditions in _said(results):
        where = f"At {describe(conditions, results)}, "
        for arm in results.arms:
            if arm != results.against:
                found.append(where + _pair(results, conditions, arm))
        found += [where + sentence for sentence in _strength(results, conditions)]
    return found + findings(results)


def _said(results: Results) -> list[Conditions]:
    if len(results.conditions) <= MANY:
        return results.conditions
    return [conditions for sweep in results.sweeps() for conditions in sweep.ends]


def _pair(results: Results, conditions: Conditions, arm: str) -> str:
    reference = results.against
    for label in (arm, reference):
        why = _why_nothing(results, conditions, label)
        if why is not None:
            return f"{label} could not be measured ({why})."
    parts = [_speed(results, conditions, arm)] if results.speed_metric_at(conditions) else []
    different, same = [], []
    memory = ("peak_memory", "peak memory")
    if results.ratio(conditions, arm, memory[0]) is None:
        memory = ("predicted_memory", "predicted peak memory")
    for metric, thing in (memory, ("macs", "MACs"), ("params", "parameters")):
        times = results.ratio(conditions, arm, metric)
        if times is not None and abs(times.value - 1) >= 0.01:
            different.append(f"{show_number(times.value, 3)} times the {thing}")
        elif times is not None:
            same.append(thing)
    if different:
        parts.append(f"{arm} has {listing(different)} of {reference}")
    if same:
        one = len(same) == 1 and same[0].endswith("memory")
        parts.append(f"{listing(same)} {'is' if one else 'are'} within 1%")
    return "; ".join(parts) + "."


def _why_nothing(results: Results, conditions: Conditions, arm: str) -> str | None:
    """Why an arm has no figure at all; None where it has one."""
    cells = [cell for metric in results.metrics if (cell := results.cell(conditions, arm, metric))]
    if any(cell.figure for cell in cells):
        return None
    return f"{cells[0].status}: {cells[0].reason}" if cells else "not reached"


def _speed(results: Results, conditions: Conditions, arm: str) -> str:
    reference = results.against
    faster = results.speed_ratio(conditions, arm)
    if faster is None:
        return f"the speed of {arm} and {reference} was not measured side by side"
    if not results.trusted(conditions):
        return f"nothing can be said of the speed of {arm} and {reference}, because the control failed"
    if faster.launches < 2:
        return f"one launch, by which nothing can be said of the speed of {arm} and {reference}"
    finding = verdict(faster, results.control_ratio(conditions))
    if finding == "lower":
        arm, reference, faster = reference, arm, faster.inverse
    metric = results.speed_metric_at(conditions) or ""
    by = "" if metric == "throughput" else f", by {BY.get(metric) or METRICS[metric].label}"
    if metric == "throughput" and conditions["batch"] > 1:
        by = f", by throughput at batch {conditions['batch']}"
    interval = f"{CONFIDENCE:.0%} interval {span(faster)}, {faster.launches} launches{by}"
    if finding == "equal":
        return f"{arm} and {reference} are equally fast to within {EFFECT:.0%} (ratio {bare(faster)}, {interval})"
    if finding == "not shown":
        return f"no difference in speed shown between {arm} and {reference} (ratio {bare(faster)}, {interval})"
    return f"{arm} is {bare(faster)} times as fast as {reference} ({interval})"


def _strength(results: Results, conditions: Conditions) -> list[str]:
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
        others = [arm for function, arm in best.items() if function not in compared]
        beside = [] if one.fastest == results.against else [_beside(results, conditions, arm, one) for arm in others]
        sentences.append("; ".join([_fastest(one), *filter(None, beside)]) + ".")
    return sentences


def _fastest(one: Strongest) -> str:
    start = f"of {len(one.arms)} ways to compute {one.function} ({listing(one.arms)}) {one.fastest} "
    unbeaten = [arm for arm in one.arms if arm != one.fastest and arm not in one.beaten]
    if not unbeaten:
        return start + "is the fastest"
    return start + f"came out fastest, though not shown to be faster than {listing(unbeaten)}"


def _beside(results: Results, conditions: Conditions, arm: str, one: Strongest) -> str | None:
    times = results.speed_ratio(conditions, arm, to=one.fastest)
    if times is None:
        return None
    finding = verdict(times, results.control_ratio(conditions))
    if finding == "equal":
        return f"{arm} is as fast as that one to within {EFFECT:.0%}"
    if finding == "not shown":
        return f"no difference in speed is shown between that one and {arm}"
    return f"{arm} is {show_interval(times)} times as fast as that one"


def caveats(results: Results) -> list[str]:
    """What a reader must know before believing: control missing or failed, interference, cells without figures."""
    found = _controls(results)
    for conditions in results.conditions:
        found += [f"At {describe(conditions, results)}: {flag}" for flag in _quality(results, conditions)]
    for arm, notes in results.notes.items():
        if "unverified" in notes:
            why = notes["unverified"].rstrip(".")
            found.append(f"† {arm} failed checks that every attention must pass: {why}. See xbench verify {arm}.")
        if "adapted" in notes:
            found.append(f"{arm} was not written for this contract and was adapted: {notes['adapted']}.")
    for conditions, arm, cell in results.failures:
        where = f"At {describe(conditions, results)}: {arm}"
        if _why_nothing(results, conditions, arm) is None:
            found.append(f"{where} ended early: {cell.status}: {cell.reason}")
        elif conditions not in _said(results):
            found.append(f"{where} could not be measured: {cell.status}: {cell.reason}")
    looks: dict[str, list[str]] = {}
    for conditions in results.conditions:
        looks.setdefault(_why_a_look(results, conditions), []).append(describe(conditions, results))
    for why, places in looks.items():
        if why:
            where = "This" if len(looks) == 1 else f"At {' and '.join(places)} this"
            found.append(f"{where} is a look, not a claim: {why}.")
    return found


def _controls(results: Results) -> list[str]:
    """A sentence on the control under each of the conditions; one for all that it held under where they are many."""
    found, held = [], []
    for conditions in results.conditions:
        where = f"At {describe(conditions, results)}: "
        control = results.control_ratio(conditions)
        if control is None:
            continue
        if results.trusted(conditions):
            found.append(f"{where}the control, {results.against} against itself, came out at {show_interval(control)}.")
            held.append((control.value, found[-1]))
        else:
            found.append(
                f"{where}VOID. The control, {results.against} against itself, came out at {show_interval(control)}, "
                f"further from 1 than {EFFECT:.0%}. Run again on a quieter machine."
            )
    if len(held) <= MANY:
        return found
    values = [value for value, _ in held]
    together = (
        f"Under {len(held)} conditions the control, {results.against} against itself, came out within {EFFECT:.0%} "
        f"of 1: from {min(values):.3f} to {max(values):.3f}."
    )
    return [together, *(sentence for sentence in found if sentence not in {said for _, said in held})]


def _why_a_look(results: Results, conditions: Conditions) -> str:
    """What is missing for a claim of speed; empty where nothing is, or where nothing was timed."""
    launches = results.launches(conditions)
    if not launches:
        return ""
    reasons = [f"{launches} launch{'es' if launches > 1 else ''}"] if launches < CLAIM_LAUNCHES else []
    if len(results.arms) > 1 and results.control_ratio(conditions) is None:
        reasons.append("no control ran")
    return ", ".join(reasons)


def _quality(results: Results, conditions: Conditions) -> list[str]:
    """A sentence for each sign that the machine or an arm was not at rest while it was measured."""
    metric = results.speed_metric_at(conditions)
    if metric is None:
        return []
    flags = []
    details: list[dict[str, Any]] = []
    for arm in results.arms:
        own = [r.detail for r in results.of(conditions, arm) if r.metric == metric and r.samples]
        details += own
        unsettled = sum(not detail["warm_up"]["settled"] for detail in own)
        if unsettled > len(own) / 2 and results.control:
            flags.append(f"{arm} had not settled when measuring began in {unsettled} of {len(own)} launches.")
        times = results.ratio(conditions, arm, metric)
        if times and times.doubtful:
            flags.append(f"{arm}: the interval of the median contradicts that of the mean, so nothing is claimed.")
    measured = sum(detail["measured_seconds"] for detail in details)
    cores = max(record.machine.get("physical_cores", 1) for record in results.records)
    for name, limit, parts, words in (
        ("steal", STEAL_SHARE, cores, "other machines on this host took {:.0%} of the processor's time"),
        ("stall", STALL_SHARE, 1, "other work made processes wait for a processor during {:.0%} of the time"),
    ):
        share = sum(detail[f"{name}_seconds"] for detail in details) / measured / parts if measured else 0.0
        if share > limit:
            flags.append(words.format(share) + " while this was measured.")
    return flags
