"""Claims replayed: what the runs there are, a sheet of paper, or a run made for it say of each trial of a claim.

A trial is judged by the whole interval of what was measured: reproduced where it lies within what is accepted, not
reproduced where it lies outside, and not testable here where it reaches across the edge or nothing trustworthy was
measured.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from scipy import stats

from xbench.attention import parse_attention
from xbench.axes import whole
from xbench.claims import AnyTrial, Claim, ExponentTrial, FigureTrial, RankCorrelationTrial, RatioTrial
from xbench.errors import UserError, unknown_name
from xbench.metrics import METRICS
from xbench.models.baselines import BASELINES, check_baseline
from xbench.records import Ledger, Record, read_records
from xbench.registry import built_in, catalogue
from xbench.request import cuda_is_here, make_study
from xbench.results import Results
from xbench.runner import Runner
from xbench.runs import LEDGER, ledgers, newest
from xbench.scaling import exponent
from xbench.statistics import CONFIDENCE
from xbench.study import CLAIM_LAUNCHES, Study
from xbench.sweeps import Conditions, tokens_of

Outcome = Literal["reproduced", "not reproduced", "not testable here", "for comparison"]
ON_PAPER = "on paper"
# Of fewer arms the interval of a rank correlation is nearly all there is.
LEAST_ARMS = 8
RESAMPLES = 9999


@dataclass(frozen=True)
class Measured:
    """A quantity with its 95 % interval, NaN where none is known, and what else is to be known of it."""

    value: float
    low: float
    high: float
    remark: str = ""


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
class Finding:
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
    findings: list[Finding]

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
    """The runs in ``paths``, named as for ``runs.ledgers``: those that make claims before looks, then the newest first.

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
        _kind(arm)
    found = []
    for study in studies_for(filter(_static, trials), together=True):
        with TemporaryDirectory() as scratch:
            runner = Runner(study, Ledger(Path(scratch) / LEDGER))
            runner.run()
            results = runner.results()
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
    alone = place.level == "op"
    return make_study(
        [arm for arm in arms if _kind(arm) == "attn"],
        [] if alone else sizes,
        tokens=[whole("tokens", size, 1, 2**24) for size in sizes] if alone else [],
        baseline=[arm for arm in arms if _kind(arm) == "baseline"],
        level=[place.level],
        direction=[place.direction],
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


def missing(replayed: Iterable[Replayed]) -> list[AnyTrial]:
    """The trials for which no source had a figure, and which this machine can measure."""
    lost = [finding.trial for each in replayed for finding in each.findings if finding.measured is None]
    return [trial for trial in lost if trial.at.device != "cuda" or cuda_is_here()]


def _kind(arm: str) -> Literal["attn", "baseline"]:
    if ":" in arm or arm in catalogue():
        parse_attention(arm)
        return "attn"
    try:
        check_baseline(arm)
    except UserError as error:
        raise unknown_name("arm", arm, [*catalogue(), *BASELINES]) from error
    return "baseline"


def _label(arm: str) -> str:
    return str(parse_attention(arm)) if _kind(arm) == "attn" else arm


def _static(trial: AnyTrial) -> bool:
    return all(METRICS[name].how == "static" for name in trial.metrics)


def _find(trial: AnyTrial, sources: Iterable[Evidence]) -> Finding:
    reason, most = "no run here has it; --run measures it", -1
    if trial.at.device == "cuda" and not cuda_is_here():
        reason = "no run here has it, and no CUDA device is here to measure it"
    for source in sources:
        try:
            found = _measure(trial, source.results)
        except _UnfitError as unfit:
            if unfit.arms > most:
                reason, most = f"{unfit} ({source.name})", unfit.arms
            continue
        if found is not None:
            outcome, why = judge(trial, found)
            return Finding(trial, outcome, why, found, source)
    return Finding(trial, "not testable here" if trial.decides else "for comparison", reason)


def judge(trial: AnyTrial, found: Measured) -> tuple[Outcome, str]:
    """The outcome by the whole interval, and in words what is wrong where something is."""
    if not trial.decides:
        return "for comparison", ""
    low, high = trial.accepted
    if not math.isfinite(found.low + found.high):
        return "not testable here", "a single launch has no interval; --run measures more"
    if low <= found.low and found.high <= high:
        return "reproduced", ""
    if found.high < low or found.low > high:
        return "not reproduced", _how_far(trial, found)
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


class _UnfitError(Exception):
    """A run has something of a quantity, and it cannot be used; ``arms`` says how much, where arms are too few."""

    def __init__(self, why: str, arms: int = 0):
        super().__init__(why)
        self.arms = arms


def _measure(trial: AnyTrial, results: Results) -> Measured | None:
    """The quantity as this run has it; None where it has nothing of it.

    Raises:
        _UnfitError: the control of the run failed there, or it compares too few arms.
    """
    if isinstance(trial, ExponentTrial):
        return _exponent(trial, results)
    for conditions in results.conditions:
        if trial.at.fits(conditions):
            found = _at(trial, results, conditions)
            if found is not None:
                if any(not results.trusted(conditions, metric) for metric in trial.metrics):
                    raise _UnfitError("void: the control failed")
                return found
    return None


def _at(trial: AnyTrial, results: Results, conditions: Conditions) -> Measured | None:
    if isinstance(trial, FigureTrial):
        cell = results.cell(conditions, _label(trial.arm), trial.metric)
        found = cell.figure if cell else None
    elif isinstance(trial, RatioTrial):
        found = results.ratio(conditions, _label(trial.arm), trial.metric, _label(trial.to))
    else:
        assert isinstance(trial, RankCorrelationTrial)
        return _rank_correlation(trial, results, conditions)
    return Measured(found.value, found.low, found.high) if found else None


def _exponent(trial: ExponentTrial, results: Results) -> Measured | None:
    arm = _label(trial.arm)
    for sweep in results.sweeps():
        if not trial.at.fits(sweep.conditions[0], any_size=True):
            continue
        if trial.metric == "macs":
            # Exact, and linear only where N outgrows what does not depend on it.
            cells = [(tokens_of(place), results.cell(place, arm, "macs")) for place in sweep.conditions]
            known = [(math.log(n), math.log(cell.figure.value)) for n, cell in cells if cell and cell.figure]
            slopes = [(y - left_y) / (x - left_x) for (left_x, left_y), (x, y) in pairwise(known)]
            if slopes:
                return Measured(slopes[-1], slopes[-1], slopes[-1], "between the two largest sizes")
            continue
        found = exponent(results, sweep, arm, trial.metric)
        if found is not None:
            remark = "between the two largest sizes" if found.points == 2 else f"over {found.points} sizes"
            bent = "; not one power" if found.straight is False else ""
            return Measured(found.value, found.low, found.high, remark + bent)
    return None


def _rank_correlation(trial: RankCorrelationTrial, results: Results, conditions: Conditions) -> Measured | None:
    pairs = []
    for arm in results.arms:
        if results.cases[arm]["attn"] is None or results.cases[arm]["mode"] != "eager":
            continue
        cells = [results.cell(conditions, arm, name) for name in trial.metrics]
        values = [cell.figure.value for cell in cells if cell and cell.figure]
        if len(values) == 2:
            pairs.append([_cost(name, value) for name, value in zip(trial.metrics, values, strict=True)])
    if not pairs:
        return None
    if len(pairs) < LEAST_ARMS:
        raise _UnfitError(f"only {len(pairs)} attentions, a rank correlation needs {LEAST_ARMS}", len(pairs))
    value, low, high, chance = rank_correlation(*np.array(pairs).T)
    return Measured(value, low, high, f"{len(pairs)} attentions; by chance: p = {chance:.2g}")


def _cost(metric: str, value: float) -> float:
    """What more of is worse: a rate as the time of one."""
    return 1 / value if METRICS[metric].better == "higher" else value


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float, float]:
    """Spearman's ρ, its 95 % interval over the pairs, and how often a random order would correlate as much.

    The interval is the bootstrap's over the pairs, for which arms there are decides more than the noise of each; the
    last is a permutation test's. Both repeat.
    """
    random = np.random.default_rng(0)
    found: Any = stats.pearsonr(
        stats.rankdata(x), stats.rankdata(y), method=stats.PermutationMethod(n_resamples=RESAMPLES, rng=random)
    )
    bootstrap = stats.BootstrapMethod(n_resamples=RESAMPLES, method="percentile", rng=random)
    low, high = found.confidence_interval(CONFIDENCE, method=bootstrap)
    return float(found.statistic), float(low), float(high), float(found.pvalue)
