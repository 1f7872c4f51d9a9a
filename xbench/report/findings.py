"""What a sweep means, in words: where arms overtake one another, how they grow, and what bounds the largest of it."""

from collections.abc import Callable
from typing import TypeVar

from xbench.bounds import attained, ceiling, limits
from xbench.evaluations import functions, strongest
from xbench.report.numbers import show_count, show_interval, show_number, show_power, show_share
from xbench.report.wording import describe, describe_sweep, listing
from xbench.results import Results
from xbench.scaling import MEMORY, Exponent, advantages, crossovers, exponent
from xbench.sweeps import Conditions, Sweep

MANY = 6  # arms whose exponents are said in full

Found = TypeVar("Found")


def findings(results: Results) -> list[str]:
    """Sentences on every sweep: crossovers, exponents, ceiling, roofline and largest batch."""
    found = []
    for sweep in results.sweeps():
        if len(sweep.conditions) > 1:
            found += _overtakings(results, sweep)
        found += _growth(results, sweep)
        for say in (_ceilings, _rooflines, _batches):
            found += say(results, sweep)
    return found


def _overtakings(results: Results, sweep: Sweep) -> list[str]:
    """Who is faster where, of each arm and the reference; and whose memory is smaller where, if that changes."""
    reference = results.against
    where = describe_sweep(sweep, results)
    memory = _memory(results)
    found, undecided = [], []
    throughout: dict[str, list[str]] = {}
    for arm in results.arms:
        if arm == reference:
            continue
        crossed = _crossings(results, sweep, arm, reference)
        better = {point.better for point in advantages(results, sweep, arm, reference) if point.times}
        if better in ({arm}, {reference}):
            throughout.setdefault("faster" if arm in better else "slower", []).append(arm)
        elif better and not crossed:
            undecided.append(arm)
        found += crossed + (_crossings(results, sweep, arm, reference, memory) if memory else [])
    for arm, rival in _beyond_the_reference(results, sweep):
        found += _crossings(results, sweep, arm, rival)
    for word, arms in throughout.items():
        verb = "are" if len(arms) > 1 else "is"
        found.append(f"{_capital(where)}, {listing(arms)} {verb} {word} than {reference} at every size measured.")
    if undecided:
        found.append(f"{_capital(where)}, no crossover in speed is shown between {reference} and {_either(undecided)}.")
    return found


