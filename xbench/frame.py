"""All results as one tidy table."""

from typing import TYPE_CHECKING, Any

from xbench.axes import show_img_size
from xbench.metrics import METRICS
from xbench.sweeps import Conditions

if TYPE_CHECKING:
    import pandas as pd

    from xbench.results import Results


def tidy_frame(results: "Results") -> "pd.DataFrame":
    """One row per conditions, arm and metric.

    Columns: arm, mode, res (None at level "op"), tokens (None at the others), level, direction, the other conditions,
    metric, unit, value, low, high, launches, ratio, ratio_low, ratio_high (against the reference arm), trusted (False
    where the control failed), status, reason, unverified.
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
                        "unit": METRICS[metric].unit,
                        "value": figure and figure.value,
                        "low": figure and figure.low,
                        "high": figure and figure.high,
                        "launches": figure and figure.launches,
                        "ratio": times and times.value,
                        "ratio_low": times and times.low,
                        "ratio_high": times and times.high,
                        "trusted": trusted[metric],
                        "status": cell.status,
                        "reason": cell.reason,
                        "unverified": unverified,
                    }
                )
    return pd.DataFrame(rows)


def _start_of_row(results: "Results", conditions: Conditions, arm: str) -> dict[str, Any]:
    img_size = conditions["img_size"]
    first = {key: conditions[key] for key in ("tokens", "level", "direction")}
    rest = {key: value for key, value in conditions.items() if key not in ("img_size", *first)}
    res = show_img_size(img_size) if img_size else None
    return {"arm": arm, "mode": results.cases[arm]["mode"], "res": res, **first, **rest}
