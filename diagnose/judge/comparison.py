"""Where an interval lies beside a threshold or beside another interval: the comparisons that every decision is made of.

Nothing heavy is imported, so that the dashboard asks these functions instead of comparing numbers itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Protocol

Side = Literal["above", "below", "unclear"]
"""Where a whole interval lies beside a threshold; `unclear` when it straddles or touches it."""

Ends = tuple[float, float, float]
"""Value, low and high end of a 95 % interval."""


class HasInterval(Protocol):
    """A number with its 95 % interval: an `Estimate` of a report or a `Score` of a probe."""

    @property
    def value(self) -> float:
        """Return the number."""

    @property
    def low(self) -> float:
        """Return the lower end of the interval."""

    @property
    def high(self) -> float:
        """Return the upper end of the interval."""


def side_of(low: float, high: float, threshold: float = 0.0) -> Side:
    """Return the side of a threshold on which the interval from `low` to `high` lies as a whole.

    Args:
        low: lower end.
        high: upper end.
        threshold: a number in the unit of both; an interval that ends at it is `unclear`.
    """
    if low > threshold:
        return "above"
    return "below" if high < threshold else "unclear"


def compare(value: HasInterval, threshold: float) -> Side:
    """Return the side of a threshold on which the whole interval of a number lies.

    Args:
        value: a number with its interval.
        threshold: a number in the same unit.
    """
    return side_of(value.low, value.high, threshold)


def sign(value: HasInterval) -> Side:
    """Return the side of zero on which the whole interval of a number lies."""
    return compare(value, 0.0)


def common_sign(seeds: Iterable[Ends]) -> Side:
    """Return the side of zero on which the intervals of all seeds lie.

    Args:
        seeds: (value, low, high) of each seed, at least one.
    """
    sides = {side_of(low, high) for _, low, high in seeds}
    return sides.pop() if len(sides) == 1 else "unclear"


def surely_more(first: HasInterval, second: HasInterval) -> bool:
    """Return whether one number is surely larger than another, from their intervals alone.

    Two intervals that overlap a little can still differ for sure. Where both numbers come from the same images, an interval of their paired
    difference is sharper and goes first (see `properties.judge_properties`).

    Args:
        first: the number that may be larger.
        second: the other one.

    Source: MOVER, Zou & Donner (2008), for numbers that do not fall together; two edits of the same images mostly rise and fall
    together, which makes this careful rather than bold.
    """
    return first.value - second.value > math.hypot(first.value - first.low, second.high - second.value)


def difference(first: Ends, second: Ends) -> Ends:
    """Compute the first number minus the second, with the 95 % interval of independent estimates.

    Where both share images the interval is wide rather than narrow. Its low end is above 0 exactly where `surely_more` holds.

    Args:
        first: value, low and high end.
        second: value, low and high end.

    Returns:
        Value, low and high end of the difference.

    Source: MOVER, Zou & Donner (2008), equation 1.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b, a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)
