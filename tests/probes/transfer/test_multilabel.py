"""Multi-label mAP: torchmetrics' numbers, chance by simulation, and an interval that covers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multilabel_average_precision

from probes.transfer.multilabel import average_precision, mean_average_precision


def tagged_images(n=300, labels=6, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.random((n, labels)) < np.linspace(0.05, 0.6, labels)
    return rng.normal(size=(n, labels)) + signal * targets, targets


def test_map_and_the_precision_of_each_label_are_those_of_torchmetrics():
    logits, targets = tagged_images()
    arrays = torch.from_numpy(logits), torch.from_numpy(targets).long()

    np.testing.assert_allclose(
        average_precision(logits, targets), multilabel_average_precision(*arrays, num_labels=6, average="none"), rtol=1e-5
    )
    assert mean_average_precision(logits, targets).value == pytest.approx(
        float(multilabel_average_precision(*arrays, num_labels=6)), rel=1e-5
    )


def test_tied_scores_count_as_in_torchmetrics():
    logits, targets = tagged_images(seed=1)
    logits = np.round(logits)

    reference = multilabel_average_precision(torch.from_numpy(logits).sigmoid(), torch.from_numpy(targets).long(), num_labels=6)

    assert mean_average_precision(logits, targets).value == pytest.approx(float(reference), rel=1e-5)


def test_a_label_that_no_image_has_is_left_out():
    logits, targets = tagged_images(seed=2)
    more = np.concatenate([targets, np.zeros((300, 1), dtype=bool)], axis=1)

    score = mean_average_precision(np.concatenate([logits, logits[:, :1]], axis=1), more)

    assert score == mean_average_precision(logits, targets)
    assert np.isnan(average_precision(np.concatenate([logits, logits[:, :1]], axis=1), more)[6])


def test_perfect_scores_give_one():
    _, targets = tagged_images()

    score = mean_average_precision(targets.astype(float), targets)

    assert (score.value, score.low, score.high) == (1.0, 1.0, 1.0)


def test_scores_that_say_nothing_are_at_chance():
    """The expected average precision of a random order is the share of positives, up to a term of 1/N: 100 draws of 2,000 images."""
    draws = [mean_average_precision(*tagged_images(2000, signal=0.0, seed=seed)) for seed in range(100)]

    differences = np.array([draw.value - draw.chance for draw in draws])
    assert abs(differences.mean()) < 0.01
    assert np.mean([draw.low <= draw.chance <= draw.high for draw in draws]) > 0.85


def test_the_interval_covers_the_map_of_the_population():
    """100 draws of 300 images; the truth is that of 200,000. Binomial(100, 0.95) is below 88 in 0.2 % of repetitions."""
    truth = float(np.nanmean(average_precision(*tagged_images(200_000, seed=999))))

    draws = [mean_average_precision(*tagged_images(seed=seed)) for seed in range(100)]

    assert sum(draw.low <= truth <= draw.high for draw in draws) >= 88


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros((3, 2)), np.ones((3, 3)), r"must have one shape \(N, L\), got \(3, 2\) and \(3, 3\)"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "`logits` must be finite"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "`targets` must hold at least 1 label"),
        (np.zeros((1, 2)), np.ones((1, 2)), "`targets` must hold at least 2 images, got 1"),
    ],
)
def test_arrays_that_cannot_be_measured_are_refused(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        mean_average_precision(logits, targets)
