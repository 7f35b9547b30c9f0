"""Worst-group and mean-group accuracy and spurious mAUC: counted by hand, by scikit-learn, and on planted cues."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probes.transfer.group_accuracy import group_accuracy, group_cells
from probes.transfer.probe import transfer
from probes.transfer.spurious_auc import spurious_mean_auc, tied_groups


def birds(make_table, *, reliance: float, n=1200, tie=0.95, seed=0):
    """Land and water birds: two coordinates for the bird, two for the background; backgrounds go with the bird among synthetic images only.

    Args:
        reliance: length of the background's part of the embedding.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    synthetic = np.arange(n) % 4 >= 2
    same = rng.random(n) < np.where(synthetic, tie, 0.5)
    background = np.where(same, labels, 1 - labels)
    embeddings = np.eye(2)[labels] + reliance * np.eye(2)[background] + 0.4 * rng.normal(size=(n, 2))
    return make_table(embeddings, labels, synthetic), np.array(["land", "water"])[background]


def reference_accuracy(table, groups, domain, predictions):
    cells = {}
    for label, group, side, prediction in zip(table.labels, groups, table.domain, predictions, strict=True):
        if side == domain and group:
            cells.setdefault((label, group), []).append(prediction == label)
    return [np.mean(hits) for hits in cells.values()]


def test_group_accuracies_are_those_counted_one_by_one(make_table):
    table, groups = birds(make_table, reliance=0.8)
    groups = np.where(np.arange(len(groups)) % 7 == 0, "", groups)  # images without a group count for none

    result = transfer(table, None, class_weights=np.eye(2), groups=groups)

    for domain in ("real", "synthetic"):
        accuracies = reference_accuracy(table, groups, domain, result.arrays["prediction"])
        assert len(accuracies) == result.counts[f"groups/{domain}"] == 4
        assert result.scores[f"worst_group/{domain}"].value == pytest.approx(min(accuracies))
        assert result.scores[f"mean_group/{domain}"].value == pytest.approx(np.mean(accuracies))
        np.testing.assert_allclose(np.sort(result.arrays[f"group_accuracy/{domain}"]), np.sort(accuracies))
        assert result.scores[f"worst_group/{domain}"].chance == result.scores[f"mean_group/{domain}"].chance == 0.5
    assert list(zip(result.arrays["group/label"], result.arrays["group/name"], strict=True)) == [
        (0, "land"),
        (0, "water"),
        (1, "land"),
        (1, "water"),
    ]


def test_spurious_mauc_is_the_mean_roc_auc_of_softmax_probabilities(make_table):
    table, groups = birds(make_table, reliance=0.8)

    result = transfer(table, None, class_weights=np.eye(2), groups=groups, logit_scale=5.0)

    logits = 5.0 * table.unit().astype(float)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for domain in ("real", "synthetic"):
        areas = []
        for label, group in ((0, "land"), (1, "water")):
            rows = (table.domain == domain) & ((table.labels == label) | (groups == group))
            areas.append(roc_auc_score(table.labels[rows] == label, probabilities[rows, label]))
        np.testing.assert_allclose(result.arrays[f"spurious_auc/{domain}"], areas, atol=1e-9)
        assert result.scores[f"spurious_mauc/{domain}"].value == pytest.approx(np.mean(areas))
        assert result.scores[f"spurious_mauc/{domain}"].chance == 0.5
        assert result.counts[f"spurious_pairs/{domain}"] == 2


def test_a_student_that_relies_on_the_background_fails_the_groups_without_it(make_table):
    robust, reliant = (
        transfer(table, None, class_weights=np.eye(2), groups=groups)
        for table, groups in (birds(make_table, reliance=0.0), birds(make_table, reliance=1.5))
    )

    assert robust.scores["worst_group/real"].low > 0.85 > 0.4 > reliant.scores["worst_group/real"].high
    assert robust.scores["spurious_mauc/real"].low > 0.95
    assert reliant.scores["spurious_mauc/real"].high < 0.9
    assert reliant.scores["mean_group/real"].value > reliant.scores["worst_group/real"].value


def test_the_teacher_is_measured_alike(make_table):
    student, groups = birds(make_table, reliance=1.5)
    teacher, _ = birds(make_table, reliance=0.0)
    teacher = make_table(teacher.embeddings, student.labels, student.domain == "synthetic", "teacher")

    result = transfer(student, teacher, class_weights=np.eye(2), groups=groups)

    alone = transfer(teacher, None, class_weights=np.eye(2), groups=groups)
    for name in ("worst_group/real", "mean_group/synthetic", "spurious_mauc/real"):
        assert result.scores[f"teacher/{name}"] == alone.scores[name]


