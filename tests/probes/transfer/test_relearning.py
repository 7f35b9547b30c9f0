"""Few-shot probes and refits: closed forms, planted rotations and collapses, silence on noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from probes.stats.intervals import Z
from probes.stats.ratio import ratio_interval
from probes.stats.ridge import refit_predictions, ridge_map
from probes.transfer.few_shot import few_shot_accuracy
from probes.transfer.probe import transfer


def test_the_ridge_map_is_that_of_scikit_learn_at_the_same_penalty():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)) * [1, 2, 3, 0.1, 1] + 3
    targets = x @ rng.normal(size=(5, 3)) + rng.normal(size=(80, 3))

    matrix, offset = ridge_map(x, targets)

    scale = np.linalg.eigvalsh(np.cov(x, rowvar=False) * 79).mean()
    found = [Ridge(alpha=10.0**power * scale).fit(x, targets) for power in range(-7, 1)]
    nearest = min(found, key=lambda model: np.abs(model.coef_.T - matrix).max())
    np.testing.assert_allclose(nearest.coef_.T, matrix, atol=1e-8)
    np.testing.assert_allclose(nearest.intercept_, offset, atol=1e-8)


def test_an_exact_linear_relation_is_recovered():
    rng = np.random.default_rng(1)
    x, true = rng.normal(size=(60, 4)), rng.normal(size=(4, 6))

    matrix, offset = ridge_map(x, x @ true + 2)

    np.testing.assert_allclose(matrix, true, atol=1e-5)
    np.testing.assert_allclose(offset, 2, atol=1e-5)


def test_a_refit_never_sees_the_image_it_answers():
    """Each image a direction of its own and labels by lot: a map that saw the image would answer right."""
    labels = np.random.default_rng(2).permutation(np.arange(120) % 2)

    right = refit_predictions(np.eye(120), np.eye(2)[labels], labels, np.eye(2), seed=0) == labels

    assert right.mean() < 0.7


def test_a_rotated_student_is_an_alignment_failure_and_a_refit_brings_it_back(make_pair, make_table):
    student, teacher, weights = make_pair(400)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]
    turned = make_table(student.embeddings @ turn, student.labels, student.domain == "synthetic")

    scores = transfer(turned, teacher, class_weights=weights).scores

    for target in ("to_teacher", "to_classes"):
        assert scores[f"refit/{target}/real"].low > 0.9
        assert scores[f"refit_gain/{target}/real"].low > 0.3
        assert scores[f"refit_share/{target}/real"].low > 0.8
        assert scores[f"refit/{target}/synthetic_to_real"].low > 0.9
    assert scores["few_shot/16/real"].low > 0.9


def test_a_backbone_that_lost_the_classes_is_not_brought_back(make_pair, make_table):
    """The student keeps only noise on real images: nothing linear can help there."""
    student, teacher, weights = make_pair(400)
    real = student.domain == "real"
    noise = np.random.default_rng(6).normal(size=student.embeddings.shape)
    lost = make_table(np.where(real[:, None], noise, student.embeddings), student.labels, ~real)

    scores = transfer(lost, teacher, class_weights=weights).scores

    for name in ("refit/to_teacher/real", "refit/to_classes/real", "few_shot/16/real", "linear_probe/real"):
        assert scores[name].value < 0.4, name
    assert scores["refit_share/to_teacher/real"].high < 0.3
    assert scores["refit/to_teacher/synthetic"].low > 0.9


def test_a_student_like_its_teacher_has_no_gain_and_no_share_to_close(make_pair, make_table):
    _, teacher, weights = make_pair(400)
    twin = make_table(teacher.embeddings, teacher.labels, teacher.domain == "synthetic")

    scores = transfer(twin, teacher, class_weights=weights).scores

    gain = scores["refit_gain/to_teacher/real"]
    assert gain.low <= 0 <= gain.high
    assert not [name for name in scores if name.startswith("refit_share")]


def test_without_a_teacher_only_the_classes_are_aimed_at(make_pair):
    student, _, weights = make_pair()

    scores = transfer(student, None, class_weights=weights).scores

    assert "refit/to_classes/real" in scores
    assert not [name for name in scores if "to_teacher" in name or "refit_share" in name]


def test_more_shots_read_more(make_pair):
    student, _, _ = make_pair(800)
    x = student.unit() + 0.3 * np.random.default_rng(0).normal(size=student.embeddings.shape)

    found = [few_shot_accuracy(x, student.labels, shots=shots)[0] for shots in (1, 4, 16)]

    assert found == sorted(found)
    assert found[2] > found[0] + 0.1


def test_shots_of_noise_read_nothing():
    rng = np.random.default_rng(3)

    value, (low, high), tested = few_shot_accuracy(rng.normal(size=(400, 6)), np.arange(400) % 4, shots=4)

    assert low <= 0.25 <= high
    assert tested == 200
    assert low < value < high


def test_a_class_smaller_than_the_shots_leaves_them_out(make_pair):
    student, teacher, weights = make_pair(200)  # 25 images of a class and domain: 12 or 13 in the pool

    result = transfer(student, teacher, class_weights=weights)

    assert "few_shot/4/real" in result.scores
    assert "few_shot/16/real" not in result.scores
    assert result.counts["few_shot/16/real"] == 0
    assert few_shot_accuracy(student.unit(), np.zeros(200, int), shots=1) is None


def test_a_class_too_small_for_halves_leaves_the_refit_out(make_pair):
    student, teacher, weights = make_pair(200)
    rows = np.flatnonzero((student.labels == 1) & (student.domain == "real"))[3:]
    few = np.setdiff1d(np.arange(200), rows)

    result = transfer(student.select(few), teacher.select(few), class_weights=weights, folds=2)

    assert result.counts["refit/real"] == 0
    assert "refit/to_teacher/real" not in result.scores
    assert "refit/to_teacher/synthetic" in result.scores


def test_few_shot_intervals_hold_the_mean_over_worlds():
    """60 worlds of one law: each interval may miss the mean 3 times; more than 8 come once in 200."""
    centres = 1.2 * np.eye(5)[:4]
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.arange(240) % 4
        found.append(few_shot_accuracy(centres[labels] + rng.normal(size=(240, 5)), labels, shots=4, seed=seed))
    mean = np.mean([value for value, _, _ in found])

    assert sum(not low <= mean <= high for _, (low, high), _ in found) <= 8


def test_the_ratio_of_two_sure_numbers_is_their_quotient():
    assert ratio_interval(1.0, 4.0, variances=(0.0, 0.0), covariance=0.0) == (0.25, 0.25)
    assert ratio_interval(1.0, 4.0, variances=(0.04, 0.0), covariance=0.0) == pytest.approx((0.25 - Z * 0.05, 0.25 + Z * 0.05))


def test_there_is_no_ratio_to_a_number_that_may_be_nought():
    assert ratio_interval(1.0, 0.1, variances=(0.01, 0.01), covariance=0.0) is None
    assert ratio_interval(1.0, 0.0, variances=(0.01, 0.0), covariance=0.0) is None


def test_fiellers_interval_holds_the_ratio_of_correlated_normals():
    """2,000 draws at 95 %: s.d. of the coverage 0.5 %."""
    rng = np.random.default_rng(4)
    covariance = np.array([[0.05, 0.02], [0.02, 0.04]])
    draws = rng.multivariate_normal([0.5, 1.0], covariance, size=2000)
    found = [ratio_interval(a, b, variances=(0.05, 0.04), covariance=0.02) for a, b in draws]

    held = [found[i] is None or found[i][0] <= 0.5 <= found[i][1] for i in range(2000)]
    assert 0.93 <= np.mean(held) <= 0.97 + 0.02
