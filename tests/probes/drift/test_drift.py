"""The drift probe: known cosines, identity, domains, checkpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest

from probes.drift.probe import drift

MEASURES = ("cosine", "cka", "procrustes", "knn_overlap", "modality_gap", "alignment", "uniformity", "effective_rank")


def test_an_encoder_has_not_drifted_from_itself(make_pair):
    _, teacher, weights = make_pair()

    scores = drift(teacher, teacher, class_weights=weights).scores

    for domain in ("real", "synthetic"):
        found = {name: scores[f"{name}/{domain}"].value for name in MEASURES}
        assert found == pytest.approx(
            {
                **{"cosine": 1.0, "cka": 1.0, "procrustes": 0.0, "knn_overlap": 1.0},
                **{name: scores[f"teacher/{name}/{domain}"].value for name in MEASURES[4:]},
            },
            abs=1e-6,
        )
    assert scores["cosine/difference"].value == pytest.approx(0.0, abs=1e-6)


def test_a_turn_by_sixty_degrees_on_synthetic_images_has_cosine_one_half(make_table):
    """Every synthetic embedding is turned by 60 degrees in a plane it lies in; the real ones stay: 1/2, 1 and -1/2."""
    angle = np.random.default_rng(0).uniform(0, 2 * math.pi, 60)
    labels, synthetic = np.arange(60) % 2, np.arange(60) % 4 >= 2
    turned = angle + np.where(synthetic, math.pi / 3, 0)
    teacher, student = (make_table(np.stack([np.cos(a), np.sin(a)], axis=1), labels, synthetic) for a in (angle, turned))

    result = drift(student, teacher)

    assert result.scores["cosine/real"].value == pytest.approx(1.0)
    assert result.scores["cosine/synthetic"].value == pytest.approx(0.5)
    assert result.scores["cosine/difference"].value == pytest.approx(-0.5)
    assert result.scores["cka/synthetic"].value == pytest.approx(1.0)
    assert result.scores["procrustes/synthetic"].value == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(result.arrays["cosine"], np.where(synthetic, 0.5, 1.0), atol=1e-6)


def test_the_chance_of_the_cosine_is_that_of_other_images(make_pair):
    student, teacher, _ = make_pair()
    rows = student.domain == "real"
    pairs = student.embeddings[rows] @ teacher.embeddings[rows].T

    chance = drift(student, teacher).scores["cosine/real"].chance

    assert chance == pytest.approx(pairs[~np.eye(len(pairs), dtype=bool)].mean(), abs=1e-5)


def test_drift_on_one_domain_shows_on_that_domain_only(make_pair, make_table):
    """Planted: noise is added to the student's synthetic embeddings."""
    _, teacher, weights = make_pair(400)
    synthetic = teacher.domain == "synthetic"
    noise = 0.3 * np.random.default_rng(1).normal(size=teacher.embeddings.shape)
    student = make_table(teacher.embeddings + np.where(synthetic[:, None], 1.0, 0.1) * noise, teacher.labels, synthetic)

    scores = drift(student, teacher, class_weights=weights).scores

    assert scores["cosine/difference"].high < 0
    assert scores["cosine/synthetic"].high < scores["cosine/real"].low
    assert scores["cka/synthetic"].high < scores["cka/real"].low
    assert scores["procrustes/synthetic"].low > scores["procrustes/real"].high
    assert scores["knn_overlap/synthetic"].high < scores["knn_overlap/real"].low


def test_equal_drift_on_both_domains_is_no_difference(make_pair):
    """Null: the same noise on both domains. Twice the interval is missed once in 10,000 draws."""
    student, teacher, _ = make_pair(400)

    score = drift(student, teacher).scores["cosine/difference"]

    assert abs(score.value) < score.high - score.low


