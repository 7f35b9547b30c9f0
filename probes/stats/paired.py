"""Intervals and tests of paired numbers per image: one value for each image, such as student's minus teacher's."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from probes.stats.intervals import Interval, Z


def middle_and_error(values: np.ndarray, *, reach: float = 1.0) -> tuple[float, float]:
    """Compute an adjusted mean of N bounded values and its standard error, honest also where nearly all values are equal.

    One image of value `reach` and one of -`reach` are added first, as Agresti & Min add one pair of each kind to paired proportions;
    without them no disagreement among 50 images would mean no disagreement at all, with certainty.

    Args:
        values: (N,) one for each image, such as differences of 0/1 outcomes.
        reach: the step by which one image can change.

    Source: ours, after Agresti & Min (2005) and Bonett & Price (2012).
    """
    padded = np.concatenate([values, [reach, -reach]])
    return float(padded.mean()), float(padded.std()) / math.sqrt(len(padded))


def difference(first: np.ndarray, second: np.ndarray, *, reach: float = 1.0) -> tuple[float, float]:
    """Return the adjusted difference of two means over different images and its standard error.

    Args:
        first: (N,) values of the minuend.
        second: (M,) values of the subtrahend.
        reach: the step by which one image can change.
    """
    (a, a_error), (b, b_error) = (middle_and_error(values, reach=reach) for values in (first, second))
    return a - b, math.hypot(a_error, b_error)


def around(estimate: tuple[float, float]) -> Interval:
    """Compute the 95 % interval of an estimate from its middle and standard error."""
    middle, error = estimate
    return middle - Z * error, middle + Z * error


def smaller_of(*estimates: tuple[float, float]) -> tuple[Interval, float]:
    """Compute a 95 % interval of the smallest of K true numbers, and the p of its being at most 0.

    The low end is the least of the K low ends: the truly smallest number falls below its own in 2.5 % of the samples. The high end
    is the least of K high ends, each at 1 - 0.025 / K. The p-value is the largest of the K, each twice the one-sided one, so that p is
    below 0.05 exactly when the interval lies above 0.

    Args:
        estimates: middle and standard error of each.

    Source: Berger (1982), the intersection-union test.
    """
    wide = float(stats.norm.ppf(1 - 0.025 / len(estimates)))
    low = min(middle - Z * error for middle, error in estimates)
    high = min(middle + wide * error for middle, error in estimates)
    return (low, high), float(max(min(1.0, 2 * stats.norm.sf(middle / error)) for middle, error in estimates))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust K p-values so that rejecting those at most 0.05 is wrong about any true null at most 5 % of the time, however they depend.

    Args:
        p_values: (K,) in [0, 1].

    Returns:
        (K,) in [0, 1], none below its own p.

    Source: Holm (1979).
    """
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
