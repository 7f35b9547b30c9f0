"""Is the domain's direction used: closed forms of the erasure, planted use, planted presence without use."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.separability.linear_erasure import direction_scores, erase_domain, eraser, logit_share, spread_of
from probes.stats.folds import stratified_folds

CLASSES, D = 3, 10


def _world(*, along: int, strength: float, n: int = 600, seed: int = 0):
    """Texts are the first axes. Synthetic images of class c are moved along axis `along` (+ c where it is a text's), by `strength`."""
    rng = np.random.default_rng(seed)
    labels, synthetic = np.arange(n) % CLASSES, (np.arange(n) // CLASSES) % 2 == 1
    x = 1.5 * np.eye(D)[labels] + rng.normal(size=(n, D)) * 0.7
    place = along if along >= CLASSES else labels
    x[np.arange(n), place] += strength * synthetic
    fold = stratified_folds(2 * labels + synthetic, folds=5, seed=seed)
    return x, labels, synthetic, np.eye(D)[:, :CLASSES], fold


def test_erased_means_are_equal_and_no_linear_classifier_finds_the_domain():
    x, _, synthetic, _, _ = _world(along=7, strength=2.0)
    x = x - x.mean(axis=0)
    away = x[synthetic].mean(axis=0) - x[~synthetic].mean(axis=0)

    erased = x - x @ eraser(away[:, None], spread_of(x.T @ x / len(x))).T

    np.testing.assert_allclose(erased[synthetic].mean(axis=0), erased[~synthetic].mean(axis=0), atol=1e-10)
    assert LogisticRegression(C=100).fit(x, synthetic).score(x, synthetic) > 0.8
    model = LogisticRegression(C=100).fit(erased, synthetic)
    assert np.abs(model.coef_).max() < 1e-3  # the best linear classifier is a constant


def test_the_eraser_is_a_projection_and_leaves_other_coordinates_of_a_round_cloud_alone():
    erase = eraser(np.eye(5)[:, :2], spread_of(np.eye(5)))

    np.testing.assert_allclose(erase @ erase, erase, atol=1e-12)
    np.testing.assert_allclose(erase, np.diag([1, 1, 0, 0, 0]), atol=1e-12)


def test_doubled_directions_erase_like_one():
    spread = spread_of(np.diag([1.0, 2.0, 3.0]))
    line = np.array([[1.0], [1.0], [0.0]])

    np.testing.assert_allclose(eraser(np.concatenate([line, 2 * line], axis=1), spread), eraser(line, spread), atol=1e-9)


def test_a_direction_of_noise_has_the_chance_share():
    """Without a domain the direction is drawn by noise: mean share 1 / rank over 40 worlds; s.d. of one is about 1 / rank, of the mean 16 %."""
    found = []
    for seed in range(40):
        x, labels, synthetic, weights, _ = _world(along=7, strength=0.0, n=180, seed=seed)
        estimate, chance = logit_share(x, labels, synthetic, weights, within_class=True, seed=seed)
        found.append(estimate.value)
        assert chance == pytest.approx(1 / D)

    assert np.mean(found) == pytest.approx(1 / D, rel=0.5)


def test_a_shift_along_one_text_carries_the_share_that_variance_gives():
    """Round noise s^2 = 0.49, classes removed, all classes move by t = 2 along text 0. Centred texts e_c - mean: variances (2/3) S along the
    plane of texts; share = ||W^T a||^2 / (a^T S^-1 a tr(W^T S W)) with S = 0.49 I + e0 e0^T (t^2 / 4 = 1):
    a = 2 e0, ||W^T a||^2 = 4 * 2/3, a^T S^-1 a = 4 / 1.49, tr = 2/3 (3 * 0.49 + 1), so the share is 1.49 / 2.47 = 0.603.
    """
    x, labels, synthetic, weights, _ = _world(along=7, strength=0.0, n=6000)
    x[:, 0] += 2.0 * synthetic

    estimate, _ = logit_share(x, labels, synthetic, weights, within_class=True, seed=0)

    assert estimate.value == pytest.approx(1.49 / 2.47, abs=0.03)
    assert estimate.interval[0] < 1.49 / 2.47 < estimate.interval[1]


def test_a_cue_that_is_there_and_unused_changes_nothing():
    scores, _ = direction_scores(*_world(along=7, strength=3.0), seed=0)

    assert scores["direction/logit_share"].value < 0.02
    for domain in ("real", "synthetic"):
        change = scores[f"direction/one/accuracy_change/{domain}"]
        assert change.low <= 0 <= change.high
        assert change.chance <= change.value  # random directions touch the texts, this one does not


def test_a_cue_that_the_answers_rest_on_is_missed_when_erased():
    """Each class's synthetic images are moved along their own text: without these directions synthetic accuracy falls far below random erasure."""
    scores, arrays = direction_scores(*_world(along=0, strength=3.0), seed=0)

    lost = scores["direction/each_class/accuracy_change/synthetic"]
    assert lost.high < -0.2
    assert lost.high < arrays["direction/each_class/by_lot"][:, 1].min()
    assert arrays["direction/each_class/by_lot"].shape == (20, 2)


def test_erasing_does_not_see_the_image_it_answers():
    """As many directions as folds allow and labels of domain by lot: held-out answers change as random erasure changes them."""
    x, labels, _, weights, fold = _world(along=7, strength=0.0, n=300)
    by_lot = np.random.default_rng(1).permutation(np.arange(300) % 2 == 0)

    erased = erase_domain(x, labels, by_lot, weights, fold, seed=0)

    change = erased.after["each_class"].mean() - erased.before.mean()
    random = erased.by_lot["each_class"].mean(axis=1) - erased.before.mean()
    assert random.min() - 0.03 <= change <= random.max() + 0.03


def test_logits_that_all_classes_share_do_not_count():
    """Adding one vector to every text changes no answer and must change no share."""
    x, labels, synthetic, weights, _ = _world(along=0, strength=1.0)
    moved = weights + np.linspace(-1, 1, D)[:, None]

    for within in (True, False):
        first, second = (logit_share(x, labels, synthetic, each, within_class=within, seed=0)[0].value for each in (weights, moved))
        assert first == pytest.approx(second, rel=1e-9)


def test_a_cloud_without_spread_is_refused():
    with pytest.raises(ValueError, match="`embeddings` must vary within a class"):
        spread_of(np.zeros((4, 4)))