def _beyond_the_reference(results: Results, sweep: Sweep) -> list[tuple[str, str]]:
    """Arms, and the fastest evaluations of other functions at the largest size that are not the reference arm."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for one in strongest(results, sweep.conditions[-1]):
        others = [arm for function, arms in functions(results).items() if function != one.function for arm in arms]
        for arm in others:
            if results.against not in (arm, one.fastest):
                pairs.setdefault(frozenset((arm, one.fastest)), (arm, one.fastest))
    return list(pairs.values())


def _memory(results: Results) -> str | None:
    return next((metric for metric in MEMORY if metric in results.metrics), None)


def _crossings(results: Results, sweep: Sweep, arm: str, to: str, metric: str | None = None) -> list[str]:
    unit = "tokens" if sweep.axis == "tokens" else "pixels a side"
    beside = describe_sweep(sweep, results).partition(", ")[2]
    start = f"{_capital(beside)}: " if beside else ""
    found = []
    for crossing in crossovers(results, sweep, arm, to, metric):
        first, last = (f"{end:,.0f}" for end in crossing.bracket)
        at = f"{show_number(crossing.at, 3)} {unit}"
        if metric is None:
            interval = f"95% interval {show_number(crossing.low, 3)} to {show_number(crossing.high, 3)}"
            found.append(
                f"{start}{crossing.above} overtakes {crossing.below} at {at} ({interval}, by straight lines between "
                f"measured sizes); it is shown slower at {first} and faster at {last}."
            )
        else:
            what = "memory" if metric == "peak_memory" else "predicted memory"
            found.append(
                f"{start}{crossing.above} needs less {what} than {crossing.below} from {at} on (by straight lines "
                f"between measured sizes): at {last}, not at {first}."
            )
    return found


def _growth(results: Results, sweep: Sweep) -> list[str]:
    """One sentence for time and one for memory, with the exponents of all arms."""
    found = []
    where = describe_sweep(sweep, results)
    step = "a training step" if sweep.fixed["direction"] == "training" else "an image"
    extent = "number of tokens" if sweep.axis == "tokens" else "number of pixels"
    speed = results.speed_metric_at(sweep.conditions[-1])
    for metric, what in (
        (speed, f"the time of {'one sequence' if sweep.axis == 'tokens' else step}"),
        (_memory(results), "the memory of activations (exact; an interval is what a single power misses)"),
    ):
        powers = {arm: exponent(results, sweep, arm, metric) for arm in results.arms} if metric else {}
        known = {arm: power for arm, power in powers.items() if power}
        if known:
            parts = [f"{arm} {_power(power, brief=len(known) > MANY)}" for arm, power in known.items()]
            sizes = next(iter(known.values())).points
            top = f", at the {sizes} largest sizes," if sizes < len(sweep.conditions) else ","
            found.append(f"{_capital(where)}{top} {what} grows with the {extent} N as: {'; '.join(parts)}.")
    return found


def _power(power: Exponent, brief: bool) -> str:
    """ "N^1.53 (1.44 to 1.62), stated for large N: N^2", or the powers at both ends where it is not a single one."""
    if power.straight:
        text = f"N^{show_power(power.value, power.low, power.high)}"
    else:
        slopes = power.local[-(power.points - 1) :]
        first, last = (f"N^{show_power(*slope[1:])}" for slope in (slopes[0], slopes[-1]))
        text = f"by no single power, {first} between the first two sizes and {last} between the last two"
    return text + (f", stated for large N: N^{power.theory:g}" if power.theory is not None and not brief else "")


def _ceilings(results: Results, sweep: Sweep) -> list[str]:
    place, found = _largest(results, sweep, ceiling)
    if not found:
        return []
    parts = [f"{arm} {show_interval(most)}" for arm, most in found.items()]
    where = describe(place, results)
    return [f"At {where}, an attention that took no time would make, at most, {listing(parts)} times as fast."]


def _rooflines(results: Results, sweep: Sweep) -> list[str]:
    place, found = _largest(results, sweep, attained)
    machine = limits(results, place)
    if not found or not machine:
        return []
    shares = [(show_share(one.share), show_number(one.intensity, 2)) for one in found.values()]
    said = "{} reaches {} of what this machine allows at {} multiply–accumulates per byte", "{} {} at {}"
    parts = [said[i > 0].format(arm, *figures) for i, (arm, figures) in enumerate(zip(found, shares, strict=True))]
    own = (
        f"{show_count(machine.macs_per_second.value)} multiply–accumulates and "
        f"{show_count(machine.copy_bytes_per_second.value)}B copied per second"
    )
    return [f"At {describe(place, results)}, {listing(parts)}; the machine itself does {own}."]


def _batches(results: Results, sweep: Sweep) -> list[str]:
    def largest_batch(results: Results, conditions: Conditions, arm: str) -> int | None:
        cell = results.cell(conditions, arm, "max_batch")
        return int(cell.figure.value) if cell and cell.figure else None

    place, found = _largest(results, sweep, largest_batch)
    if not found:
        return []
    cells = [results.cell(place, arm, "max_batch") for arm in found]
    limit = max((cell.detail.get("limit", 0) for cell in cells if cell), default=0)
    room = f" into {show_number(limit / 2**30, 3)} GiB" if limit else ""
    parts = [f"{count:,} for {arm}" for arm, count in found.items()]
    return [f"At {describe(place, results)}, the largest batch that fits{room} is {listing(parts)}."]


def _largest(
    results: Results, sweep: Sweep, find: Callable[[Results, Conditions, str], Found | None]
) -> tuple[Conditions, dict[str, Found]]:
    """The largest size of the sweep where ``find`` finds anything, and what it finds there by arm."""
    for conditions in reversed(sweep.conditions):
        found = {arm: one for arm in results.arms if (one := find(results, conditions, arm)) is not None}
        if found:
            return conditions, found
    return sweep.conditions[-1], {}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _either(arms: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(arms[:-1]), arms[-1]]))
