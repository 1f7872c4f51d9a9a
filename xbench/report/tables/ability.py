"""What attentions can do on made-up tasks, as tables: right answers by number of pairs, and how soon."""

from xbench.analysis.ability import Ability, abilities, guess, probed
from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.report.tables.grids import Grid
from xbench.study.conditions import Conditions
from xbench.wording.conditions import conditions_line
from xbench.wording.numbers import show_percent

UNSAID = ("batch", "dtype", "threads")  # of inference; training has its own
BLIND, COMMONEST = "blind guess", "commonest value"
RISING = "still rising"


def ability_grids(results: Results) -> list[Grid]:
    """Two tables for each task: right answers and capacity, best first, among them both guesses; and steps to 90 %."""
    return [grid for task, place in probed(results) for grid in _of(results, task, place)]


def _of(results: Results, task: str, place: Conditions) -> list[Grid]:
    found = abilities(results, place, task)
    pairs = list(next(iter(found.values())).by_pairs)
    rows = [(own.mean.value, _row(results, arm, own)) for arm, own in found.items()]
    for which, name in enumerate((BLIND, COMMONEST)):
        shares = [guess(task, number)[which] for number in pairs]
        row = [name, *(f"{share:.1f}" for share in shares), "", "", ""]
        rows.append((sum(shares) / len(shares), row))
    rows.sort(key=lambda row: -row[0])
    label = METRICS[task].label
    where = conditions_line(place, but=UNSAID)
    heads = ["arm", *(f"{number} pairs %" for number in pairs), "capacity", "rate", "training"]
    notes = ["Capacity: the largest number of pairs answered at 90 % or more, and that of the ends of the intervals."]
    if any(not own.finished for own in found.values()):
        notes.append(f"≥ and {RISING}: training was stopped before validation had ceased to rise; no verdict.")
    first = Grid(f"{label.capitalize()}, right answers · {where}", heads, [row for _, row in rows], {}, tuple(notes))
    ranked = sorted(found, key=lambda arm: -found[arm].mean.value)
    steps = [[results.marked(arm), *(_steps(found[arm], number) for number in pairs)] for arm in ranked]
    title = f"{label.capitalize()}, steps to 90 % in validation · {where}"
    return [first, Grid(title, ["arm", *(f"{number} pairs" for number in pairs)], steps, {})]


def _row(results: Results, arm: str, own: Ability) -> list[str]:
    shares = [show_percent(share) for share in own.by_pairs.values()]
    rates = " ".join(dict.fromkeys(f"{rate:g}" for rate in own.rates))
    ended = "finished" if own.finished else RISING
    return [results.marked(arm), *shares, show_capacity(own), rates, ended]


def show_capacity(own: Ability) -> str:
    """ "16 (8–16)", "16" where both ends agree, "16 (?)" of one seed, "≥ 16" where more may come with more steps."""
    capacity = own.capacity
    bound = "" if own.decided else "≥ "
    if capacity.low is None or capacity.high is None:
        return f"{bound}{capacity.value} (?)"
    span = "" if capacity.low == capacity.high else f" ({capacity.low}–{capacity.high})"
    return f"{bound}{capacity.value}{span}"


def _steps(own: Ability, pairs: int) -> str:
    """The median of the seeds and, where they differ, the ends: "700 (600–900)"; "never" where most never did."""
    middle, found = own.steps_to_held(pairs), sorted(step for step in own.steps[pairs] if step is not None)
    never = len(own.steps[pairs]) - len(found)
    if middle is None:
        return f"never in {never} of {own.seeds}" if found else "never"
    ends = f" ({found[0]:,}–{'never' if never else f'{found[-1]:,}'})" if never or found[0] != found[-1] else ""
    return f"{middle:,.0f}{ends}"
