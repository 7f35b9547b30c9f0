"""The shift from real to synthetic, and representational similarity: closed forms, planted angles, silence on noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from probes.drift.domain_shift import class_shifts, shift_cosine
from probes.drift.probe import drift
from probes.stats.jackknife import deal_blocks
from probes.stats.similarity import representational_similarity


def test_rsa_is_spearmans_correlation_of_the_cosines_with_and_without_a_block():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = x @ rng.normal(size=(5, 5)) + 0.5 * rng.normal(size=(60, 5))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    blocks = deal_blocks(60, seed=0)

    found = representational_similarity(x, y, blocks)

    def plain(rows):
        pairs = np.triu_indices(len(rows), 1)
        return spearmanr((x[rows] @ x[rows].T)[pairs], (y[rows] @ y[rows].T)[pairs]).statistic

    assert found.value == pytest.approx(plain(np.arange(60)), abs=1e-10)
    # ranks are kept from the whole: equal to the re-ranked correlation up to a few thousandths
    assert found.left_out[3] == pytest.approx(plain(np.flatnonzero(blocks != 3)), abs=5e-3)


def test_rsa_does_not_see_a_rotation_and_finds_nothing_in_noise():
    rng = np.random.default_rng(1)
    x, other = rng.normal(size=(2, 200, 6))
    x, other = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, other))
    blocks = deal_blocks(200, seed=0)

    assert representational_similarity(x, x @ np.linalg.qr(rng.normal(size=(6, 6)))[0], blocks).value == pytest.approx(1.0, abs=1e-6)
    low, high = representational_similarity(x, other, blocks).interval
    assert low <= 0 <= high


def test_rsa_of_a_collapsed_encoder_is_refused():
    with pytest.raises(ValueError, match="must vary for RSA"):
        representational_similarity(np.tile([1.0, 0.0], (30, 1)), np.eye(30), deal_blocks(30, seed=0))


def _pair(angle: float, *, n: int = 2000, length: float = 0.5, seed: int = 0):
    """Student and teacher in the plane of two axes, shifts of one length at an angle (degrees), the same noise in both."""
    rng = np.random.default_rng(seed)
    labels, synthetic = np.arange(n) % 4, (np.arange(n) // 4) % 2 == 1
    noise = rng.normal(size=(n, 6))
    turned = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    teacher, student = noise.copy(), noise.copy()
    teacher[:, 0] += length * synthetic
    student[:, :2] += length * synthetic[:, None] * turned
    return student, teacher, labels, synthetic, deal_blocks(n, seed=seed)


@pytest.mark.parametrize("angle", [0.0, 60.0, 120.0])
def test_the_planted_angle_is_found(angle):
    """Shift 1 over 2 x 200 images of unit noise: the error of a coordinate is 0.1, of the angle about 6 degrees, over 20 worlds 1.3.

    Each of 20 intervals may miss once; 4 or more misses come once in 60.
    """
    found = [shift_cosine(class_shifts(*_pair(angle, n=400, length=1.0, seed=seed)).common) for seed in range(20)]
    true = np.cos(np.radians(angle))

    assert np.degrees(np.arccos([each.value for each in found])).mean() == pytest.approx(angle, abs=6)
    assert sum(not each.interval[0] - 1e-9 <= true <= each.interval[1] + 1e-9 for each in found) <= 3


def test_inner_products_of_shifts_are_unbiased():
    """Without any shift they are 0 on average although student and teacher share all noise; plain ones would be tr C (2 / n_c) / 4 = 0.12."""
    found = [class_shifts(*_pair(0.0, n=200, length=0.0, seed=seed)) for seed in range(60)]

    for kind in ("common", "each_class"):
        for place in range(3):
            values = np.array([getattr(shifts, kind)[place].value for shifts in found])
            assert abs(values.mean()) < 4 * values.std() / np.sqrt(60)


def test_no_shift_has_no_angle():
    shifts = class_shifts(*_pair(0.0, n=200, length=0.0, seed=3))

    assert shift_cosine(shifts.common) is None or shift_cosine(shifts.common).interval[0] < 0


def test_shifts_of_opposite_classes_cancel_in_common_but_not_by_class():
    student, teacher, labels, synthetic, blocks = _pair(0.0, length=0.0)
    sign = np.where(labels % 2 == 0, 1.0, -1.0) * synthetic
    student[:, 2] += sign
    teacher[:, 2] += sign

    shifts = class_shifts(student, teacher, labels, synthetic, blocks)

    assert shifts.classes == 4
    assert abs(shifts.common[1].value) < 0.02
    assert shifts.each_class[1].value == pytest.approx(4.0, abs=0.6)
    assert shift_cosine(shifts.each_class).value == pytest.approx(1.0, abs=0.02)


def test_leaving_a_block_out_is_leaving_its_images_out():
    student, teacher, labels, synthetic, blocks = _pair(30.0, n=300)
    kept = blocks != 7

    found = class_shifts(student, teacher, labels, synthetic, blocks)
    rest = class_shifts(student[kept], teacher[kept], labels[kept], synthetic[kept], deal_blocks(int(kept.sum()), seed=0))

    for place in range(3):
        assert found.common[place].left_out[7] == pytest.approx(rest.common[place].value, abs=1e-12)
        assert found.each_class[place].left_out[7] == pytest.approx(rest.each_class[place].value, abs=1e-12)


def test_classes_of_one_image_are_left_out():
    rng = np.random.default_rng(0)

    assert (
        class_shifts(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]) == 1, np.arange(4))
        is None
    )


def test_drift_reports_shift_and_rsa_for_both_domains_and_over_epochs(make_pair):
    student, teacher, weights = make_pair(400, shift=5.0, teacher_shift=5.0)

    result = drift(student, teacher, class_weights=weights, checkpoints={1: student, 2: teacher})

    assert result.scores["shift/angle"].high < 30
    assert result.scores["shift/length"].low > 0.2
    assert result.scores["teacher/shift/length"].low > 0.2
    assert 0.5 < result.scores["rsa/real"].value < 1
    assert result.arrays["rsa/real/by_epoch"][1, 0] == pytest.approx(1.0, abs=1e-6)
    assert result.arrays["shift/angle/by_epoch"].shape == (2, 3)


def test_a_student_of_another_dimension_has_no_shift_angle(make_pair, make_table):
    student, teacher, _ = make_pair(400, shift=5.0)
    wide = make_table(np.concatenate([student.embeddings, student.embeddings], axis=1), student.labels, student.domain == "synthetic")

    assert not [name for name in drift(wide, teacher).scores if name.startswith("shift")]
