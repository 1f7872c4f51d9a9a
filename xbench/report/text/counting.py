"""What is to be known of a count of multiply–accumulates: where it is a lower bound, and what it leaves out."""

from collections.abc import Iterator

from xbench.analysis.counted import left_out, unknown_operations
from xbench.analysis.results import Cell, Results
from xbench.report.text.pairs import why_not
from xbench.report.text.phrases import NAMED, describe, listing, some
from xbench.study.conditions import Conditions


def lower_bounds(results: Results) -> list[str]:
    """A sentence for each set of operations that multiply and that no rule counts, with the arms that have them."""
    found: dict[str, dict[str, None]] = {}
    for _, arm, cell in _counts(results):
        if operations := unknown_operations(cell.detail):
            found.setdefault(listing(operations), {})[arm] = None
    return [
        f"The MACs of {listing(list(arms))} are a lower bound (≥): no rule counts what {operations} multiplies."
        for operations, arms in found.items()
    ]


def products_left_out(results: Results) -> list[str]:
    """By arm, products that are no matrix products and that are not among its MACs, where they are the most."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    for place, arm, cell in _counts(results):
        for operation, share in left_out(cell.detail).items():
            known = found.setdefault(arm, {})
            known[operation] = max(known.get(operation, (0.0, "")), (share, describe(place, results)))
    sentences = []
    for arm, shares in found.items():
        ordered = sorted(shares, key=lambda operation: shares[operation], reverse=True)[:NAMED]
        parts = [f"{operation}, {shares[operation][0]:.1%} of them at {shares[operation][1]}" for operation in ordered]
        sentences.append(
            f"The MACs of {results.marked(arm)} leave out products that are no matrix products: {'; '.join(parts)}."
        )
    return sentences


def uncounted(results: Results) -> list[str]:
    """A sentence for each reason why multiply–accumulates or predicted memory are not known of cases that have more."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for place in results.conditions:
        for arm in results.arms:
            for metric, what in (("macs", "MACs"), ("predicted_memory", "predicted memory")):
                cell = results.cell(place, arm, metric)
                if cell and not cell.figure and why_not(results, place, arm, None) is None:
                    places = found.setdefault((what, cell.reason.rstrip(".")), {}).setdefault(arm, [])
                    places.append(describe(place, results))
    sentences = []
    for (what, reason), arms in found.items():
        where = some(list(dict.fromkeys(place for places in arms.values() for place in places)))
        verb = "are" if what == "MACs" else "is"
        sentences.append(f"The {what} of {listing(list(arms))} at {where} {verb} not known: {reason}.")
    return sentences


def _counts(results: Results) -> Iterator[tuple[Conditions, str, Cell]]:
    for place in results.conditions:
        for arm in results.arms:
            cell = results.cell(place, arm, "macs")
            if cell and cell.figure:
                yield place, arm, cell
