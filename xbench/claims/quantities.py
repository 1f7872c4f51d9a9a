"""The quantities that claims speak of, as a run has them: figures, ratios, exponents, rank correlations."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from xbench.analysis.results import Results
from xbench.analysis.scaling import exponent
from xbench.attention.registry import catalogue
from xbench.attention.spec import parse_attention
from xbench.claims.claim import AnyTrial, ExponentTrial, FigureTrial, RankCorrelationTrial, RatioTrial
from xbench.errors import UserError, unknown_name
from xbench.metrics.definitions import METRICS
from xbench.models.baselines import BASELINES, check_baseline
from xbench.statistics.ranks import rank_correlation
from xbench.study.conditions import Conditions

# Of fewer arms the interval of a rank correlation is nearly all there is.
LEAST_ARMS = 8
BOUNDED = "a bound, because no rule counts some of the multiply–accumulates"


@dataclass(frozen=True)
class Measured:
    """A quantity with its 95 % interval, NaN where none is known, and what else is to be known of it.

    An end that is infinite, or of a ratio 0, is that of a bound.
    """

    value: float
    low: float
    high: float
    remark: str = ""


class UnfitError(Exception):
    """A run has something of a quantity, and it cannot be used; ``arms`` says how much, where arms are too few."""

    def __init__(self, why: str, arms: int = 0):
        super().__init__(why)
        self.arms = arms


def arm_kind(arm: str) -> Literal["attn", "baseline"]:
    """Whether a name is that of an attention or of a whole timm model.

    Raises:
        UserError: it is neither.
    """
    if ":" in arm or arm in catalogue():
        parse_attention(arm)
        return "attn"
    try:
        check_baseline(arm)
    except UserError as error:
        raise unknown_name("arm", arm, [*catalogue(), *BASELINES]) from error
    return "baseline"


def arm_label(arm: str) -> str:
    """What records call the arm."""
    return str(parse_attention(arm)) if arm_kind(arm) == "attn" else arm


def measure(trial: AnyTrial, results: Results) -> Measured | None:
    """The quantity as this run has it; None where it has nothing of it.

    Raises:
        UnfitError: the control of the run failed there, or it compares too few arms.
    """
    if isinstance(trial, ExponentTrial):
        return _exponent(trial, results)
    for conditions in results.conditions:
        if trial.at.fits(conditions):
            found = _at(trial, results, conditions)
            if found is not None:
                if any(not results.trusted(conditions, metric) for metric in trial.metrics):
                    raise UnfitError("void: the control failed")
                return found
    return None


def _at(trial: AnyTrial, results: Results, conditions: Conditions) -> Measured | None:
    if isinstance(trial, FigureTrial):
        cell = results.cell(conditions, arm_label(trial.arm), trial.metric)
        found = cell.figure if cell else None
    elif isinstance(trial, RatioTrial):
        found = results.ratio(conditions, arm_label(trial.arm), trial.metric, arm_label(trial.to))
    else:
        assert isinstance(trial, RankCorrelationTrial)
        return _rank_correlation(trial, results, conditions)
    return Measured(found.value, found.low, found.high, BOUNDED if found.bound else "") if found else None


def _exponent(trial: ExponentTrial, results: Results) -> Measured | None:
    arm = arm_label(trial.arm)
    for sweep in results.sweeps():
        if not trial.at.fits(sweep.conditions[0], any_size=True):
            continue
        if trial.metric == "macs":
            # Exact, and linear only where N outgrows what does not depend on it.
            cells = [(place.n_tokens, results.cell(place, arm, "macs")) for place in sweep.conditions]
            if any(cell.figure.bound for _, cell in cells if cell and cell.figure):
                raise UnfitError(f"the multiply–accumulates of {arm} are a lower bound, which has no exponent")
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
    pairs, bounded = [], []
    for arm in results.arms:
        if results.cases[arm]["attn"] is None or results.cases[arm]["mode"] != "eager":
            continue
        cells = [results.cell(conditions, arm, name) for name in trial.metrics]
        figures = [cell.figure for cell in cells if cell and cell.figure]
        if any(figure.bound for figure in figures):
            bounded.append(arm)
        elif len(figures) == 2:
            pairs.append([_cost(name, one.value) for name, one in zip(trial.metrics, figures, strict=True)])
    if not pairs:
        return None
    if len(pairs) < LEAST_ARMS:
        raise UnfitError(f"only {len(pairs)} attentions, a rank correlation needs {LEAST_ARMS}", len(pairs))
    value, low, high, chance = rank_correlation(*np.array(pairs).T)
    without = f", without {', '.join(bounded)}, of which a lower bound is all that is known" if bounded else ""
    return Measured(value, low, high, f"{len(pairs)} attentions{without}; by chance: p = {chance:.2g}")


def _cost(metric: str, value: float) -> float:
    """What more of is worse: a rate as the time of one."""
    return 1 / value if METRICS[metric].better == "higher" else value
