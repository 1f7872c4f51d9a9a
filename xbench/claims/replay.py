"""Claims replayed: what the runs there are, a sheet of paper, or a run made for it say of each trial of a claim.

A trial is judged by the whole interval of what was measured: reproduced where it lies within what is accepted, not
reproduced where it lies outside, and not testable here where it reaches across the edge or nothing trustworthy was
measured.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from xbench.analysis.results import Results
from xbench.analysis.runs import ledgers, newest
from xbench.attention.registry import built_in
from xbench.claims.claim import AnyTrial, Claim, RankCorrelationTrial, RatioTrial
from xbench.claims.quantities import Measured, UnfitError, arm_kind, measure
from xbench.files.run_folders import LEDGER
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import OF_TOKENS, whole
from xbench.records.ledger import Ledger, read_records
from xbench.records.record import Record
from xbench.runner.runner import run_study
from xbench.study.request import StudyRequest, make_study
from xbench.study.study import CLAIM_LAUNCHES, Study
from xbench.training.request import cuda_is_here

Outcome = Literal["reproduced", "not reproduced", "not testable here", "for comparison"]
ON_PAPER = "on paper"


@dataclass(frozen=True)
class Evidence:
    """The results of one run, or of a sheet of paper.

    Attributes:
        name: its folder; ``ON_PAPER``.
        last: the record it ended with, for its time, machine and commit.
    """

    name: str
    results: Results
    last: Record


@dataclass(frozen=True)
class TrialResult:
    """What came of one trial. ``measured`` and ``evidence`` are None where nothing was found; ``reason`` says why."""

    trial: AnyTrial
    outcome: Outcome
    reason: str = ""
    measured: Measured | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Replayed:
    """A claim with what came of its trials."""

    claim: Claim
    findings: list[TrialResult]

    @property
    def outcome(self) -> Outcome:
        """Not reproduced where one trial that decides is not; else not testable where one is not; else reproduced."""
        if not self.findings:
            return "not testable here"
        found = {finding.outcome for finding in self.findings}
        ordered: tuple[Outcome, ...] = ("not reproduced", "not testable here")
        return next((outcome for outcome in ordered if outcome in found), "reproduced")


def replay(claims: Sequence[Claim], sources: Sequence[Evidence]) -> list[Replayed]:
    """What ``sources`` say of the claims; the first that has a quantity is asked.

    Parameters and multiply–accumulates are asked of what ``on_paper`` counted alone.
    """

    def of(trial: AnyTrial) -> list[Evidence]:
        return [source for source in sources if (source.name == ON_PAPER) == _static(trial)]

    return [Replayed(claim, [_find(trial, of(trial)) for trial in claim.test]) for claim in claims]


def read_evidence(paths: Iterable[str | Path]) -> list[Evidence]:
    """The runs in ``paths``, named as for ``analysis.runs.ledgers``: claims before looks, then the newest first.

    Raises:
        UserError: a path does not exist or holds no records.
    """
    found = []
    for ledger in ledgers(*paths):
        records = newest(read_records([ledger]))
        if any(record.case for record in records):
            found.append(Evidence(str(ledger.parent), Results(records), records[-1]))

    def rank(run: Evidence) -> tuple[bool, str]:
        launches = [n for place in run.results.conditions for n in run.results.launches(place).values()]
        return max(launches, default=0) >= CLAIM_LAUNCHES, run.last.time

    return sorted(found, key=rank, reverse=True)


def on_paper(claims: Iterable[Claim]) -> list[Evidence]:
    """What takes no run, counted by the code as it stands; nothing is kept.

    Raises:
        UserError: an arm that a claim names does not exist, or a place is none.
    """
    trials = [trial for claim in claims for trial in claim.test]
    for arm in dict.fromkeys(arm for trial in trials for arm in trial.arms):
        arm_kind(arm)
    found = []
    for study in studies_for(filter(_static, trials), together=True):
        with TemporaryDirectory() as scratch:
            results = run_study(study, Ledger(Path(scratch) / LEDGER))
        found.append(Evidence(ON_PAPER, results, results.records[-1]))
    return found


def studies_for(trials: Iterable[AnyTrial], *, together: bool = False, quick: bool = False) -> list[Study]:
    """The studies that measure what the trials need: one for each set of conditions, with the arms of all of them.

    Trials at different sizes are asked apart, so that no arm runs where nobody asked; ``together`` puts them in one
    study, which costs little on paper.
    """
    asked: dict[Any, list[AnyTrial]] = {}
    for trial in trials:
        place = trial.at.model_copy(update={"res": [], "tokens": []}) if together else trial.at
        asked.setdefault(place.model_dump_json(), []).append(trial)
    return [_study(own, quick) for own in asked.values()]


def _study(trials: Sequence[AnyTrial], quick: bool) -> Study:
    place = trials[0].at
    sizes = list(dict.fromkeys(size for trial in trials for size in trial.at.sizes))
    arms = dict.fromkeys(arm for trial in trials for arm in trial.arms)
    if any(isinstance(trial, RankCorrelationTrial) for trial in trials):
        arms |= dict.fromkeys(built_in())
    alone = place.level in OF_TOKENS
    request = StudyRequest(
        [arm for arm in arms if arm_kind(arm) == "attn"],
        [] if alone else sizes,
        tokens=[whole("tokens", size, 1, 2**24) for size in sizes] if alone else [],
        model=[arm for arm in arms if arm_kind(arm) == "baseline"],
        level=[place.level],
        direction=[place.direction],
        task=place.task,
        patch=[] if alone else [place.patch],
        size=place.size,
        batch=[place.batch],
        dtype=[place.dtype],
        device=place.device or "cpu",
        metrics=list(dict.fromkeys(metric for trial in trials for metric in trial.metrics)),
        quick=quick,
        question="What claims say, measured.",
        name="claims",
    )
    return make_study(request)


def missing(replayed: Iterable[Replayed]) -> list[AnyTrial]:
    """The trials for which no source had a figure, and which this machine can measure."""
    lost = [finding.trial for each in replayed for finding in each.findings if finding.measured is None]
    return [trial for trial in lost if trial.at.device != "cuda" or cuda_is_here()]


def _static(trial: AnyTrial) -> bool:
    return all(METRICS[name].how == "static" for name in trial.metrics)


def _find(trial: AnyTrial, sources: Iterable[Evidence]) -> TrialResult:
    reason, most = "no run here has it; --run measures it", -1
    if trial.at.device == "cuda" and not cuda_is_here():
        reason = "no run here has it, and no CUDA device is here to measure it"
    for source in sources:
        try:
            found = measure(trial, source.results)
        except UnfitError as unfit:
            if unfit.arms > most:
                reason, most = f"{unfit} ({source.name})", unfit.arms
            continue
        if found is not None:
            outcome, why = judge(trial, found)
            return TrialResult(trial, outcome, why, found, source)
    return TrialResult(trial, "not testable here" if trial.decides else "for comparison", reason)


def judge(trial: AnyTrial, found: Measured) -> tuple[Outcome, str]:
    """The outcome by the whole interval, and in words what is wrong where something is."""
    if not trial.decides:
        return "for comparison", ""
    low, high = trial.accepted
    if math.isnan(found.low + found.high):
        return "not testable here", "a single launch has no interval; --run measures more"
    if low <= found.low and found.high <= high:
        return "reproduced", ""
    if found.high < low or found.low > high:
        return "not reproduced", _how_far(trial, found)
    if math.isinf(found.high) or found.high == found.value:
        return "not testable here", "only a bound is known, and what is accepted reaches across it"
    return "not testable here", "too uncertain: the interval reaches across the edge of what is accepted"


def _how_far(trial: AnyTrial, found: Measured) -> str:
    """ "smaller than claimed", and of a ratio whether the advantage claimed is there all the same."""
    size = "smaller" if found.high < trial.accepted[0] else "greater"
    if isinstance(trial, RatioTrial) and trial.value is not None and trial.value > 0:
        claimed, measured = math.log(trial.value), math.log(found.value)
        if claimed * measured > 0:
            more = "more" if abs(measured) > abs(claimed) else "less"
            return f"{size} than claimed: the difference is there, and {more} so"
    return f"{size} than claimed"
