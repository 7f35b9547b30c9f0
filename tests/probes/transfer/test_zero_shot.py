"""Hit@k and mean per-class accuracy: the numbers of scikit-learn and torchmetrics, honest intervals, and memory that classes do not blow up."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

from probes.stats.intervals import mean_proportion, wilson
from probes.transfer.group_accuracy import mean_class_accuracy
from probes.transfer.probe import transfer
from probes.transfer.zero_shot import classify, hit_at_k, label_ranks, rows_at_once

KS = (1, 2, 5, 10)


def scored_images(n=400, classes=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels], labels


def test_hit_at_k_is_the_top_k_accuracy_of_scikit_learn_and_torchmetrics():
    logits, labels = scored_images()

    scores = hit_at_k(label_ranks(logits, labels), labels, classes=12)

    assert sorted(scores) == [1, 2, 5, 10]
    for k in KS:
        assert scores[k].value == pytest.approx(top_k_accuracy_score(labels, logits, k=k, labels=np.arange(12)))
        reference = multiclass_accuracy(torch.from_numpy(logits), torch.from_numpy(labels), num_classes=12, top_k=k, average="micro")
        assert scores[k].value == pytest.approx(float(reference))
    assert scores[1].value < scores[2].value < scores[5].value < scores[10].value < 1


def test_rank_zero_is_the_argmax_also_where_logits_are_tied():
    logits = np.random.default_rng(1).integers(0, 3, size=(500, 4)).astype(float)
    labels = np.random.default_rng(2).integers(0, 4, 500)

    np.testing.assert_array_equal(label_ranks(logits, labels) == 0, logits.argmax(axis=1) == labels)


def test_ranks_are_those_of_a_stable_sort():
    logits = np.random.default_rng(3).integers(0, 5, size=(200, 9)).astype(float)
    labels = np.random.default_rng(4).integers(0, 9, 200)

    order = np.argsort(-logits, axis=1, kind="stable")

    np.testing.assert_array_equal(label_ranks(logits, labels), (order == labels[:, None]).argmax(axis=1))


def test_the_chance_of_hit_at_k_is_reached_by_always_naming_the_largest_classes():
    labels = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    always = np.tile([4.0, 3.0, 2.0, 1.0], (100, 1))

    scores = hit_at_k(label_ranks(always, labels), labels, classes=4)

    assert {k: score.value for k, score in scores.items()} == {1: 0.5, 2: 0.8}  # k = 5 and 10 are no question of four classes
    assert {k: score.chance for k, score in scores.items()} == pytest.approx({1: 0.5, 2: 0.8})


def test_hit_at_k_needs_images():
    with pytest.raises(ValueError, match="`label_rank` must hold at least 1 image, got 0"):
        hit_at_k(np.zeros(0, dtype=int), np.zeros(0, dtype=int), classes=3)


def test_mean_class_accuracy_is_balanced_accuracy():
    logits, labels = scored_images(seed=5)
    keep = (labels != 3) | (np.arange(len(labels)) < 40)  # unequal classes
    labels, predicted = labels[keep], logits[keep].argmax(axis=1)
    counts, hits = np.bincount(labels, minlength=12), np.bincount(labels[predicted == labels], minlength=12)

    score = mean_class_accuracy(hits, counts)

    assert score.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    macro = multiclass_accuracy(torch.from_numpy(predicted), torch.from_numpy(labels), num_classes=12, average="macro")
    assert score.value == pytest.approx(float(macro))
    assert score.value != pytest.approx(np.mean(predicted == labels), abs=1e-4)


def test_classes_without_images_do_not_count():
    with_empty = mean_class_accuracy(np.array([3, 0, 1]), np.array([4, 0, 2]))

    assert with_empty == mean_class_accuracy(np.array([3, 1]), np.array([4, 2]))
    assert with_empty.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert with_empty.chance == 0.5
    with pytest.raises(ValueError, match="`counts` must hold at least 1 image, got 0"):
        mean_class_accuracy(np.zeros(3, dtype=int), np.zeros(3, dtype=int))


@pytest.mark.parametrize("truths", [np.linspace(0.1, 1.0, 10), np.full(100, 0.5), np.array([0.95, 0.3, 0.4, 0.9])])
@pytest.mark.parametrize("n", [2, 20, 200])
def test_the_interval_of_mean_class_accuracy_covers_the_truth(n, truths):
    """1,000 draws. Wilson's interval covers 93 % at some numbers of images, whose standard error is 0.8 %: 91 % is 2.5 of these below."""
    rng, counts = np.random.default_rng(n), np.full(len(truths), n)

    intervals = np.array([mean_proportion(rng.binomial(counts, truths), counts) for _ in range(1000)])

    covered = np.mean((intervals[:, 0] <= truths.mean()) & (truths.mean() <= intervals[:, 1]))
    assert covered > 0.91


