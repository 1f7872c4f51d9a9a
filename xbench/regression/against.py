"""A check against another commit: each arm of a study as it was there and as it is here, side by side in one run.

Both sides take turns, as the arms of any comparison, so a machine that drifts hits both alike. The commit's own arm
runs a second time under another name: the control.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xbench.analysis.results import Cell, Results
from xbench.attention.loading import is_file
from xbench.attention.registry import built_in, describe, facts_of
from xbench.attention.spec import parse_attention, split_spec
from xbench.errors import UserError
from xbench.metrics.definitions import METRICS
from xbench.processes.checkout import Checkout
from xbench.regression.session import RERUN, Session, gated, timed_metrics
from xbench.regression.slowdown import paired
from xbench.regression.times import Timed, judge_times, void
from xbench.regression.verdicts import CellKey, CellVerdict, CheckResult, accept, judge
from xbench.regression.worktree import Code, checked_out
from xbench.study.case import Arm
from xbench.study.files import load_study, read_request
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import Study

HINT = "A change that is meant is accepted by --intended and the metric's name."


def check_against(
    study_file: Path, ref: str, session: Session, *, python: str | None = None, intended: Sequence[str] = ()
) -> CheckResult:
    """Measures the study of the file with the code of the commit and with the code that is here.

    Args:
        ref: whatever git understands as a commit.
        python: the interpreter of the commit's side, where its libraries are to be others.
        intended: names of metrics that may change.

    Raises:
        UserError: a bad study, or a commit that cannot take part; see ``checked_out``.
    """
    study = gated(load_study(study_file))
    with checked_out(ref, code_of(study), next(study.cases()).request(), python) as checkout:
        findings = vanished(study, Path(checkout.folder, os.path.relpath(study_file)))
        findings += compare_sides(study, checkout, None, session)
    before = f"{ref} ({checkout.commit[:12]})"
    return CheckResult(tuple(accept(findings, intended)), before, session.effect, session.folder, HINT)


def compare_sides(
    study: Study, before: Checkout, now: Checkout | None, session: Session, part: str = ""
) -> list[CellVerdict]:
    """Measures every arm of the study on both sides, in turns, and judges it. ``now`` is the code that is here where it
    is None; ``part`` is where in the session's folder the records go.
    """
    findings: list[CellVerdict] = []
    timed: dict[CellKey, Timed] = {}
    pairs = {arm.label: pair(study, arm, before, now) for arm in study.arms}
    for label, of_arm in pairs.items():
        results = session.measure(of_arm, part)
        findings += _judged(results, label)
        timed |= times(results, label, session.effect)

    def run_again(suspected: set[CellKey]) -> dict[CellKey, Timed]:
        found: dict[CellKey, Timed] = {}
        for place in timed:
            if place in suspected and place not in found:
                narrow = replace(pairs[place.arm].at(place.conditions), metrics=timed_metrics(study))
                again = session.measure(narrow, os.path.join(part, RERUN))
                found |= times(again, place.arm, session.effect)
        return found

    return [*findings, *judge_times(timed, session.effect, run_again)]


def code_of(study: Study) -> Code:
    """The packages and files that the arms of a study come from."""
    packages, files = ["xbench", "attention_variants"], []
    for arm in study.arms:
        info = describe(parse_attention(arm.attn).name) if arm.attn else None
        place = info.target.rpartition(":")[0] if info and info.name not in built_in() else ""
        if is_file(place):
            files.append(place)
        elif place:
            packages.append(place.partition(".")[0])
    return Code(tuple(dict.fromkeys(packages)), tuple(files))


def pair(study: Study, arm: Arm, checkout: Checkout, now: Checkout | None = None) -> Study:
    """The study of one arm, as it was and as it is, here or in another checkout."""
    ref = checkout.commit[:12] if checkout.commit == checkout.ref else checkout.ref
    before = replace(arm, label=f"{arm.label} @ {ref}", checkout=checkout)
    return replace(study, arms=(before, replace(arm, checkout=now)), against=before.label)


def times(results: Results, arm: str, effect: float) -> dict[CellKey, Timed]:
    """What both sides of a pair have times of."""
    found = {}
    for place in _places(results, arm):
        before, now = _cells(results, place)
        if before is None or now is None or METRICS[place.metric].exact or judge(place, before, now) is not None:
            continue
        longer, than = (results.samples(place.conditions, label, place.metric) for label in (arm, results.against))
        if METRICS[place.metric].better == "higher":
            longer, than = than, longer
        if slowdown := paired(longer, than, effect):
            # What is not sampled in turns has no control of its own; that of the speed stands in.
            control = results.control_ratio(place.conditions, place.metric) or results.control_ratio(place.conditions)
            found[place] = Timed(before.figure, now.figure, slowdown, void(control, effect))
    return found


def vanished(study: Study, file: Path) -> list[CellVerdict]:
    """What the commit's study, whose file this is, measures and this one does not; nothing where the file is new."""
    here = {place for arm in study.arms for place in asked_places(study, arm.label)}
    there = _places_there(read_request(file)) if file.is_file() else []
    reason = "vanished: the study measured it before, and does not any more"
    return [CellVerdict(place, "FAIL", reason) for place in there if place not in here]


def _places_there(request: StudyRequest) -> Iterator[CellKey]:
    """Of a study some of whose attentions may not exist here: another one tells what their places are."""
    stand_in = next(iter(built_in()))
    study = gated(make_study(replace(request, attn=(stand_in,), model=(), reference=None)))
    for name in [*request.attn, *request.model]:
        for arm in study.arms:
            for place in asked_places(study, arm.label):
                yield replace(place, arm=arm.label.replace(stand_in, _canonical(name), 1))


def _canonical(name: str) -> str:
    # What an older study names may not be here any more; code from outside is not run to find out.
    if facts_of(split_spec(name)[0]) is None:
        return name
    try:
        return str(parse_attention(name))
    except UserError:
        return name


def asked_places(study: Study, arm: str) -> Iterator[CellKey]:
    """Where a study is to have figures of the arm."""
    for case in study.cases():
        if case.arm.label == arm:
            yield from (CellKey(arm, case.conditions, name) for name in study.metrics_of(case))


def _judged(results: Results, arm: str) -> list[CellVerdict]:
    """Everything of a pair but times that both sides have."""
    found = (judge(place, *_cells(results, place)) for place in _places(results, arm))
    return [finding for finding in found if finding]


def _places(results: Results, arm: str) -> list[CellKey]:
    places = (CellKey(arm, conditions, name) for conditions in results.conditions for name in results.metrics)
    return [place for place in places if any(_cells(results, place))]


def _cells(results: Results, place: CellKey) -> tuple[Cell | None, Cell | None]:
    """Before and now."""
    before, now = (results.cell(place.conditions, label, place.metric) for label in (results.against, place.arm))
    return before, now
