"""The transfer probe: exact values by hand, and what separates an encoder from its alignment."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.transfer.linear_probe import cross_fitted_predictions
from probes.transfer.probe import transfer


def by_answers(make_table, labels, synthetic, answers, name="student", classes=3):
    """An encoder that answers what it is told: the embedding is the class text itself, a little blurred."""
    blur = 0.01 * np.random.default_rng(0).normal(size=(len(labels), classes))
    return make_table(np.eye(classes)[answers] + blur, labels, synthetic, name)


@pytest.fixture
def world(make_table):
    """24 images, three classes; on real the student errs on four of class 2 and one of class 0, on synthetic on one; the teacher on one each."""
    labels, synthetic = np.arange(24) % 3, np.arange(24) >= 12
    answers, teacher_answers = labels.copy(), labels.copy()
    answers[[2, 5, 8, 11]], answers[0], answers[12] = 0, 1, 1
    teacher_answers[0], teacher_answers[13] = 2, 0
    student = by_answers(make_table, labels, synthetic, answers)
    return student, by_answers(make_table, labels, synthetic, teacher_answers, "teacher"), answers


def test_accuracies_and_gaps_are_those_counted_by_hand(world):
    student, teacher, answers = world

    result = transfer(student, teacher, class_weights=np.eye(3), folds=2)

    value = {name: score.value for name, score in result.scores.items()}
    assert value["zero_shot/real"] == pytest.approx(7 / 12)
    assert value["zero_shot/synthetic"] == pytest.approx(11 / 12)
    assert value["gap"] == pytest.approx(4 / 12)
    assert value["teacher/gap"] == pytest.approx(0.0)
    assert value["excess_gap"] == pytest.approx(4 / 12)
    assert value["below_teacher/real"] == pytest.approx(4 / 12)
    assert value["below_teacher/synthetic"] == pytest.approx(0.0)
    assert value["worst_class/real"] == 0.0
    assert value["worst_class/synthetic"] == pytest.approx(3 / 4)
    np.testing.assert_array_equal(result.arrays["prediction"], answers)
    np.testing.assert_array_equal(result.arrays["correct"], answers == student.labels)
    np.testing.assert_allclose(result.arrays["class_accuracy/real"], [3 / 4, 1, 0])
    np.testing.assert_allclose(result.arrays["teacher/class_accuracy/synthetic"], [1, 3 / 4, 1])
    assert result.scores["zero_shot/real"].chance == pytest.approx(1 / 3)


def test_the_length_of_class_weights_does_not_decide(world):
    student, teacher, answers = world

    result = transfer(student, teacher, class_weights=np.eye(3) * [1, 50, 0.1], folds=2)

    np.testing.assert_array_equal(result.arrays["prediction"], answers)


def test_without_a_teacher_nothing_is_compared(world):
    result = transfer(world[0], None, class_weights=np.eye(3), folds=2)

    assert result.reference is None
    assert not [name for name in result.scores if "teacher" in name or name == "excess_gap"]


def test_the_logit_scale_changes_the_calibration_error_only(world):
    student, teacher, _ = world

    soft, sharp = (transfer(student, teacher, class_weights=np.eye(3), folds=2, logit_scale=scale) for scale in (1.0, 100.0))

    assert soft.scores["ece/synthetic"].value != pytest.approx(sharp.scores["ece/synthetic"].value)
    # at scale 100 every answer is certain: the error is the share of wrong answers
    assert sharp.scores["ece/synthetic"].value == pytest.approx(1 / 12, abs=1e-6)
    assert {k: v for k, v in soft.scores.items() if "ece" not in k} == {k: v for k, v in sharp.scores.items() if "ece" not in k}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_logit_scale_that_is_not_positive_is_refused(world, scale):
    with pytest.raises(ValueError, match="`logit_scale` must be positive"):
        transfer(world[0], world[1], class_weights=np.eye(3), logit_scale=scale)


def test_class_weights_are_needed(world):
    with pytest.raises(ValueError, match=r"`class_weights` must be a .* for `transfer`, got None; embed the class prompts"):
        transfer(world[0], world[1])


def test_a_turned_space_loses_the_alignment_and_keeps_the_representation(make_pair, make_table):
    """Planted: rotate the student's space. Zero-shot falls to chance (the classes' texts are elsewhere), the linear probe stays."""
    student, teacher, weights = make_pair(400)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]
    turned = make_table(student.embeddings @ turn, student.labels, student.domain == "synthetic")

    straight, lost = (transfer(each, teacher, class_weights=weights).scores for each in (student, turned))

    assert straight["zero_shot/real"].value > 0.9
    assert lost["zero_shot/real"].value < 0.5
    assert lost["linear_probe/real"].low > 0.9


def test_the_linear_probe_finds_nothing_in_noise(make_table):
    """Null: labels are independent of the embeddings; chance 1/4 lies in the interval."""
    rng = np.random.default_rng(6)
    table = make_table(rng.normal(size=(400, 6)), np.arange(400) % 4, np.arange(400) >= 200)

    score = transfer(table, None, class_weights=rng.normal(size=(6, 4))).scores["linear_probe/real"]

    assert score.low < score.chance == 0.25 < score.high


def test_the_linear_probe_is_left_out_where_a_class_is_smaller_than_the_folds(make_pair):
    student, teacher, weights = make_pair(200)
    few = ~((student.labels == 1) & (student.domain == "real")) | (np.arange(200) < 10)

    result = transfer(student.select(few), teacher.select(few), class_weights=weights)

    assert "linear_probe/real" not in result.scores
    assert result.counts["linear_probe/real"] == 0
    assert result.counts["linear_probe/synthetic"] == 100
    assert "linear_probe/synthetic" in result.scores


def test_the_linear_probe_never_sees_the_image_it_predicts():
    """Each image its own direction, labels by lot: a probe that saw it would be right always, one that did not by chance."""
    labels = np.random.default_rng(7).integers(0, 2, 100)

    predicted = cross_fitted_predictions(np.eye(100), labels, folds=5)

    assert np.mean(LogisticRegression(C=1e6).fit(np.eye(100), labels).predict(np.eye(100)) == labels) == 1.0
    assert np.mean(predicted == labels) < 0.7


def test_an_equal_student_has_no_excess_gap(make_pair, make_table):
    _, teacher, weights = make_pair(200)
    twin = make_table(teacher.embeddings, teacher.labels, teacher.domain == "synthetic")

    scores = transfer(twin, teacher, class_weights=weights).scores

    assert scores["excess_gap"].value == 0.0
    assert scores["excess_gap"].low < 0 < scores["excess_gap"].high


def test_a_class_without_images_has_no_accuracy(make_pair):
    student, teacher, weights = make_pair(200)
    more = np.concatenate([weights, -weights[:, :1]], axis=1)

    accuracy = transfer(student, teacher, class_weights=more).arrays["class_accuracy/real"]

    assert np.isnan(accuracy[4])
    assert np.isfinite(accuracy[:4]).all()
