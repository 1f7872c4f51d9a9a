"""How figures are written: digits no finer than their interval earns, units that a reader can compare."""

import math

from xbench.statistics.estimates import Difference, Estimate

WIDE = 0.25  # half interval, relative to the value, from which "±" would hide that the interval is not symmetric


def show_estimate(figure: Estimate) -> str:
    """ "602 ±5", rounded where the interval begins; "1,000 (400–2,500)" where that is wide; "602 ±?" where unknown."""
    if figure.bound:
        return f"{figure.bound} {show_number(figure.value, 3)}"
    if _repeats(figure):
        return show_number(figure.value, 3)
    half = (figure.high - figure.low) / 2
    if not math.isfinite(half):
        return f"{show_number(figure.value, 2)} ±?"
    if half > WIDE * figure.value:
        return show_interval(figure)
    decimals = _decimals(half)
    return f"{_fixed(figure.value, decimals)} ±{_fixed(half, decimals)}"


def show_interval(figure: Estimate) -> str:
    """ "0.186 (0.182–0.190)"; the bare value for exact figures, "≥ 1.2" for bounds; "0.19 (?)" where nothing is known.

    At least two digits of the value and one of the lower end are shown, and one more where that keeps an end that is
    not 1 from reading as 1.
    """
    if figure.bound:
        return f"{figure.bound} {show_number(figure.value, 3)}"
    if _repeats(figure):
        return show_number(figure.value, 3)
    half = (figure.high - figure.low) / 2
    if not math.isfinite(half):
        return f"{show_number(figure.value, 2)} (?)"
    decimals = max(_decimals(half), 1 - _magnitude(figure.value), -_magnitude(figure.low))
    if any(round(end, decimals) == 1 != round(end, decimals + 1) for end in (figure.low, figure.high)):
        decimals += 1
    return f"{_fixed(figure.value, decimals)} ({_fixed(figure.low, decimals)}–{_fixed(figure.high, decimals)})"


def show_number(value: float, digits: int) -> str:
    """The value with so many significant digits, thousands separated, never in powers of ten."""
    value = float(f"{value:.{digits - 1}e}")
    if value == 0:
        return "0"
    return _fixed(value, digits - 1 - _magnitude(value))


def show_count(count: float) -> str:
    """5475688 → "5.48 M", 25415877760 → "25.4 G": three significant digits and the decimal prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * factor:
            return f"{show_number(count / factor, 3)} {prefix}"
    return f"{count:.0f}"


def show_counted(figure: Estimate) -> str:
    """A count as a figure: "25.4 G", and "≥ 25.4 G" where it is a lower bound."""
    return f"{figure.bound} {show_count(figure.value)}".lstrip()


def show_mib(mib: float) -> str:
    """ "2,167" or, under 100, "42.7"."""
    return f"{mib:,.0f}" if mib >= 100 else show_number(mib, 3)


def show_memory(mib: float) -> str:
    """With the unit that fits: "42.7 MiB", "2,167 MiB", "20.5 GiB", "1.20 TiB"."""
    for unit, size in (("TiB", 2**20), ("GiB", 2**10)):
        if mib >= 10 * size or (unit == "TiB" and mib >= size):
            return f"{show_number(mib / size, 3)} {unit}"
    return f"{show_mib(mib)} MiB"


def show_share(share: Estimate) -> str:
    """0.453 within 0.431 to 0.476 → "45% (43–48)"; "45.3%" where it repeats; "45% (?)" where no interval is known."""
    if _repeats(share):
        return f"{share.value:.1%}"
    if not math.isfinite(share.high - share.low):
        return f"{share.value:.0%} (?)"
    decimals = 1 if share.high - share.low < 0.01 else 0
    low, high = (f"{100 * end:.{decimals}f}" for end in (share.low, share.high))
    return f"{share.value:.{decimals}%} ({low}–{high})"


def show_percent(figure: Estimate) -> str:
    """ "93.2 (92.1–94.1)", a percentage over seeds, whose interval is not symmetric; "93.2 (?)" with a single one."""
    half = (figure.high - figure.low) / 2
    if not math.isfinite(half):
        return f"{figure.value:.1f} (?)"
    decimals = max(1, _decimals(half)) if half else 1
    value, low, high = (f"{number:.{decimals}f}" for number in (figure.value, figure.low, figure.high))
    return f"{value} ({low}–{high})" if half else value


def show_points(difference: Difference) -> str:
    """ "−1.3 (−2.1 to −0.5)", in points of a per cent; "−1.3 (?)" where no interval is known."""
    value, low, high = (
        f"{number:+.1f}".replace("-", "−") for number in (difference.value, difference.low, difference.high)
    )
    return f"{value} ({low} to {high})" if math.isfinite(difference.high - difference.low) else f"{value} (?)"


def show_power(value: float, low: float, high: float) -> str:
    """An exponent, which may be zero or negative: "1.87 (1.80 to 1.94)"; the bare value where no interval is known."""
    span = f" ({low:.2f} to {high:.2f})" if math.isfinite(high - low) and high > low else ""
    return f"{value:.2f}{span}"


def show_seconds(seconds: float) -> str:
    """ "42 s" or "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _repeats(figure: Estimate) -> bool:
    """Whether the interval is nothing, to rounding error."""
    return math.isclose(figure.low, figure.high, rel_tol=1e-9)


def _decimals(half: float) -> int:
    """Decimals that show the half interval with one digit, two where that digit would be 1."""
    magnitude = _magnitude(half)
    leading = half / 10**magnitude
    return -magnitude + (1 if leading < 1.95 else 0)


def _magnitude(value: float) -> int:
    """The power of ten of the first digit."""
    return math.floor(math.log10(abs(value)))


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals):,.{max(0, decimals)}f}"
