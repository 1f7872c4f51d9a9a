"""The answer in plain words: one sentence per pair, and what to hold against it."""

from typing import Any

from xbench.report.numbers import show_interval, show_number
from xbench.results import Results
from xbench.statistics import CONFIDENCE, EFFECT, Estimate, verdict
from xbench.study import CLAIM_LAUNCHES, show_img_size

# Shares of the measured time above which the machine's interference is worth a word.
STEAL_SHARE, STALL_SHARE = 0.02, 0.25


def answers(results: Results) -> list[str]:
    """One sentence per set of conditions and arm against the reference."""
    found = []
    for conditions in results.conditions:
        where = f"At {describe(conditions, results)}, "
        for arm in results.arms:
            if arm != results.against:
                found.append(where + _pair(results, conditions, arm))
    return found


def describe(conditions: dict[str, Any], results: Results) -> str:
    """The conditions in words: the resolution, and whatever else differs within the results."""
    words = [show_img_size(conditions["img_size"])]
    names = {"patch_size": "patch {}", "batch": "batch {}", "dtype": "{}", "threads": "{} threads", "device": "{}"}
    for key, form in names.items():
        if len({str(other[key]) for other in results.conditions}) > 1:
            words.append(form.format(conditions[key]))
    return ", ".join(words)


def _pair(results: Results, conditions: dict[str, Any], arm: str) -> str:
    reference = results.against
    for label in (arm, reference):
        why = _why_nothing(results, conditions, label)
        if why is not None:
            return f"{label} could not be measured ({why})."
    parts = [_speed(results, conditions, arm)] if results.speed_metric else []
    different, same = [], []
    for metric, thing in (("peak_memory", "peak memory"), ("macs", "MACs"), ("params", "parameters")):
        times = results.ratio(conditions, arm, metric)
        if times is not None and abs(times.value - 1) >= 0.01:
            different.append(f"{show_number(times.value, 3)} times the {thing}")
        elif times is not None:
            same.append(thing)
    if different:
        parts.append(f"{arm} has {_and(different)} of {reference}")
    if same:
        parts.append(f"{_and(same)} {'are' if len(same) > 1 or same[0] != 'peak memory' else 'is'} within 1%")
    return "; ".join(parts) + "."


def _why_nothing(results: Results, conditions: dict[str, Any], arm: str) -> str | None:
    """Why an arm has no figure at all; None where it has one."""
    cells = [cell for metric in results.metrics if (cell := results.cell(conditions, arm, metric))]
    if any(cell.figure for cell in cells):
        return None
    return f"{cells[0].status}: {cells[0].reason}" if cells else "not reached"


def _and(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _speed(results: Results, conditions: dict[str, Any], arm: str) -> str:
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
    by = {"throughput": "", "latency": ", by latency", "device_time": ", by device time"}[results.speed_metric or ""]
    if results.speed_metric == "throughput" and conditions["batch"] > 1:
        by = f", by throughput at batch {conditions['batch']}"
    interval = f"{CONFIDENCE:.0%} interval {_span(faster)}, {faster.launches} launches{by}"
    if finding == "equal":
        return f"{arm} and {reference} are equally fast to within {EFFECT:.0%} (ratio {_value(faster)}, {interval})"
    if finding == "not shown":
        return f"no difference in speed shown between {arm} and {reference} (ratio {_value(faster)}, {interval})"
    return f"{arm} is {_value(faster)} times as fast as {reference} ({interval})"


def _value(estimate: Estimate) -> str:
    return show_interval(estimate).partition(" (")[0]


def _span(estimate: Estimate) -> str:
    span = show_interval(estimate).partition(" (")[2].rstrip(")")
    return span.replace("–", " to ") if span != "?" else "unknown"


def caveats(results: Results) -> list[str]:
    """What a reader must know before believing: control missing or failed, interference, cells without figures."""
    found = []
    for conditions in results.conditions:
        where = f"At {describe(conditions, results)}: "
        control = results.control_ratio(conditions)
        if control is not None and not results.trusted(conditions):
            found.append(
                f"{where}VOID. The control, {results.against} against itself, came out at {show_interval(control)}, "
                f"further from 1 than {EFFECT:.0%}. Run again on a quieter machine."
            )
        elif control is not None:
            found.append(f"{where}the control, {results.against} against itself, came out at {show_interval(control)}.")
        found += [where + flag for flag in _quality(results, conditions)]
    for arm, notes in results.notes.items():
        if "unverified" in notes:
            why = notes["unverified"].rstrip(".")
            found.append(f"† {arm} failed checks that every attention must pass: {why}. See xbench verify {arm}.")
        if "adapted" in notes:
            found.append(f"{arm} was not written for this contract and was adapted: {notes['adapted']}.")
    for conditions, arm, cell in results.failures:
        if _why_nothing(results, conditions, arm) is None:
            found.append(f"At {describe(conditions, results)}: {arm} ended early: {cell.status}: {cell.reason}")
    looks: dict[str, list[str]] = {}
    for conditions in results.conditions:
        looks.setdefault(_why_a_look(results, conditions), []).append(describe(conditions, results))
    for why, places in looks.items():
        if why:
            where = "This" if len(looks) == 1 else f"At {' and '.join(places)} this"
            found.append(f"{where} is a look, not a claim: {why}.")
    return found


def _why_a_look(results: Results, conditions: dict[str, Any]) -> str:
    """What is missing for a claim of speed; empty where nothing is, or where nothing was timed."""
    launches = results.launches(conditions)
    if not launches:
        return ""
    reasons = [f"{launches} launch{'es' if launches > 1 else ''}"] if launches < CLAIM_LAUNCHES else []
    if len(results.arms) > 1 and results.control_ratio(conditions) is None:
        reasons.append("no control ran")
    return ", ".join(reasons)


def _quality(results: Results, conditions: dict[str, Any]) -> list[str]:
    """A sentence for each sign that the machine or an arm was not at rest while it was measured."""
    metric = results.speed_metric
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
