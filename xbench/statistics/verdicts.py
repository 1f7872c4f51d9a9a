"""What the interval of a ratio allows one to say."""

import math
from typing import Literal

from xbench.statistics.estimates import Estimate

EFFECT = 0.05  # the smallest relative difference that matters to a user
POINTS = 1.0  # the smallest difference of a percentage that does


Verdict = Literal["higher", "lower", "equal", "not shown"]


def alike(*ratios: float, effect: float = EFFECT) -> bool:
    """Whether each of these ratios is 1 to within ``effect``: no side more than 1 + effect times the other.

    The one rule of what is equal, whichever side is divided by which: 1.05 and 1/1.05 are, 1.06 and 0.95 are not.
    """
    return all(1 / (1 + effect) <= ratio <= 1 + effect for ratio in ratios)


def verdict(ratio: Estimate, control: Estimate | None = None, effect: float = EFFECT) -> Verdict:
    """What the interval of a ratio allows one to say.

    "equal" when both its ends are ``alike``. "higher" or "lower" when it leaves out 1, the median of the launches
    does not contradict that, and it lies beyond the control's interval, where a control ran: what equals show between
    them is no finding. Else "not shown".
    """
    if not math.isfinite(ratio.half_width):
        return "not shown"
    if alike(ratio.low, ratio.high, effect=effect):
        return "equal"
    if ratio.doubtful:
        return "not shown"
    known = control is not None and math.isfinite(control.half_width)
    low, high = (control.low, control.high) if control is not None and known else (1.0, 1.0)
    if ratio.low > max(1.0, high):
        return "higher"
    if ratio.high < min(1.0, low):
        return "lower"
    return "not shown"


def control_holds(control: Estimate, effect: float = EFFECT) -> bool:
    """Whether the reference arm, measured against itself, came out as itself: ``alike``."""
    return alike(control.value, effect=effect)
