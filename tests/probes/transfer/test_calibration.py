"""Calibration error: closed form, and an interval that covers although the error is biased."""

from __future__ import annotations

import numpy as np
import pytest

from probes.transfer.calibration import calibration_error, softmax_confidence


def test_the_error_is_the_weighted_gap_of_the_bins():
    """Bins of width 1/15: three images at 0.9 of which one is right (gap 1.7), one at 0.2 that is wrong (gap 0.2): 1.9 / 4."""
    error, (low, high) = calibration_error(np.array([0.9, 0.9, 0.9, 0.2]), np.array([True, False, False, False]))

    assert error == pytest.approx((0.9 * 3 - 1 + 0.2) / 4)
    assert 0 <= low <= error <= high <= 1


def test_softmax_confidence_is_that_of_the_largest_logit():
    logits = np.array([[1.0, 3.0, 2.0], [1000.0, 0.0, 0.0]])

    expected = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert softmax_confidence(logits) == pytest.approx([expected.max(), 1.0])


def covered(n: int, accuracy, truth: float, times: int) -> float:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(times):
        confidence = rng.beta(4, 2, n)
        _, (low, high) = calibration_error(confidence, rng.random(n) < accuracy(confidence), seed=seed)
        hits += low <= truth <= high
    return hits / times


def true_error(accuracy) -> float:
    """Integrate |confidence - accuracy| within bins over the beta(4, 2) density on a fine grid."""
    confidence = (np.arange(1_500_000) + 0.5) / 1_500_000
    density = confidence**3 * (1 - confidence)
    place = (confidence * 15).astype(int)
    return float(np.abs(np.bincount(place, density * (confidence - accuracy(confidence)))).sum() / density.sum())


def test_a_calibrated_encoder_is_not_called_miscalibrated():
    """At n = 300 the plug-in error averages 0.067 for a true 0; the interval holds 0. 200 draws: 0.90 is 3.2 s.e. below 0.95."""
    assert covered(300, lambda c: c, 0.0, 200) >= 0.90


def test_overconfidence_is_covered_and_found():
    def square(confidence):
        return confidence**2

    truth = true_error(square)

    assert truth == pytest.approx(0.1905, abs=5e-4)  # E c - E c^2 = 2/3 - 10/21 = 0.1905 when no bin changes sign
    assert covered(400, square, truth, 200) >= 0.90
    rng = np.random.default_rng(1)
    confidence = rng.beta(4, 2, 400)
    assert calibration_error(confidence, rng.random(400) < confidence**2)[1][0] > 0.08


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 1000, 4000])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.1])
def test_the_calibration_interval_covers(n, shift):
    """2,000 draws: 0.935 is three standard errors below 0.95."""

    def accuracy(confidence):
        return np.clip(confidence - shift, 0, 1)

    assert covered(n, accuracy, true_error(accuracy), 2000) >= 0.935
