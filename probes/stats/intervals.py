"""95 % intervals: for proportions, their differences, means, statistics of a sample, and for numbers over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from probes.result import Direction, Score
from probes.stats.confidence import LEVEL, Z

Interval = tuple[float, float]


def as_score(
    value: float,
    interval: Interval,
    *,
    chance: float | None = None,
    direction: Direction = "neutral",
    bounds: Interval = (-math.inf, math.inf),
) -> Score:
    """Make a `Score` whose interval is cut to the possible values and always holds its own value.

    Args:
        value: point estimate.
        interval: low and high ends.
        chance: value when there is nothing to find.
        direction: which way is better.
        bounds: least and greatest possible value of the quantity.
    """
    value = float(min(max(value, bounds[0]), bounds[1]))
    low, high = max(interval[0], bounds[0]), min(interval[1], bounds[1])
    return Score(value, float(min(low, value)), float(max(high, value)), chance, direction)


def wilson(successes: float, n: float) -> Interval:
    """Compute Wilson's score interval of a proportion, within [0, 1].

    Args:
        successes: count, or an effective one.
        n: number of images, or an effective one.

    Source: Wilson (1927); recommended over the plain normal interval by Brown, Cai & DasGupta (2001).
    """
    share = successes / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def exact_proportion(successes: int, n: int) -> Interval:
    """Compute the exact interval of a proportion, whose coverage is at least 95 %.

    Args:
        successes: count.
        n: number of images.

    Source: Clopper & Pearson (1934).
    """
    low = 0.0 if successes == 0 else float(stats.beta.ppf((1 - LEVEL) / 2, successes, n - successes + 1))
    high = 1.0 if successes == n else float(stats.beta.ppf((1 + LEVEL) / 2, successes + 1, n - successes))
    return low, high


def smallest_proportion(successes: np.ndarray, n: np.ndarray) -> Interval:
    """Compute an interval for the smallest of C true proportions that holds although the smallest is looked for.

    The low end is the least of the C exact low ends, each at 97.5 %: it is below that of the truly smallest class, so nothing
    is lost by looking. The high end could be pulled down by any class that happens to do badly; each exact high end is taken
    at 1 - 0.025 / C (Bonferroni) and the least of these is reported. Coverage is at least 95 % for any C and any n.

    Args:
        successes: (C,) counts.
        n: (C,) counts, at least 1.

    Source: ours, from Clopper & Pearson (1934).
    """
    low = np.where(successes == 0, 0.0, stats.beta.ppf(0.025, np.maximum(successes, 1), n - successes + 1))
    high = np.where(successes == n, 1.0, stats.beta.ppf(1 - 0.025 / len(n), successes + 1, np.maximum(n - successes, 1)))
    return float(low.min()), float(high.min())


def mean_proportion(successes: np.ndarray, n: np.ndarray) -> Interval:
    """Compute the 95 % interval of the mean of C independent proportions, within [0, 1]: Wilson's, for an effective number of images.

    The effective number is m (1 - m) / V, with m the mean of the proportions and V the variance of that mean. V takes each proportion after four
    more images with the mean proportion, so that a class with few images, all right or all wrong, does not count as certain.

    Args:
        successes: (C,) counts.
        n: (C,) counts, at least 1.

    Source: ours; the four added images are those of Agresti & Coull (1998).
    """
    mean = float((successes / n).mean())
    if mean in (0.0, 1.0):
        effective = len(n) ** 2 / float(np.sum(1 / n))
    else:
        shares = (successes + 4 * mean) / (n + 4)
        effective = mean * (1 - mean) * len(n) ** 2 / float(np.sum(shares * (1 - shares) / n))
    return wilson(mean * effective, effective)


def subtract(first: tuple[float, Interval], second: tuple[float, Interval]) -> Interval:
    """Compute the interval of the difference of two independent estimates from their own intervals (variance recovery).

    Args:
        first: value and interval of the minuend.
        second: value and interval of the subtrahend.

    Source: Zou & Donner (2008); with Wilson intervals it is method 10 of Newcombe (1998).
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = first, second
    difference = a - b
    return (
        difference - math.hypot(a - a_low, b_high - b),
        difference + math.hypot(a_high - a, b - b_low),
    )


def paired_proportions(first: np.ndarray, second: np.ndarray) -> Interval:
    """Compute the interval of mean(first) - mean(second) for two 0/1 outcomes of the same N images.

    Args:
        first: (N,) bool.
        second: (N,) bool.

    Source: Bonett & Price (2012), the adjusted Wald interval.
    """
    n = len(first)
    only_first = (int((first & ~second).sum()) + 1) / (n + 2)
    only_second = (int((~first & second).sum()) + 1) / (n + 2)
    difference = only_first - only_second
    half = Z * math.sqrt((only_first + only_second - difference**2) / (n + 2))
    return difference - half, difference + half


def mean_interval(values: np.ndarray) -> Interval:
    """Compute Student's interval of the mean of N independent values."""
    n = len(values)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    middle = float(np.mean(values))
    return middle - half, middle + half


def over_seeds(values: Sequence[float]) -> Interval:
    """Compute Student's interval of the mean over S seeds.

    Raises:
        ValueError: for fewer than two seeds, which say nothing of their spread.
    """
    if len(values) < 2:
        raise ValueError(f"`values` must hold at least 2 seeds, got {len(values)}; train more seeds or report the interval over images.")
    return mean_interval(np.asarray(values, dtype=np.float64))


def jackknife(value: float, left_out: np.ndarray) -> Interval:
    """Compute Student's interval of a statistic from its values with one of G groups of images left out.

    Groups are of nearly equal size; with G = N it is the plain jackknife. Unlike a bootstrap it never doubles an image, which
    would make false nearest neighbours and false zero distances. The variance is on average too large rather than too small.

    Args:
        value: the statistic on all images.
        left_out: (G,) the statistic without each group.

    Source: Efron & Stein (1981); Shao & Tu (1995), section 2.3.
    """
    groups = len(left_out)
    spread = math.sqrt((groups - 1) / groups * float(np.sum((left_out - left_out.mean()) ** 2)))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, groups - 1)) * spread
    return value - half, value + half


def bootstrap(statistic: Callable[[np.ndarray], float], strata: np.ndarray, *, seed: int, draws: int = 1000) -> Interval:
    """Compute the percentile interval of a statistic over images drawn with replacement within each stratum.

    Pair by drawing once: let `statistic` compute the difference of two encoders on the rows it is given. For smooth means of
    many images; not for neighbours, distances or extremes (see `jackknife`, `smallest_proportion`).

    Args:
        statistic: takes (N,) row numbers, returns a number.
        strata: (N,) stratum of each image, such as its class.
        seed: seed of the draws.
        draws: number of draws.

    Source: Efron & Tibshirani (1993), chapter 13.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    values = [statistic(np.concatenate([rng.choice(rows, len(rows)) for rows in members])) for _ in range(draws)]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
