"""Numbers as digits: the only place where a number of a report, a page or a chart becomes text."""

from __future__ import annotations

from diagnose.judge.comparison import HasInterval

MINUS = "\N{MINUS SIGN}"


def format_number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with a fixed number of digits, a true minus sign, and no sign before a rounded zero.

    Args:
        value: any finite number.
        digits: digits after the point, at least 0.
        signed: write a plus before positive numbers.

    Example:
        >>> format_number(-0.004), format_number(0.5, signed=True)
        ('0.00', '+0.50')
    """
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def in_percent(fraction: float, digits: int = 1, *, signed: bool = False) -> str:
    """Return a fraction of one in percent (or a difference of fractions in points), without the unit.

    Args:
        fraction: any finite number, 0.43 is 43 %.
        digits: digits after the point, at least 0.
        signed: write a plus before positive numbers.

    Example:
        >>> in_percent(0.4331), in_percent(-0.0001)
        ('43.3', '0.0')
    """
    return format_number(100 * fraction, digits, signed=signed)


def format_value(value: float, *, percent: bool) -> str:
    """Return a number as charts and their sentences show it: with one digit in percent, else with two digits as it is.

    Args:
        value: any finite number.
        percent: whether it is a fraction of one that is shown in percent.
    """
    return in_percent(value) if percent else format_number(value)


def with_interval(estimate: HasInterval, *, digits: int, percent: bool = False, unit: str = "") -> str:
    """Return a number with its interval in brackets: `43.3 % (41.9 to 44.7)`.

    Args:
        estimate: the number and its interval.
        digits: digits after the point.
        percent: whether the three are fractions of one and are written in percent.
        unit: what stands between the number and the bracket, with its own space before it, e.g. ` %`.
    """
    write = in_percent if percent else format_number
    value, low, high = (write(end, digits) for end in (estimate.value, estimate.low, estimate.high))
    return f"{value}{unit} ({low} to {high})"
