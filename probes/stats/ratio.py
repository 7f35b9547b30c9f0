"""The ratio of two estimates from the same images, with an interval that says when there is none."""

from __future__ import annotations

import math

from probes.stats.intervals import Interval, Z


def ratio_interval(first: float, second: float, *, variances: tuple[float, float], covariance: float) -> Interval | None:
    """Compute the 95 % interval of first / second, or None when the second cannot be told from 0.

    Args:
        first: the numerator's estimate.
        second: the denominator's estimate.
        variances: of both estimates.
        covariance: of the two estimates.

    Source: Fieller (1954).
    """
    top, bottom = variances
    g = Z**2 * bottom / second**2 if second else math.inf
    if g >= 1:
        return None
    ratio = first / second
    if bottom == 0:
        half = Z * math.sqrt(max(top, 0.0)) / abs(second)
        return ratio - half, ratio + half
    inside = top - 2 * ratio * covariance + ratio**2 * bottom - g * (top - covariance**2 / bottom)
    half = Z / abs(second) * math.sqrt(max(inside, 0.0)) / (1 - g)
    middle = (ratio - g * covariance / bottom) / (1 - g)
    return middle - half, middle + half
