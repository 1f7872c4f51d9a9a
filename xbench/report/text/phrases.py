"""Words that the sentences of a report share: where something holds, figures with their intervals, lists."""

from collections.abc import Collection, Sequence

from xbench.analysis.results import Results
from xbench.analysis.scaling import Exponent
from xbench.analysis.sweeps import Sweep
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions
from xbench.wording.conditions import in_words, name_extent, show_value, varying
from xbench.wording.numbers import show_interval, show_number, show_power

FEW_PAIRS = 12  # pairs of arms, over all conditions, up to which each has a sentence
NAMED = 4  # arms that a sentence names one by one


def is_brief(results: Results) -> bool:
    """Whether there is so much that sentences name counts and extremes only; tables and plots have the rest."""
    return (len(results.arms) - 1) * len(results.conditions) > FEW_PAIRS


def describe(conditions: Conditions, results: Results) -> str:
    """The conditions in words: the extent, what is not usual, and whatever else differs within the results."""
    words = in_words(conditions)
    return ", ".join(words[key] for key in ["extent", *_beside_extent(conditions, results)])


def describe_sweep(sweep: Sweep, results: Results) -> str:
    """ "from 256 to 1024 px, batch 8" or "from N = 1,024 to 16,384, attention of XFormer-s alone"."""
    first, last = (show_value(conditions, "extent") for conditions in (sweep.ends[0], sweep.ends[-1]))
    words = in_words(sweep.ends[0])
    beside = [words[key] for key in _beside_extent(sweep.ends[0], results)]
    return ", ".join([f"from {name_extent(f'{first} to {last}', sweep.axis == 'tokens')}", *beside])


def describe_beside(sweep: Sweep, results: Results) -> str:
    """What there is to say of all places of a sweep, without the extent; often nothing."""
    words = in_words(sweep.ends[0])
    return ", ".join(words[key] for key in _beside_extent(sweep.ends[0], results))


def _beside_extent(conditions: Conditions, results: Results) -> list[str]:
    level = conditions.level

    def find() -> list[str]:
        return varying([other for other in results.conditions if other.level == level])

    said = {"direction", *results.once(("varying", level), find), *(["size"] if level != "model" else [])}
    return [key for key, text in in_words(conditions).items() if text and key in said and key != "extent"]


def sizes(places: Sequence[Conditions]) -> str:
    """ "256, 512 and 1024 px" or "N = 1,024 and 4,096"."""
    return name_extent(listing([show_value(place, "extent") for place in places]), places[0].alone)


def near(at: float, sweep: Sweep) -> str:
    """A place on the axis of a sweep that was not measured: "310 px" or "N = 1,030"."""
    return name_extent(show_number(at, 3), sweep.axis == "tokens")


def bare(estimate: Estimate) -> str:
    """The value, with the digits that its interval earns."""
    return show_interval(estimate).partition(" (")[0]


def multiple(times: Estimate) -> str:
    """A ratio of exact figures in a sentence: "2.21", or "at least 2.21" where no more than that is known."""
    words = {"≥": "at least ", "≤": "at most "}
    return words.get(times.bound, "") + show_number(times.value, 3)


def span(estimate: Estimate) -> str:
    """The interval, "1.80–1.90", or "unknown"."""
    ends = show_interval(estimate).partition(" (")[2].rstrip(")")
    return "unknown" if ends == "?" else ends or bare(estimate)


def show_exponent(power: Exponent) -> str:
    """ "1.87 (1.80 to 1.94)", and, where no single power describes the sizes, ", by no single power: 1.20 … 1.90"."""
    bend = (
        f", by no single power: {power.local[0][1]:.2f} … {power.local[-1][1]:.2f}" if power.straight is False else ""
    )
    return show_power(power.value, power.low, power.high) + bend


def listing(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def some(parts: Sequence[str]) -> str:
    """All of them, or of many the first few and how many more."""
    return listing(parts if len(parts) <= NAMED + 1 else [*parts[:NAMED], f"{len(parts) - NAMED} more"])


def counted(parts: Collection[str], what: str = "") -> str:
    """ "2 slower (a, b)"; of many only how many."""
    names = f" ({', '.join(parts)})" if len(parts) <= NAMED else ""
    return f"{len(parts)} {what}{names}"


def ranked(parts: Sequence[str], what: str) -> str:
    """ "3 faster (a 2.8 ×, b 2.7 ×, c 2.4 ×)", of many the first and the last: "7 faster (a 2.8 × … g 1.1 ×)"."""
    named = ", ".join(parts) if len(parts) <= NAMED else f"{parts[0]} … {parts[-1]}"
    return f"{len(parts)} {what} ({named})"


def capital(text: str) -> str:
    """With its first letter in upper case."""
    return text[:1].upper() + text[1:]