def test_without_groups_nothing_changes(make_pair):
    student, teacher, weights = make_pair(200)

    plain = transfer(student, teacher, class_weights=weights)
    grouped = transfer(student, teacher, class_weights=weights, groups=np.arange(200) % 3)

    assert not [name for name in plain.scores if "group" in name or "spurious" in name]
    for name, score in plain.scores.items():
        assert grouped.scores[name] == score
    assert {"worst_group/real", "mean_group/synthetic"} <= set(grouped.scores)


def test_groups_that_are_not_tied_to_a_class_have_no_spurious_mauc(make_table):
    """Null: backgrounds by lot. Bonferroni's test finds a tie in fewer than 5 % of the draws."""
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found += bool(tied_groups(rng.integers(0, 4, 300), rng.choice(["a", "b", "c"], 300)))
    assert found <= 8  # Binomial(60, 0.05) exceeds 8 in 0.5 % of repetitions

    table, _ = birds(make_table, reliance=1.0)
    result = transfer(table, None, class_weights=np.eye(2), groups=np.random.default_rng(1).choice(["a", "b"], len(table)))
    assert result.counts["spurious_pairs/real"] == 0
    assert "spurious_mauc/real" not in result.scores
    assert "worst_group/real" in result.scores


def test_tied_groups_are_those_planted():
    labels = np.repeat([0, 1, 2], 100)
    groups = np.where(labels == 2, np.where(np.arange(300) % 5 == 0, "b", "snow"), np.where(np.arange(300) % 2 == 0, "a", "b"))

    tied = tied_groups(labels, groups)

    assert (2, "snow") in tied
    assert (0, "snow") not in tied
    assert tied_groups(labels, np.full(300, "one")) == []
    assert tied_groups(labels, np.full(300, "")) == []


def test_a_group_that_only_its_class_shows_has_no_pair():
    labels = np.repeat([0, 1], 50)
    groups = np.where(labels == 0, "x", "y")

    assert spurious_mean_auc(lambda label, rows: rows.astype(float), labels, groups, [(0, "x"), (1, "y")]) is None


def test_the_interval_of_spurious_mauc_covers_the_truth():
    """Scores of both sides are normal one apart, so every area is Phi(1 / sqrt(2)); images of the other class serve both pairs as negatives.

    Binomial(300, 0.95) is below 274 in 0.5 % of repetitions.
    """
    from scipy.stats import norm

    truth, covered = float(norm.cdf(1 / np.sqrt(2))), 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1, 2], 60)
        groups = np.where(labels == 2, "both", "none")
        scores = rng.normal(size=(180, 3)) + np.eye(3)[labels]
        scored = spurious_mean_auc(lambda label, rows, scores=scores: scores[rows, label], labels, groups, [(0, "both"), (1, "both")])
        covered += scored[0].low <= truth <= scored[0].high
    assert covered >= 274


def test_the_worst_group_interval_allows_for_the_search():
    """Ten equal groups of 50 images, each right on 80 %: the smallest is looked for, yet 95 % of the intervals hold the truth.

    Binomial(500, 0.95) is below 462 in 0.5 % of repetitions.
    """
    rng = np.random.default_rng(0)

    draws = [group_accuracy(rng.binomial(50, 0.8, 10), np.full(10, 50), np.arange(10) % 5, classes=5) for _ in range(500)]

    for name in ("worst_group", "mean_group"):
        assert sum(draw[name].low <= 0.8 <= draw[name].high for draw in draws) >= 462


def test_mean_group_chance_is_that_of_naming_the_class_of_most_groups():
    scores = group_accuracy(np.array([1, 1, 1, 1]), np.array([2, 2, 2, 2]), np.array([0, 0, 0, 1]), classes=5)

    assert scores["mean_group"].chance == 0.75
    assert scores["worst_group"].chance == 0.2


def test_cells_are_pairs_of_class_and_group():
    cells = group_cells(np.array([1, 0, 1, 0]), np.array(["b", "a", "a", ""]))

    np.testing.assert_array_equal(cells.cell, [2, 0, 1, -1])
    np.testing.assert_array_equal(cells.labels, [0, 1, 1])
    np.testing.assert_array_equal(cells.names, ["a", "a", "b"])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.array(["a", "b"]), r"`groups` must have shape \(200,\) like the rows of `student`, got \(2,\)"),
        (np.full(200, 0.5), "`groups` must be text or whole numbers, got float64"),
        (np.full(200, ""), "`groups` must name the group of some images, got empty text for all"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, message, make_pair):
    student, _, weights = make_pair(200)

    with pytest.raises(ValueError, match=message):
        transfer(student, None, class_weights=weights, groups=groups)
