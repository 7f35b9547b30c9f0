"""Expected calibration error of zero-shot confidences, with an interval that allows for its upward bias."""

from __future__ import annotations

import math

import numpy as np

from probes.stats.intervals import Interval, Z

BINS = 15


def softmax_confidence(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax probability of the largest logit of each row, (N,) in [1/C, 1].

    Args:
        logits: (N, C), already multiplied by the logit scale.
    """
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS, seed: int = 0) -> tuple[float, Interval]:
    """Compute the expected calibration error in [0, 1] (0 is calibrated) and its 95 % interval.

    The error is sum_b |sum_{i in b} (confidence_i - correct_i)| / N over bins of equal width. It is too large on average, since
    noise in a bin never cancels, and a bootstrap makes that worse. Written as the mean of s_b(i) (confidence_i - correct_i) with
    s_b the sign of bin b it is linear: with the signs seen in the data it overestimates, so it serves for the high end; with the
    sign of each image taken from the images before it (in a drawn order) its mean cannot exceed the truth, so it serves for the low end.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: number of equal bins on [0, 1].
        seed: seed of the order.

    Source: Guo et al. (2017), equation 3; the interval is ours.
    """
    n = len(confidence)
    excess = confidence - correct
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    total = np.bincount(place, excess, bins)
    signed = np.sign(total)[place] * excess
    order = np.random.default_rng(seed).permutation(n)
    earlier = np.zeros(n)
    for b in range(bins):
        rows = order[place[order] == b]
        earlier[rows] = np.cumsum(excess[rows]) - excess[rows]
    held_out = np.sign(earlier) * excess
    quantile = Z / math.sqrt(n)
    low = float(held_out.mean()) - quantile * float(held_out.std(ddof=1))
    high = float(signed.mean()) + quantile * float(signed.std(ddof=1))
    return float(signed.mean()), (max(low, 0.0), min(high, 1.0))
