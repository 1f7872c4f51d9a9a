"""The sentences of an answer under the conditions that they are about, so that each is said once."""

from collections.abc import Sequence

from xbench.analysis.results import Results
from xbench.report.text.pairs import opening, why_a_look
from xbench.report.text.phrases import capital, describe, describe_sweep

Groups = dict[str, list[str]]


def group(results: Results, sentences: Sequence[str]) -> tuple[list[str], Groups, Groups]:
    """The sentences that are about no single place or sweep; those about a sweep; those about a place.

    The last two by the conditions that they begin with, which become a heading and are left out of the sentences.
    """
    places: dict[str, str] = {}
    for place in results.conditions:
        at, look = f"At {describe(place, results)}", why_a_look(results, place)
        places |= dict.fromkeys([f"{at}, ", opening(results, place)], f"{at} (a look: {look})" if look else at)
    sweeps = {f"{over}, ": over for sweep in results.sweeps() if (over := capital(describe_sweep(sweep, results)))}
    overall: list[str] = []
    by_sweep: Groups = {}
    by_place: Groups = {}
    for sentence in sentences:
        start = max((start for start in [*places, *sweeps] if sentence.startswith(start)), key=len, default="")
        rest = sentence.removeprefix(start)
        if start in places:
            by_place.setdefault(places[start], []).append(rest)
        elif start:
            by_sweep.setdefault(sweeps[start], []).append(rest)
        else:
            overall.append(rest)
    return overall, by_sweep, by_place
