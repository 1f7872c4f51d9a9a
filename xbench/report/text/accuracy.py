"""Accuracy in words: who reaches what, by how much more than the reference arm, and whether the comparison was fair."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from xbench.analysis.results import Results
from xbench.records.record import Record
from xbench.report.text.phrases import NAMED, describe, listing
from xbench.statistics.estimates import Difference
from xbench.statistics.verdicts import POINTS
from xbench.study.conditions import Conditions
from xbench.tasks import CLASSES
from xbench.wording.numbers import show_count, show_percent, show_points
from xbench.wording.scores import SHORT

TOLERANCE = 0.02  # of the number of trained parameters, within which arms are equally large


def accuracy_sentences(results: Results) -> list[str]:
    """What was reached under each set of conditions that has an accuracy, and how it differs from the reference arm."""
    return [sentence for place in results.trained_places() for sentence in _of(results, place)]


def _of(results: Results, place: Conditions) -> list[str]:
    cells = {arm: results.cell(place, arm, results.score) for arm in results.arms}
    reached = {arm: cell.figure for arm, cell in cells.items() if cell and cell.figure}
    against = results.against
    start = f"At {describe(place, results)}, {_trained_on(results, place)},"
    if against not in reached or len(reached) == 1:
        named = [f"{arm} {show_percent(figure)} %" for arm, figure in reached.items()]
        return [f"{start} {SHORT[results.score]}: {listing(named)}."]
    found = {arm: results.difference(place, arm) for arm in reached if arm != against}
    known = {arm: difference for arm, difference in found.items() if difference}
    seeds = max(difference.pairs for difference in known.values()) if known else 0
    first = f"{start} {against} reaches {show_percent(reached[against])} % {SHORT[results.score]}"
    words: dict[str, list[str]] = {}
    for arm, difference in sorted(known.items(), key=lambda item: -item[1].value):
        words.setdefault(say_difference(difference), []).append(f"{arm} {show_points(difference)}")
    parts = [f"{said}: {listing(named)}" for said, named in words.items()]
    pairs = f"{seeds} paired seeds" if seeds > 1 else "one seed, so no interval is known"
    return [f"{first}; {'; '.join(parts)} (points of difference, 95% interval, {pairs})."]


def say_difference(difference: Difference) -> str:
    """ "better", "worse", "equal within 1 point", "no difference shown", or "a look" where no interval is known."""
    if not math.isfinite(difference.high - difference.low):
        return "a look"
    if difference.low > -POINTS and difference.high < POINTS:
        return f"equal within {POINTS:g} point"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference shown"


def _trained_on(results: Results, place: Conditions) -> str:
    job = _details(results, place, lambda record: record.detail["job"])[0][2]
    epochs = job["recipe"]["epochs"]
    return f"trained on {job['data']} for {epochs} epoch{'s' if epochs > 1 else ''}"


def data_caveats(results: Results) -> list[str]:
    """What of the images the accuracies are not about: those that could not be read, or were seen in training."""
    found: dict[str, None] = {}
    records = [data for place in results.trained_places() for _, _, data in _details(results, place, _data)]
    for data in records:
        for split, facts in data.get("splits", {}).items():
            where = f"{split} images of {data['name']}"
            if unread := facts.get("unreadable"):
                found[
                    f"{unread['left_out']:,} of {unread['of']:,} {where} could not be read, and are in none of the "
                    f"figures: {_first(unread, unread['left_out'])}."
                ] = None
            if twice := facts.get("also_in_training"):
                found[
                    f"{twice['images']:,} of {facts['images']:,} {where} are also among those trained on, equal to the "
                    f"pixel: {_first(twice, twice['images'])}."
                ] = None
            if classes := facts.get("classes"):
                found[f"The {where} are of {classes:,} of its classes only."] = None
    return list(found)


def _data(record: Record) -> dict[str, Any]:
    return record.detail["data"]


def _first(facts: dict[str, Any], number: int) -> str:
    return ", ".join(facts["first"]) + (", …" if number > len(facts["first"]) else "")


def fairness(results: Results) -> list[str]:
    """What of the contract does not hold by which only the attention differs. Nothing where all of it does."""
    return [sentence for place in results.trained_places() for sentence in _unfair(results, place)]


def _unfair(results: Results, place: Conditions) -> list[str]:
    where = f"At {describe(place, results)}"
    found = []
    in_skeleton = [arm for arm in results.arms if results.cases[arm]["attn"]]
    outside = [arm for arm in results.arms if arm not in in_skeleton and results.seeds(place, arm)]
    if outside:
        found.append(f"{where} {listing(outside)} has another skeleton: more than the attention differs.")
    sizes = {arm: size for arm, _, size in _details(results, place, lambda r: r.detail["parameters"])}
    own = sizes.get(results.against)
    apart = {arm: size for arm, size in sizes.items() if own and abs(size / own - 1) > TOLERANCE and arm in in_skeleton}
    if own and apart:
        named = [f"{arm} {show_count(size)}" for arm, size in list(apart.items())[:NAMED]]
        more = f" and {len(apart) - NAMED} more" if len(apart) > NAMED else ""
        found.append(
            f"{where} these have more than {TOLERANCE:.0%} more or fewer trained parameters than {results.against} "
            f"({show_count(own)}): {', '.join(named)}{more}. Of their difference a part may be size."
        )
    checks: list[tuple[str, Callable[[Record], Any]]] = [
        ("initial weights outside the attention", lambda record: record.detail["shared_weights"]),
        ("order and pixels of the training images", lambda record: record.detail["data_order"]),
        ("recipe or data", lambda record: _alike(record.detail)),
    ]
    return [*found, *unequal(results, place, in_skeleton, checks)]


def unequal(
    results: Results,
    place: Conditions,
    arms: Sequence[str],
    checks: Sequence[tuple[str, Callable[[Record], Any]]],
    metric: str | None = None,
) -> list[str]:
    """What of these is not the same for all of the arms that were trained there from one seed."""
    found = []
    for what, look in checks:
        by_seed: dict[int, set[str]] = {}
        for arm in arms:
            for seed, record in results.seeds(place, arm, metric).items():
                by_seed.setdefault(seed, set()).add(repr(look(record)))
        if any(len(values) > 1 for values in by_seed.values()):
            found.append(f"UNFAIR: At {describe(place, results)} the arms' {what} differ for the same seed.")
    return found


def _alike(detail: dict[str, Any]) -> Any:
    differing = ("attn", "baseline", "seed", "start", "threads", "workers")
    alike = {key: value for key, value in detail["job"].items() if key not in differing}
    return {**alike, "start": bool(detail["job"].get("start"))}, detail["data"]


def _details(results: Results, place: Conditions, look: Callable[[Record], Any]) -> list[tuple[str, int, Any]]:
    return [(arm, seed, look(record)) for arm in results.arms for seed, record in results.seeds(place, arm).items()]


def contract(results: Results) -> list[str]:
    """What was the same for all arms, where any was trained: for the report."""
    places = results.trained_places()
    if not places:
        return []
    detail = _details(results, places[0], lambda record: record.detail)[0][2]
    job, data = detail["job"], detail["data"]
    recipe = {key: value for key, value in job["recipe"].items() if key != "augmentation"}
    augmentation = {key: value for key, value in job["recipe"]["augmentation"].items() if value}
    lines = [
        "One recipe for every arm: " + ", ".join(f"{key} {value}" for key, value in recipe.items()) + ".",
        "Augmentation: " + (", ".join(f"{key} {value}" for key, value in augmentation.items()) or "none") + ".",
        "Data: " + ", ".join(f"{key} {value}" for key, value in data.items()) + ".",
        "For a seed, all arms of the skeleton start from the same weights outside the attention and see the same "
        "pixels in the same order; digests of both are in the records, and are compared. The weights of the last epoch "
        f"are tested, none are chosen. Parameters and MACs in the tables are those of the model with "
        f"{CLASSES[places[0].task]:,} classes.",
    ]
    if job.get("start"):
        lines.append(
            "Every model begins from the weights that an earlier training of its own left, but for its head; what the "
            "attentions gained there is a part of what they reach here."
        )
    return lines
