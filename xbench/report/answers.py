"""The answer in plain words: one sentence per pair, and what to hold against it."""

from typing import Any

from xbench.report.numbers import show_interval, show_number
from xbench.results import Results
from xbench.statistics import CONFIDENCE, EFFECT, Estimate, verdict
from xbench.study import show_img_size

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
    if len(results.arms) == 1 and not found:
        return [f"Only '{results.arms[0]}' was measured: there is nothing to compare it with."]
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
        cells = [results.cell(conditions, label, metric) for metric in results.metrics]
        failed = next((cell for cell in cells if cell and cell.status != "ok"), None)
        if failed and not any(cell and cell.figure for cell in cells):
            return f"{label} could not be measured ({failed.status}: {failed.reason})."
    parts = []
    if results.timed_metrics:
        parts.append(_speed(results, conditions, arm))
    for metric, thing in (("peak_memory", "peak memory"), ("macs", "MACs"), ("params", "parameters")):
        times = results.ratio(conditions, arm, metric)
        if times is not None and abs(times.value - 1) >= 0.01:
            parts.append(_exact(thing, times, arm, reference))
    return ("; ".join(parts) or f"{arm} and {reference} do not differ in what was measured") + "."


def _speed(results: Results, conditions: dict[str, Any], arm: str) -> str:
    reference = results.against
    throughput = "throughput" in results.timed_metrics
    metric = "throughput" if throughput else results.timed_metrics[0]
    faster = results.ratio(conditions, arm, metric)
    if faster is None:
        return f"the speed of {arm} and {reference} was not measured side by side"
    if not throughput:
        faster = _inverse(faster)
    if not results.trusted(conditions):
        return f"nothing can be said of the speed of {arm} and {reference}, because the control failed"
    finding = verdict(faster)
    if finding == "lower":
        arm, reference, faster = reference, arm, _inverse(faster)
    interval = f"{CONFIDENCE:.0%} interval {_span(faster)}, {faster.launches} launches"
    if finding == "equal":
        return f"{arm} and {reference} are equally fast to within {EFFECT:.0%} (ratio {_value(faster)}, {interval})"
    if finding == "not shown":
        return f"no difference in speed shown between {arm} and {reference} (ratio {_value(faster)}, {interval})"
    return f"{arm} is {_value(faster)} times as fast as {reference} ({interval})"


def _exact(thing: str, times: Estimate, arm: str, reference: str) -> str:
    if times.value > 1:
        return f"{arm} has {show_number(times.value, 3)} times the {thing} of {reference}"
    return f"{arm} has {show_number(times.value, 2)} of the {thing} of {reference}"


def _inverse(estimate: Estimate) -> Estimate:
    return Estimate(1 / estimate.value, 1 / estimate.high, 1 / estimate.low, estimate.launches, estimate.doubtful)


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
    for conditions, arm, cell in results.failures:
        found.append(f"At {describe(conditions, results)}: {arm}: {cell.status}: {cell.reason}")
    launches = {record.launch for record in results.records if record.samples and record.launch}
    if launches and (results.control is None or max(launches) < 6) and len(results.arms) > 1:
        why = "no control ran" if results.control is None else "fewer than six launches"
        found.append(f"This is a look, not a claim: {max(launches)} launches, {why}.")
    return found


def _quality(results: Results, conditions: dict[str, Any]) -> list[str]:
    flags = []
    for arm in results.arms:
        records = [
            record
            for record in results.of(conditions, arm)
            if record.launch and record.samples and record.metric == results.timed_metrics[-1]
        ]
        if not records:
            continue
        seconds = sum(record.detail["measured_seconds"] for record in records)
        unsettled = sum(not record.detail["warm_up"]["settled"] for record in records)
        if unsettled > len(records) / 2 and results.control:
            flags.append(f"{arm} had not settled when measuring began in {unsettled} of {len(records)} launches.")
        for name, limit, word in (("steal", STEAL_SHARE, "stolen from"), ("stall", STALL_SHARE, "stalled on")):
            share = sum(record.detail[f"{name}_seconds"] for record in records) / seconds
            if share > limit:
                flags.append(f"the processor was {word} this machine for {share:.0%} of the time that {arm} ran.")
        doubtful = results.ratio(conditions, arm, results.timed_metrics[-1])
        if doubtful and doubtful.doubtful:
            flags.append(f"{arm}: the interval of the median contradicts the interval of the mean; nothing is claimed.")
    return flags
