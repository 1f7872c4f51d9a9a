"""The answer in plain words: what each place and each sweep says, and what to hold against it."""

from collections.abc import Callable
from typing import Any

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.records.ledger import show_skipped
from xbench.report.text.ability import ability_fairness, ability_sentences
from xbench.report.text.accuracy import accuracy_sentences, data_caveats, fairness
from xbench.report.text.counting import lower_bounds, uncounted
from xbench.report.text.findings import findings
from xbench.report.text.pairs import has_begun, pair_sentences, show_failure, strength, summary, why_a_look, why_not
from xbench.report.text.phrases import NAMED, capital, describe, is_brief, listing, some
from xbench.report.text.plain_script import plain_script, sleeping_threads
from xbench.statistics.verdicts import EFFECT
from xbench.study.conditions import Conditions
from xbench.wording.numbers import show_interval

# Shares of the measured time above which the machine's interference is worth a word.
STEAL_SHARE, STALL_SHARE = 0.02, 0.25
MANY = 6  # conditions up to which every one gets sentences of its own
MOST = 10  # sentences of an answer in brief


def answers(results: Results) -> list[str]:
    """A sentence per arm against the reference, the strongest baselines, and what the sweeps say.

    With more than ``MANY`` conditions, pairs and baselines are said at the ends of every sweep only. With more than a
    dozen pairs there are at most ``MOST`` sentences in all, with counts and extremes: the tables have the figures.
    """
    brief = is_brief(results)
    found = []
    for conditions in _said(results):
        found += summary(results, conditions) if _in_one(results) else pair_sentences(results, conditions)
        if not brief or conditions is _said(results)[-1]:
            found += strength(results, conditions)
    found += [*ability_sentences(results), *accuracy_sentences(results)]
    found += findings(results)
    if brief and len(found) > MOST:
        return [*found[: MOST - 1], "The tables have the rest."]
    return found


def _said(results: Results) -> list[Conditions]:
    if len(results.conditions) <= MANY:
        return results.conditions
    sweeps = results.sweeps()
    ends = [conditions for sweep in sweeps for conditions in sweep.ends]
    if is_brief(results) and len(ends) > MANY:
        return [sweep.conditions[-1] for sweep in sweeps][:MANY]
    return ends


def _in_one(results: Results) -> bool:
    """Whether one sentence has all pairs of a place."""
    return is_brief(results) and len(results.arms) > 2


def caveats(results: Results) -> list[str]:
    """What a reader must know before believing: lines that are no records, control missing or failed, interference,
    cells without figures.
    """
    return [
        *([capital(show_skipped(results.skipped))] if results.skipped else []),
        *ability_fairness(results),
        *fairness(results),
        *data_caveats(results),
        *_controls(results),
        *_looks(results),
        *sleeping_threads(results),
        *plain_script(results),
        *_unrest(results),
        *_interference(results),
        *_notes(results),
        *lower_bounds(results),
        *uncounted(results),
        *_failures(results),
    ]


def _controls(results: Results) -> list[str]:
    """Where the control held, in one sentence if that is at many places, and where it did not."""
    name = f"the control, {results.against} against itself, came out"
    ratios = [(place, control) for place in results.conditions if (control := results.control_ratio(place))]
    held = [(place, control) for place, control in ratios if results.trusted(place)]
    failed = [(place, control) for place, control in ratios if not results.trusted(place)]
    found = [f"At {describe(place, results)}: {name} at {show_interval(control)}." for place, control in held]
    if len(held) > NAMED:
        values = [control.value for _, control in held]
        ends = f"from {min(values):.3f} to {max(values):.3f}"
        found = [f"Under {len(held)} conditions {name} within {EFFECT:.0%} of 1: {ends}."]
    void = [f"{describe(place, results)} ({show_interval(ratio)})" for place, ratio in failed]
    if void:
        found.append(
            f"VOID at {some(void)}: {name} further from 1 than {EFFECT:.0%}. Nothing is said of speed there, and "
            "crossovers, exponents and shares leave it out. Run again on a quieter machine."
        )
    return found


