"""What a script gets that sets nothing: our figures are of a kept heap, and that must never be left unsaid."""

from xbench.report.numbers import show_number
from xbench.report.wording import NAMED, describe, listing
from xbench.results import Results
from xbench.sweeps import Conditions

HOW = 'before it, eval "$(xbench env)" in the same shell gives it the figures above'


def plain_script(results: Results) -> list[str]:
    """One sentence, where that was measured: the latencies, or of many how many times as long they are."""
    found = [
        (place, arm, ms) for place in results.conditions for arm in results.arms if (ms := _stock(results, place, arm))
    ]
    if not found:
        return []
    places = list({id(place): place for place, _, _ in found}.values())
    if len(places) == 1 and len(found) <= NAMED:
        own = [f"{show_number(ms, 3)} ms with {arm}{_times(results, place, arm, ms)}" for place, arm, ms in found]
        what = f"about {listing(own)} at {describe(places[0], results)}"
    else:
        ratios = [(ms / tuned, place, arm) for place, arm, ms in found if (tuned := _tuned(results, place, arm))]
        if not ratios:
            return []
        least, most = (_end(results, *end(ratios, key=lambda one: one[0])) for end in (min, max))
        what = f"about {least} to {most} times as long"
    return [f"A plain script, which leaves memory to glibc as it comes, takes {what}; {HOW}."]


def _stock(results: Results, place: Conditions, arm: str) -> float | None:
    cell = results.cell(place, arm, "stock_latency")
    return cell.figure.value if cell and cell.figure else None


def _tuned(results: Results, place: Conditions, arm: str) -> float | None:
    cell = results.cell(place, arm, "latency")
    return cell.figure.value if cell and cell.figure else None


def _times(results: Results, place: Conditions, arm: str, ms: float) -> str:
    tuned = _tuned(results, place, arm)
    return f" ({show_number(ms / tuned, 2)} times as long)" if tuned else ""


def _end(results: Results, ratio: float, place: Conditions, arm: str) -> str:
    return f"{show_number(ratio, 2)} ({arm} at {describe(place, results)})"
