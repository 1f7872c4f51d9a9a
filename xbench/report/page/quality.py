"""How far a run may be believed, at a glance: what was met of the protocol and what was not. Caveats say it in full."""

from dataclasses import dataclass
from typing import Literal

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.study.study import CLAIM_LAUNCHES

SEEDS = 3  # trainings of an arm from which its interval is worth something


@dataclass(frozen=True)
class Flag:
    """ "good", "look" (weaker than a claim) or "bad" (nothing may be concluded), and what it is about."""

    kind: Literal["good", "look", "bad"]
    text: str


def flags(results: Results) -> list[Flag]:
    """Of control, launches, seeds, cells without figures, counts, checks of attentions, and code."""
    return [
        *_control(results),
        *_launches(results),
        *_seeds(results),
        _failures(results),
        *_counts(results),
        *_unverified(results),
        *_code(results),
    ]


def _control(results: Results) -> list[Flag]:
    timed = [place for place in results.conditions if results.launches(place)]
    if not timed or len(results.arms) < 2:
        return []
    controlled = [place for place in timed if results.control_ratio(place)]
    if not controlled:
        return [Flag("look", "no control")]
    void = [place for place in controlled if not results.trusted(place)]
    if void:
        return [Flag("bad", f"VOID: the control failed at {len(void)} of {len(controlled)} conditions")]
    held = f"{len(controlled)} of {len(timed)} conditions" if len(timed) > 1 else "the condition measured"
    return [Flag("good" if len(controlled) == len(timed) else "look", f"control held at {held}")]


def _launches(results: Results) -> list[Flag]:
    counts = [count for place in results.conditions for count in results.launches(place).values()]
    if not counts:
        return [] if _seeds(results) else [Flag("good", "exact figures only")]
    least, most = min(counts), max(counts)
    text = f"{least} launches" if least == most else f"{least} to {most} launches"
    return [Flag("good", text) if least >= CLAIM_LAUNCHES else Flag("look", f"{text}: a look, not a claim")]


def _seeds(results: Results) -> list[Flag]:
    """Trainings behind what was learnt: the fewest and the most of an arm."""
    trained = [name for name in results.metrics if METRICS[name].how == "trained"]
    places = [(place, arm, name) for name in trained for place in results.conditions for arm in results.arms]
    counts = [number for place, arm, name in places if (number := len(results.seeds(place, arm, name)))]
    if not counts:
        return []
    least, most = min(counts), max(counts)
    text = f"{least} {'seed' if least == 1 else 'seeds'}" if least == most else f"{least} to {most} seeds"
    return [Flag("good", text) if least >= SEEDS else Flag("look", f"{text}: a look, not a claim")]


def _failures(results: Results) -> Flag:
    rows = len(results.conditions) * len(results.arms)
    if not results.failures:
        return Flag("good", "nothing failed")
    return Flag("look", f"{len(results.failures)} of {rows} rows failed")


def _counts(results: Results) -> list[Flag]:
    cells = [(arm, results.cell(place, arm, "macs")) for place in results.conditions for arm in results.arms]
    unknown = {arm for arm, cell in cells if cell and (not cell.figure or cell.figure.bound)}
    text = f"MACs of {len(unknown)} of {len(results.arms)} arms not known, or a lower bound"
    return [Flag("look", text)] if unknown else []


def _unverified(results: Results) -> list[Flag]:
    marked = [arm for arm in results.arms if results.marked(arm) != arm]
    return [Flag("bad", f"† {len(marked)} of {len(results.arms)} arms failed their checks")] if marked else []


def _code(results: Results) -> list[Flag]:
    changed = any(record.commit.endswith("-dirty") for record in results.records)
    return [Flag("look", "code changed since its commit")] if changed else []
