"""Content-matched pairs, and what separability says of them."""

from __future__ import annotations

import numpy as np

from probes.separability.content_matching import match_content
from probes.separability.probe import separability

FEW = {"permutations": 19}


def test_the_pairs_are_the_known_partners():
    """Each synthetic image is its real partner, a little turned, in shuffled order; classes share directions on purpose."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(40, 8))
    order = np.concatenate([rng.permutation(20), 20 + rng.permutation(20)])
    made = (real + 0.05 * rng.normal(size=(40, 8)))[order]
    x = np.concatenate([real, made])
    labels = np.tile(np.arange(40) // 20, 2)

    pairs = match_content(x / np.linalg.norm(x, axis=1, keepdims=True), labels, np.arange(80) >= 40, keep=1.0)

    np.testing.assert_array_equal(order[pairs.synthetic - 40], pairs.real)
    assert pairs.cosine.min() > 0.95
    assert abs(pairs.by_lot) < 0.3


def test_no_image_is_in_two_pairs_and_the_caliper_keeps_the_closest(make_pair):
    _, teacher, _ = make_pair(400)
    synthetic = teacher.domain == "synthetic"

    every, half = (match_content(teacher.unit(), teacher.labels, synthetic, keep=keep) for keep in (1.0, 0.5))

    assert len(every.real) == 200
    assert len(half.real) == 100
    assert len(np.unique(every.real)) == len(np.unique(every.synthetic)) == 200
    assert (teacher.labels[half.real] == teacher.labels[half.synthetic]).all()
    assert synthetic[half.synthetic].all()
    assert not synthetic[half.real].any()
    assert half.cosine.mean() > every.cosine.mean() > every.by_lot


def test_content_that_differs_within_a_class_separates_all_images_but_not_matched_ones(make_table):
    """Half of a class shows another scene, mostly among synthetic images, and student and teacher see only the scene: matching takes it away."""
    rng = np.random.default_rng(1)
    synthetic = np.arange(800) % 2 == 1
    scene = (rng.random(800) < np.where(synthetic, 0.7, 0.3)).astype(int)
    x = 4 * np.eye(8)[scene] + rng.normal(size=(800, 8)) * 0.5
    both = [make_table(x + 0.1 * rng.normal(size=x.shape), np.zeros(800, int), synthetic, name) for name in ("student", "teacher")]

    scores = separability(*both, **FEW).scores

    assert scores["linear/auc"].low > 0.6
    # 60 % of the images have a partner of the same scene; without the caliper the other 40 % would go on separating
    assert scores["matched/linear/auc"].value < 0.6
    assert scores["matched/cosine"].low > scores["matched/cosine"].chance


def test_a_cue_that_the_teacher_does_not_see_still_separates_matched_pairs(make_pair):
    student, teacher, _ = make_pair(400, shift=4.0)

    scores = separability(student, teacher, **FEW).scores

    assert scores["matched/linear/auc"].low > 0.6
    assert scores["excess/matched/linear/auc"].low > 0
    assert scores["teacher/matched/linear/auc"].low <= 0.5


def test_pairs_are_named_by_rows_of_the_table(make_pair):
    student, teacher, _ = make_pair(200)

    rows = separability(student, teacher, **FEW).arrays["matched/rows"]

    assert (student.domain[rows[:, 0]] == "real").all()
    assert (student.domain[rows[:, 1]] == "synthetic").all()
    assert (student.labels[rows[:, 0]] == student.labels[rows[:, 1]]).all()


def test_without_a_teacher_nothing_is_matched(make_pair):
    assert not [name for name in separability(make_pair()[0], None, **FEW).scores if "matched" in name]