def _looks(results: Results) -> list[str]:
    looks = _grouped(results.conditions, lambda place: why_a_look(results, place))
    found = []
    for why, places in looks.items():
        where = "This" if len(looks) == 1 else f"At {some([describe(place, results) for place in places])} this"
        if why:
            found.append(f"{where} is a look, not a claim: {why}.")
    return found


def _unrest(results: Results) -> list[str]:
    """Arms that had not settled in most launches. In a run without a control that is said already."""
    found = []
    for place in results.conditions if results.control else []:
        for arm in results.arms:
            details = _details(results, place, arm)
            unsettled = sum(not detail["warm_up"]["settled"] for detail in details)
            if unsettled > len(details) / 2:
                found.append(f"{arm} at {describe(place, results)} ({unsettled} of {len(details)} launches)")
    return [f"Not settled when measuring began: {some(found)}."] if found else []


def _interference(results: Results) -> list[str]:
    found = []
    cores = max((record.machine.get("physical_cores", 1) for record in results.records), default=1) or 1
    for name, limit, parts, words in (
        ("steal", STEAL_SHARE, cores, "Other machines on this host took processor time while this was measured: {}."),
        ("stall", STALL_SHARE, 1, "Other work made processes wait for a processor while this was measured: {}."),
    ):
        places = []
        for place in results.conditions:
            details = [detail for arm in results.arms for detail in _details(results, place, arm)]
            measured = sum(detail["measured_seconds"] for detail in details)
            share = sum(detail[f"{name}_seconds"] for detail in details) / measured / parts if measured else 0.0
            if share > limit:
                places.append(f"{share:.0%} at {describe(place, results)}")
        if places:
            found.append(words.format(some(places)))
    return found


def _details(results: Results, place: Conditions, arm: str) -> list[dict[str, Any]]:
    """What the blocks of each launch left of their quality; device times, which have no blocks, left nothing."""
    metric = results.speed_metric_at(place)
    records = results.measured(place, arm, metric) if metric else []
    return [record.detail for record in records if "warm_up" in record.detail]


def _notes(results: Results) -> list[str]:
    found = []
    failed = {arm: notes["unverified"].rstrip(".") for arm, notes in results.notes.items() if "unverified" in notes}
    adapted = {arm: notes["adapted"] for arm, notes in results.notes.items() if "adapted" in notes}
    for why, arms in _grouped(failed, failed.__getitem__).items():
        check = f"See xbench verify {' '.join(arms)}."
        found.append(f"† {listing(arms)} failed checks that every attention must pass: {why}. {check}")
    for how, arms in _grouped(adapted, adapted.__getitem__).items():
        verb = "was" if len(arms) == 1 else "were"
        found.append(f"{some(arms)} {verb} not written for this contract and {verb} adapted: {how}.")
    return found


def _failures(results: Results) -> list[str]:
    """What the sentences on pairs do not say: what ended early, and what did not run where there are no such."""
    said = set() if _in_one(results) else set(_said(results))
    by_arm: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for place, arm, cell in results.failures:
        if place in said and why_not(results, place, arm, results.speed_metric_at(place)):
            continue
        if METRICS[cell.metric].how == "static" and why_not(results, place, arm, None) is None:
            continue  # a count alone, which ``uncounted`` tells of
        how = "ended early" if has_begun(results, place, arm) else "did not run"
        by_arm.setdefault((arm, how, cell.status), []).append((describe(place, results), show_failure(cell)))
    alike: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for (arm, how, status), own in by_arm.items():
        where = some([where for where, _ in own])
        alike.setdefault((how, status, where), {})[arm] = [reason for _, reason in own]
    found = []
    for (how, status, where), arms in alike.items():
        reasons = {reason for own in arms.values() for reason in own}
        found.append(f"{some(list(arms))} {how} at {where} ({reasons.pop() if len(reasons) == 1 else status}).")
    return found if len(found) <= NAMED else [*found[:NAMED], "More that did not run to its end stands in the tables."]


def _grouped(parts: Any, key: Callable[[Any], str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part in parts:
        found.setdefault(key(part), []).append(part)
    return found