def test_the_interval_of_one_class_is_near_that_of_wilson_and_certain_classes_do_not_close_it():
    assert mean_proportion(np.array([30]), np.array([40])) == pytest.approx(wilson(30, 40))
    assert mean_proportion(np.array([40]), np.array([40])) == pytest.approx(wilson(40, 40))
    low, high = mean_proportion(np.array([5, 0]), np.array([5, 5]))
    assert 0.5 - low > 0.15 < high - 0.5


def test_the_probe_reports_hits_and_class_means_of_both_encoders(make_pair):
    student, teacher, weights = make_pair(200, shift=1.0)

    result = transfer(student, teacher, class_weights=weights)

    for table, prefix in ((student, ""), (teacher, "teacher/")):
        logits = table.unit() @ (weights / np.linalg.norm(weights, axis=0))
        for domain in ("real", "synthetic"):
            rows = table.domain == domain
            assert result.scores[f"{prefix}hit/1/{domain}"] == result.scores[f"{prefix}zero_shot/{domain}"]
            reference = top_k_accuracy_score(table.labels[rows], logits[rows], k=2, labels=np.arange(4))
            assert result.scores[f"{prefix}hit/2/{domain}"].value == pytest.approx(reference)
            balanced = balanced_accuracy_score(table.labels[rows], logits[rows].argmax(axis=1))
            assert result.scores[f"{prefix}mean_class/{domain}"].value == pytest.approx(balanced)
    assert "hit/5/real" not in result.scores  # four classes


def test_answers_do_not_depend_on_the_size_of_the_blocks(make_pair, monkeypatch):
    student, _, weights = make_pair(200)
    unit = weights / np.linalg.norm(weights, axis=0)
    whole = classify(student, unit, logit_scale=10.0)

    monkeypatch.setattr("probes.transfer.zero_shot._LOGITS_AT_ONCE", 28)  # seven images of four classes
    parts = classify(student, unit, logit_scale=10.0)

    np.testing.assert_array_equal(whole.prediction, parts.prediction)
    np.testing.assert_array_equal(whole.label_rank, parts.label_rank)
    np.testing.assert_allclose(whole.confidence, parts.confidence, rtol=1e-12)
    np.testing.assert_allclose(whole.cosine, parts.cosine, rtol=1e-12)


def test_few_classes_are_classified_in_the_blocks_of_the_table():
    assert rows_at_once(10) == rows_at_once(1000) == 8192
    assert rows_at_once(20_000) == 419
    assert rows_at_once(10**9) == 1


def test_twenty_thousand_classes_need_no_dense_copy(make_table):
    """Logits of 4,000 images and 20,000 classes take 610 MiB in float64; the whole probe stays below half of that."""
    rng = np.random.default_rng(6)
    n, classes, dimension = 4000, 20_000, 16
    labels = np.arange(n) % 8 * 2500
    weights = rng.normal(size=(dimension, classes)).astype(np.float32)
    table = make_table(weights.T[labels] + 0.7 * rng.normal(size=(n, dimension)), labels, np.arange(n) % 16 >= 8)
    dense = n * classes * 8

    tracemalloc.start()
    result = transfer(table, None, class_weights=weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < dense / 2
    rows = np.flatnonzero(table.domain == "real")[:200]
    logits = table.unit(rows) @ (weights.astype(np.float64) / np.linalg.norm(weights.astype(np.float64), axis=0))
    ranks = label_ranks(logits, labels[rows])
    ours = classify(table.select(rows), weights / np.linalg.norm(weights.astype(np.float64), axis=0), logit_scale=1.0).label_rank
    np.testing.assert_array_equal(ours, ranks)
    values = [result.scores[f"hit/{k}/real"].value for k in KS]
    assert 0 < values[0] < values[1] < values[2] < values[3] < 1
    assert result.scores["hit/10/real"].chance == 1.0  # eight classes have images: naming those is always a hit