def test_unrelated_encoders_are_alike_by_chance_only(make_pair, make_table):
    _, teacher, _ = make_pair(200)
    other = make_table(np.random.default_rng(2).normal(size=(200, 12)), teacher.labels, teacher.domain == "synthetic")

    scores = drift(other, teacher).scores

    for name in ("cosine", "cka", "knn_overlap"):
        for domain in ("real", "synthetic"):
            score = scores[f"{name}/{domain}"]
            assert score.low <= score.chance <= score.high, name
    assert scores["procrustes/real"].value == pytest.approx(scores["procrustes/real"].chance, abs=0.05)


def test_the_order_of_images_changes_nothing_but_the_blocks(make_pair):
    student, teacher, weights = make_pair()
    order = np.random.default_rng(3).permutation(len(student))

    straight, mixed = (
        drift(student, teacher, class_weights=weights),
        drift(student.select(order), teacher.select(order), class_weights=weights),
    )

    for name, score in straight.scores.items():
        assert mixed.scores[name].value == pytest.approx(score.value, abs=1e-5), name


def test_another_dimension_leaves_only_the_cosine_out(make_pair, make_table):
    student, teacher, _ = make_pair()
    narrow = make_table(student.embeddings[:, :7], student.labels, student.domain == "synthetic")

    result = drift(narrow, teacher)

    assert not [name for name in result.scores if name.startswith("cosine")]
    assert {"cka/real", "procrustes/real", "knn_overlap/synthetic"} <= set(result.scores)
    assert "cosine" not in result.arrays


def test_without_class_weights_only_the_modality_gap_is_left_out(make_pair):
    student, teacher, weights = make_pair()

    without, given = drift(student, teacher), drift(student, teacher, class_weights=weights)

    assert {name for name in given.scores if name not in without.scores} == {
        f"{prefix}modality_gap/{domain}" for prefix in ("", "teacher/") for domain in ("real", "synthetic")
    }


def test_both_domains_are_sampled_to_the_same_size(make_pair):
    student, teacher, _ = make_pair(400)
    rows = (student.domain == "real") | (np.arange(400) < 100)

    result = drift(student.select(rows), teacher.select(rows))

    assert result.counts["images/real"] == 200
    assert result.counts["images/sampled_per_domain"] == 48
    assert result.scores["knn_overlap/real"].chance == pytest.approx(10 / 47)


def test_checkpoints_come_in_order_and_end_at_the_student(make_pair, make_table):
    student, teacher, weights = make_pair()
    noise = np.random.default_rng(4).normal(size=student.embeddings.shape)
    early = make_table(student.embeddings + 0.5 * noise, student.labels, student.domain == "synthetic")

    result = drift(student, teacher, class_weights=weights, checkpoints={10: student, 2: early})

    np.testing.assert_array_equal(result.arrays["epochs"], [2, 10])
    for name in MEASURES:
        rows = result.arrays[f"{name}/real/by_epoch"]
        score = result.scores[f"{name}/real"]
        assert rows.shape == (2, 3)
        assert rows[1] == pytest.approx([score.value, score.low, score.high])
        assert (rows[:, 1] <= rows[:, 0]).all()
        assert (rows[:, 0] <= rows[:, 2]).all()
    assert result.arrays["cka/real/by_epoch"][0, 0] < result.arrays["cka/real/by_epoch"][1, 0]
    assert result.arrays["cosine/difference/by_epoch"].shape == (2, 3)
    assert result.counts["epochs"] == 2


def test_a_checkpoint_over_other_images_is_refused(make_pair):
    student, teacher, _ = make_pair()

    with pytest.raises(ValueError, match="must have the"):
        drift(student, teacher, checkpoints={1: student.select(np.arange(100))})


def test_drift_needs_a_teacher(make_pair):
    with pytest.raises(ValueError, match="`teacher` must be an embedding table for `drift`, got None"):
        drift(make_pair()[0], None)


def test_a_domain_that_collapsed_is_refused(make_pair, make_table):
    student, teacher, _ = make_pair()
    synthetic = student.domain == "synthetic"
    half = make_table(np.where(synthetic[:, None], 1.0, student.embeddings), student.labels, synthetic)

    with pytest.raises(ValueError, match="must vary for CKA"):
        drift(half, teacher)
