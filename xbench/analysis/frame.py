"""All results as one tidy table."""

from typing import TYPE_CHECKING, Any

from xbench.analysis.counted import unknown_operations
from xbench.analysis.roofline import ATTENTION, ceiling, shares
from xbench.metrics.definitions import METRICS
from xbench.parsing.axes import show_img_size
from xbench.statistics.estimates import Estimate
from xbench.study.conditions import Conditions

if TYPE_CHECKING:
    import pandas as pd

    from xbench.analysis.results import Results


def tidy_frame(results: "Results") -> "pd.DataFrame":
    """One row per conditions, arm and metric.

    Columns: arm, mode, res (None at level "op"), tokens (None at the others), n_tokens (N, of stage 3 where there is
    an image), level, direction, the other conditions, metric, unit, value, low, high, launches, ratio, ratio_low,
    ratio_high (against the reference arm), difference, difference_low, difference_high (of accuracy, in points; its
    launches are seeds), trusted (False where the control failed), status, reason, unverified, at_least (operations that
    multiply and that no rule counts: the value is a lower bound, and high infinite).

    Where the time by component was measured, the metric "attention_share" is the attention's share of it, and "ceiling"
    how many times as fast the model would be without its attention.
    """
    import pandas as pd

    rows = []
    for conditions in results.conditions:
        trusted = {metric: results.trusted(conditions, metric) for metric in results.metrics}
        for arm in [*results.arms, *([results.control] if results.control else [])]:
            start = _start_of_row(results, conditions, arm)
            unverified = results.notes.get(arm, {}).get("unverified", "")
            for metric in results.metrics:
                cell = results.cell(conditions, arm, metric)
                if cell is None:
                    continue
                figure, times = cell.figure, results.ratio(conditions, arm, metric)
                rows.append(
                    {
                        **start,
                        "metric": metric,
                        **_figure(METRICS[metric].unit, figure),
                        "ratio": times and times.value,
                        "ratio_low": times and times.low,
                        "ratio_high": times and times.high,
                        **_difference(results, conditions, arm, metric),
                        "trusted": trusted[metric],
                        "status": cell.status,
                        "reason": cell.reason,
                        "unverified": unverified,
                        "at_least": ", ".join(unknown_operations(cell.detail) if figure else []),
                    }
                )
            for metric, unit, figure in _of_attention(results, conditions, arm):
                compared = ("ratio", "difference")
                none = {f"{what}{end}": None for what in compared for end in ("", "_low", "_high")}
                fine = {"trusted": True, "status": "ok", "reason": "", "unverified": unverified, "at_least": ""}
                rows.append({**start, "metric": metric, **_figure(unit, figure), **none, **fine})
    return pd.DataFrame(rows)


def _of_attention(results: "Results", conditions: Conditions, arm: str) -> list[tuple[str, str, Estimate]]:
    share, most = shares(results, conditions, arm).get(ATTENTION), ceiling(results, conditions, arm)
    return [("attention_share", "share", share), ("ceiling", "times", most)] if share and most else []


def _difference(results: "Results", conditions: Conditions, arm: str, metric: str) -> dict[str, float | None]:
    trained = METRICS[metric].how == "trained" and arm != results.against
    found = results.difference(conditions, arm, metric=metric) if trained else None
    values = (found.value, found.low, found.high) if found else (None, None, None)
    return dict(zip(("difference", "difference_low", "difference_high"), values, strict=True))


def _figure(unit: str, figure: Estimate | None) -> dict[str, Any]:
    return {
        "unit": unit,
        "value": figure and figure.value,
        "low": figure and figure.low,
        "high": figure and figure.high,
        "launches": figure and figure.launches,
    }


def _start_of_row(results: "Results", conditions: Conditions, arm: str) -> dict[str, Any]:
    found = conditions.flat()
    img_size, tokens = found.pop("img_size"), found.pop("tokens")
    return {
        "arm": arm,
        "mode": results.cases[arm]["mode"],
        "policy": results.cases[arm]["policy"],
        "res": show_img_size(img_size) if img_size else None,
        "tokens": tokens,
        "n_tokens": conditions.n_tokens or None,
        **found,
    }
