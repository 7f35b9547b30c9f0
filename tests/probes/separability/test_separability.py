"""The separability probe: closed forms, planted shifts, controls that must stay silent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from probes.separability.probe import separability

FEW = {"permutations": 39}


def test_the_linear_auc_is_the_closed_form_of_two_gaussians(make_table):
    """N(0, I) and N(1.5 e1, I), not normalised away: a constant axis of length 40 keeps directions nearly linear. AUC Phi(1.5 / sqrt 2) = 0.856.

    S.d. of an AUC at 2 x 400 is 0.013; fitting four coordinates costs less than 0.005.
    """
    rng = np.random.default_rng(0)
    synthetic = np.arange(800) % 4 >= 2
    x = rng.normal(size=(800, 4))
    x[:, 0] += 1.5 * synthetic
    table = make_table(np.concatenate([x, np.full((800, 1), 40.0)], axis=1), np.arange(800) % 2, synthetic)

    result = separability(table, None, **FEW)

    expected = norm.cdf(1.5 / math.sqrt(2))
    assert result.scores["linear/auc"].value == pytest.approx(expected, abs=0.04)
    assert result.scores["within_class/linear/auc"].value == pytest.approx(expected, abs=0.04)


def test_equal_domains_are_not_separable(make_pair):
    """Null: every AUC interval holds 1/2 and every excess 0; chosen seed, since each of eight is allowed to miss in 1 of 20."""
    student, teacher, _ = make_pair(400, seed=1)

    scores = separability(student, teacher, **FEW).scores

    for name, score in scores.items():
        if name.endswith("p_value"):
            assert score.value > 0.05, name
        elif not name.endswith("matched/cosine"):
            assert score.low <= score.chance <= score.high, name


def test_a_shift_in_the_student_is_found_and_not_blamed_on_the_teacher(make_pair):
    student, teacher, _ = make_pair(400, shift=4.0)

    result = separability(student, teacher, **FEW)

    scores = result.scores
    assert result.arrays["direction"][-1] > 0.7  # the shift is along the last axis, towards synthetic
    assert np.linalg.norm(result.arrays["direction"]) == pytest.approx(1)
    for name in ("linear/auc", "knn/auc", "within_class/linear/auc", "within_class/knn/auc"):
        assert scores[name].low > 0.5
        assert scores[f"excess/{name}"].low > 0
    assert scores["teacher/linear/auc"].low <= 0.5 <= scores["teacher/linear/auc"].high
    assert scores["linear/p_value"].value == pytest.approx(1 / 40)


def test_a_shift_that_the_teacher_has_too_is_no_excess(make_pair):
    """The student adds noise to the teacher: it separates less, however high its AUC."""
    student, teacher, _ = make_pair(400, shift=3.0, teacher_shift=3.0)
    shifted = separability(teacher, teacher, **FEW).scores

    assert shifted["linear/auc"].low > 0.7
    assert shifted["excess/linear/auc"].value == 0.0
    assert separability(student, teacher, **FEW).scores["linear/auc"].low > 0.7


def test_separability_rises_with_the_shift(make_pair):
    found = [separability(make_pair(400, shift=shift)[0], None, **FEW).scores["linear/auc"].value for shift in (0.0, 2.0, 6.0)]

    assert found == sorted(found)
    assert found[2] > found[0] + 0.2


def test_class_imbalance_alone_does_not_separate(make_table):
    """Real images are mostly of class 0, synthetic ones of class 1, and an embedding is its class: nothing but imbalance."""
    rng = np.random.default_rng(2)
    synthetic = np.arange(600) >= 300
    labels = (rng.random(600) < np.where(synthetic, 0.8, 0.2)).astype(int)
    table = make_table(3 * np.eye(6)[labels] + 0.5 * rng.normal(size=(600, 6)), labels, synthetic)

    result = separability(table, None, **FEW)

    assert result.scores["linear/auc"].low <= 0.5 <= result.scores["linear/auc"].high
    assert result.scores["knn/auc"].low <= 0.5 <= result.scores["knn/auc"].high
    assert result.scores["linear/p_value"].value > 0.05
    assert result.counts["images/real"] == result.counts["images/synthetic"] < 300


def test_a_shift_of_opposite_sign_in_each_class_is_seen_by_neighbours_only_within_class(make_table):
    """Class 0 moves up and class 1 down by the same: one direction for all classes finds nothing within class, neighbours do."""
    rng = np.random.default_rng(3)
    labels, synthetic = np.arange(400) % 2, np.arange(400) % 4 >= 2
    x = 0.3 * rng.normal(size=(400, 4))
    x[:, 0] += np.where(labels == 0, 0.5, -0.5) * np.where(synthetic, 1, -1)
    x[:, 1] += 40  # so long an axis that bringing rows to length one hardly bends the others
    table = make_table(x, labels, synthetic)

    scores = separability(table, None, **FEW).scores

    assert scores["within_class/knn/auc"].low > 0.9
    assert scores["within_class/linear/auc"].value < 0.6


def test_metadata_is_a_rung_of_its_own(make_pair, make_table):
    """All synthetic files are PNG; embeddings know nothing of it."""
    student, _, _ = make_pair(200)
    synthetic = student.domain == "synthetic"
    told = make_table(student.embeddings, student.labels, synthetic, codec=np.where(synthetic, "png", "jpeg"), bytes=np.arange(200))

    scores = separability(told, None, **FEW).scores

    assert scores["metadata/auc"].value == 1.0
    assert scores["metadata/auc"].low < 1.0
    assert scores["linear/auc"].low <= 0.5
    assert "metadata/auc" not in separability(student, None, **FEW).scores


def test_equal_files_do_not_separate(make_pair, make_table):
    student, _, _ = make_pair(200)
    told = make_table(student.embeddings, student.labels, student.domain == "synthetic", codec=np.full(200, "png"), width=np.full(200, 32))

    assert separability(told, None, **FEW).scores["metadata/auc"].value == 0.5


def test_a_file_fact_that_never_differs_hides_none_that_does(make_pair, make_table):
    """One column of one value, one with a gap (NaN), and a size that tells the domains apart."""
    student, _, _ = make_pair(200)
    synthetic = student.domain == "synthetic"
    quality = np.where(np.arange(200) % 3 == 0, np.nan, 90.0)
    told = make_table(student.embeddings, student.labels, synthetic, quality=quality, width=np.full(200, 32), bytes=900 + 50 * synthetic)

    assert separability(told, None, **FEW).scores["metadata/auc"].value == 1.0


def test_every_image_has_a_held_out_score_also_outside_the_sample(make_pair):
    student, _, _ = make_pair(400, shift=4.0)

    result = separability(student, None, max_images=200, **FEW)

    outside = result.arrays["fold"] == -1
    score, synthetic = result.arrays["domain_score"], student.domain == "synthetic"
    assert outside.sum() == 200
    assert result.counts["images/available"] == 400
    assert np.isfinite(score).all()
    assert np.mean(score[outside & synthetic]) > np.mean(score[outside & ~synthetic])


def test_separability_does_not_depend_on_a_rotation_of_the_space_for_neighbours(make_pair, make_table):
    student, _, _ = make_pair(200, shift=2.0)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(12, 12)))[0]
    turned = make_table(student.embeddings @ turn, student.labels, student.domain == "synthetic")

    straight, rotated = (separability(each, None, **FEW).scores for each in (student, turned))

    assert rotated["knn/auc"].value == pytest.approx(straight["knn/auc"].value, abs=1e-3)
    assert rotated["linear/auc"].value == pytest.approx(straight["linear/auc"].value, abs=0.05)


def test_classes_too_small_for_every_fold_are_left_out_of_the_within_class_part(make_pair):
    student, teacher, _ = make_pair(200)
    rare = (student.labels != 3) | (np.arange(200) < 40)  # 5 images of class 3 in each domain, two in each fold would be ten

    result = separability(student.select(rare), teacher.select(rare), **FEW)

    assert result.counts["classes"] == 4
    assert result.counts["classes/within"] == 3


def test_within_class_is_left_out_when_all_classes_are_too_small(make_table):
    rng = np.random.default_rng(5)
    table = make_table(rng.normal(size=(60, 5)), np.arange(60) // 6, np.arange(60) % 2 == 1)

    result = separability(table, None, **FEW)

    assert result.counts["classes/within"] == 0
    assert not [name for name in result.scores if name.startswith("within_class")]
    assert "linear/auc" in result.scores


def test_grouped_folds_do_not_reward_what_only_a_group_shares(make_table):
    """Images come in sets of ten that share a random place; the domain of a set is by lot. By image this separates, by set it does not."""
    rng = np.random.default_rng(6)
    groups = np.arange(400) // 10
    synthetic = groups % 2 == 1
    x = rng.normal(size=(40, 8))[groups] + 0.1 * rng.normal(size=(400, 8))
    table = make_table(x, np.zeros(400, int), synthetic)

    loose = separability(table, None, **FEW).scores["knn/auc"]
    grouped = separability(table, None, groups=groups, **FEW)

    assert loose.value > 0.9
    assert grouped.scores["knn/auc"].value < 0.8
    assert grouped.scores["linear/p_value"].value > 0.05
    assert grouped.params["grouped"] is True


@pytest.mark.parametrize("setting", ["folds", "neighbours", "permutations"])
def test_settings_below_their_least_value_are_refused(make_pair, setting):
    with pytest.raises(ValueError, match="`folds` must be at least 2, `permutations` and `neighbours` 1"):
        separability(make_pair()[0], None, **{setting: 0})


def test_groups_of_another_length_are_refused(make_pair):
    with pytest.raises(ValueError, match=r"`groups` must have shape \(200,\), got \(5,\)"):
        separability(make_pair()[0], None, groups=np.arange(5))


@pytest.mark.slow
def test_the_whole_probe_is_silent_on_equal_domains(make_pair):
    """100 worlds without a difference: each interval may miss its chance 5 times; 12 or more come once in 200."""
    missed: dict[str, int] = {}
    for seed in range(100):
        student, teacher, _ = make_pair(240, seed=seed)
        for name, score in separability(student, teacher, seed=seed, **FEW).scores.items():
            if name.endswith(("auc", "p_value")):
                silent = score.low <= score.chance <= score.high if name.endswith("auc") else score.value > 0.05
                missed[name] = missed.get(name, 0) + (not silent)

    assert max(missed.values()) <= 12, missed


@pytest.mark.slow
def test_ten_thousand_embeddings_take_under_fifteen_seconds(make_pair):
    from time import process_time

    student, teacher, _ = make_pair(10_000, classes=10, dimension=128, shift=1.0)
    start = process_time()

    separability(student, teacher)

    assert process_time() - start < 15
