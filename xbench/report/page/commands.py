"""The command that measures one row of a report again: its arm beside the reference arm, under its conditions."""

import shlex
from typing import Any

from xbench.analysis.results import Results
from xbench.metrics.definitions import METRICS
from xbench.processes.policy import TUNED
from xbench.study.conditions import Conditions
from xbench.study.study import LOOK_LAUNCHES

Options = dict[str, list[Any]]
ARMS = {"--attn": "attn", "--model": "baseline"}


def command_of(results: Results, place: Conditions, arm: str) -> str:
    """The command line, with every condition spelled out, for a row that is there.

    What the records do not hold it cannot name: photographs as input, and limits of time.
    """
    sides = _sides(results, arm)
    labels = [side["arm"] for side in sides]
    modes, policies = ([*dict.fromkeys(side[key] for side in sides)] for key in ("mode", "policy"))
    plain = (place.level, place.direction, modes) == ("model", "inference", ["eager"])
    options = {**_arms(sides, len(modes) > 1 or len(policies) > 1), **_extent(place)}
    options |= {f"--{key}": [getattr(place, key)] for key in ("size", "batch", "dtype", "device", "threads")}
    options["--metrics"] = [name for name in METRICS if any(results.cell(place, label, name) for label in labels)]
    if not plain:
        options |= {"--level": [place.level], "--direction": [place.direction], "--mode": modes}
    if policies != [TUNED]:
        options["--policy"] = policies
    if limit := _memory_limit(results, place, arm):
        options["--memory-limit"] = [f"{limit / 2**30:.9g}"]
    words = ["xbench", "compare" if plain else "sweep"]
    words += [word for name, values in options.items() if values for word in (name, *map(str, values))]
    return shlex.join([*words, *(["--quick"] if _was_quick(results, place) else [])])


def _sides(results: Results, arm: str) -> list[dict[str, Any]]:
    """The reference arm and the row's own. The control runs where two are compared: there the other is any."""
    others = [label for label in results.arms if label != results.against]
    own = next(iter(others), results.against) if results.cases[arm]["control"] else arm
    return [results.cases[label] for label in dict.fromkeys([results.against, own])]


def _arms(sides: list[dict[str, Any]], crossed: bool) -> Options:
    """The first is the reference, unless it is named; attentions come before whole models. Where modes or policies are
    ``crossed`` with them, each is named once.
    """
    named = {option: [side[key] for side in sides if side[key]] for option, key in ARMS.items()}
    if crossed:
        named = {option: list(dict.fromkeys(specs)) for option, specs in named.items()}
    return {**named, "--reference": [sides[0]["arm"]] if named["--attn"] and sides[0]["baseline"] else []}


def _extent(place: Conditions) -> Options:
    if place.alone:
        return {"--tokens": [place.tokens]}
    return {"--res": [place.show_extent()], "--patch": [place.patch_size]}


def _memory_limit(results: Results, place: Conditions, arm: str) -> float | None:
    """Bytes that the largest batch had to fit into."""
    cell = results.cell(place, arm, "max_batch")
    return cell.detail.get("limit") if cell else None


def _was_quick(results: Results, place: Conditions) -> bool:
    launches = results.launches(place)
    return results.control is None and bool(launches) and max(launches.values()) <= LOOK_LAUNCHES
