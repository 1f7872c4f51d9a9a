"""The sentences of an answer under the conditions that they are about, so that each is said once."""

from collections.abc import Sequence

from xbench.report.pairs import opening, why_a_look
from xbench.report.wording import capital, describe, describe_sweep
from xbench.results import Results


def group(results: Results, sentences: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The sentences by the conditions that they begin with, which become a heading; in the order of their first.

    Sentences that begin with none stand first, under no heading: they are about more than one place.
    """
    heads: dict[str, str] = {}
    for place in results.conditions:
        at, look = f"At {describe(place, results)}", why_a_look(results, place)
        heads |= dict.fromkeys([f"{at}, ", opening(results, place)], f"{at} (a look: {look})" if look else at)
    for sweep in results.sweeps():
        over = capital(describe_sweep(sweep, results))
        heads[f"{over}, "] = over
    found: dict[str, list[str]] = {"": []}
    for sentence in sentences:
        start = max((start for start in heads if sentence.startswith(start)), key=len, default="")
        found.setdefault(heads.get(start, ""), []).append(sentence.removeprefix(start))
    return [(head, said) for head, said in found.items() if said]
