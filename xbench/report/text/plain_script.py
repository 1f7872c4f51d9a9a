"""What a script gets that sets nothing: our figures are of a kept heap, and that must never be left unsaid."""

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.records.record import Record
from xbench.report.text.phrases import NAMED, describe, listing
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_number

HOW = 'before it, eval "$(xbench env)" in the same shell gives it the figures above'


def plain_script(results: Results) -> list[str]:
    """One sentence, where that was measured: the latencies, or of many how many times as long they are."""
    found = [
        (place, arm, ms)
        for place in results.conditions
        for arm in results.arms
        if (ms := _milliseconds(results, place, arm, "stock_latency"))
    ]
    if not found:
        return []
    places = list(dict.fromkeys(place for place, _, _ in found))
    if len(places) == 1 and len(found) <= NAMED:
        own = [f"{show_number(ms, 3)} ms with {arm}{_times(results, place, arm, ms)}" for place, arm, ms in found]
        what = f"about {listing(own)} at {describe(places[0], results)}"
    else:
        ratios = [
            (ms / tuned, place, arm)
            for place, arm, ms in found
            if (tuned := _milliseconds(results, place, arm, "latency"))
        ]
        if not ratios:
            return []
        least, most = (_end(results, *end(ratios, key=lambda one: one[0])) for end in (min, max))
        what = f"about {least} to {most} times as long"
    return [f"A plain script, which leaves memory to glibc as it comes, takes {what}; {HOW}."]


def sleeping_threads(results: Results) -> list[str]:
    """That all times are of threads that sleep at once, as every run's were before there was a choice."""
    timed = [record for record in results.records if record.samples and _is_time(record)]
    if not timed or any(record.case["policy"] != "passive" for record in timed):
        return []
    return [
        "Times are of threads that sleep at once (policy passive), which no script of yours has: small models read up "
        "to 1.8 times as long as there, and ratios below 1024 px differ. Superseded: measure again."
    ]


def _is_time(record: Record) -> bool:
    known = METRICS.get(record.metric)
    return known is not None and known.how == "timed" and record.metric != "limits" and "policy" in record.case


def _milliseconds(results: Results, place: Conditions, arm: str, metric: str) -> float | None:
    cell = results.cell(place, arm, metric)
    return cell.figure.value if cell and cell.figure else None


def _times(results: Results, place: Conditions, arm: str, ms: float) -> str:
    tuned = _milliseconds(results, place, arm, "latency")
    return f" ({show_number(ms / tuned, 2)} times as long)" if tuned else ""


def _end(results: Results, ratio: float, place: Conditions, arm: str) -> str:
    return f"{show_number(ratio, 2)} ({arm} at {describe(place, results)})"
