"""Laws that every registered probe keeps, and every input that every probe refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from probes.registry import PROBES, find_probe
from probes.result import ProbeResult

probes_by_name = pytest.mark.parametrize("name", sorted(name for name, spec in PROBES.items() if spec.needs == "tables"))


@probes_by_name
def test_every_score_and_array_is_finite_and_names_are_plain(name, make_pair):
    student, teacher, weights = make_pair(shift=1.0)

    result = PROBES[name].function(student, teacher, class_weights=weights)

    assert result.scores
    assert result.counts
    assert result.versions
    for array in result.arrays.values():
        assert array.dtype.kind in "US" or np.isfinite(array).all()
    for score in list(result.scores) + list(result.arrays):
        assert score == score.lower()
        assert " " not in score


@probes_by_name
def test_a_probe_gives_the_same_numbers_twice(name, make_pair):
    student, teacher, weights = make_pair()

    first, second = (PROBES[name].function(student, teacher, class_weights=weights, seed=3) for _ in range(2))

    assert first.to_dict() == second.to_dict()
    for key, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[key])


@probes_by_name
def test_a_probe_leaves_its_tables_and_the_global_random_state_alone(name, make_pair):
    student, teacher, weights = make_pair()
    before = student.embeddings.copy(), teacher.embeddings.copy(), weights.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002

    PROBES[name].function(student, teacher, class_weights=weights)

    for was, now in zip(before, (student.embeddings, teacher.embeddings, weights), strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@probes_by_name
def test_a_result_survives_saving(name, make_pair, tmp_path):
    student, teacher, weights = make_pair()
    result = PROBES[name].function(student, teacher, class_weights=weights)

    result.save(tmp_path / "probes" / name / "student")
    loaded = ProbeResult.load(tmp_path / "probes" / name / "student")

    assert loaded.to_dict() == result.to_dict()
    for key, array in result.arrays.items():
        np.testing.assert_array_equal(array, loaded.arrays[key])


@probes_by_name
def test_a_missing_domain_is_refused(name, make_pair):
    student, teacher, weights = make_pair()
    real = student.domain == "real"

    with pytest.raises(ValueError, match=r"at least \d+ synthetic images, got 0; give held-out synthetic images too"):
        PROBES[name].function(student.select(real), teacher.select(real), class_weights=weights)


@probes_by_name
def test_a_domain_smaller_than_the_folds_is_refused(name, make_pair):
    student, teacher, weights = make_pair()
    few = (student.domain == "real") | (np.arange(len(student)) < 8)

    with pytest.raises(ValueError, match=r"at least \d+ synthetic images, got 4"):
        PROBES[name].function(student.select(few), teacher.select(few), class_weights=weights)


@probes_by_name
def test_a_class_in_one_domain_only_is_named(name, make_pair):
    student, teacher, weights = make_pair()
    rows = ~((student.labels == 2) & (student.domain == "synthetic"))

    with pytest.raises(ValueError, match="got class 2 among real images only"):
        PROBES[name].function(student.select(rows), teacher.select(rows), class_weights=weights)


@probes_by_name
def test_constant_embeddings_are_refused(name, make_pair, make_table):
    student, teacher, weights = make_pair()
    constant = make_table(np.ones_like(student.embeddings), student.labels, student.domain == "synthetic")

    with pytest.raises(ValueError, match="`student` embeddings of 'student' must vary, got one vector for all 200 images"):
        PROBES[name].function(constant, teacher, class_weights=weights)
    with pytest.raises(ValueError, match="`teacher` embeddings of 'student' must vary"):
        PROBES[name].function(student, constant, class_weights=weights)


@probes_by_name
def test_teacher_and_student_in_another_order_are_refused_with_the_first_difference(name, make_pair):
    student, teacher, weights = make_pair()
    order = np.arange(len(teacher))
    order[[5, 9]] = order[[9, 5]]

    with pytest.raises(ValueError, match="the ids of `student` in the same order, got 'image-00009' for 'image-00005' in row 5"):
        PROBES[name].function(student, teacher.select(order), class_weights=weights)


@probes_by_name
def test_a_teacher_over_fewer_images_is_refused(name, make_pair):
    student, teacher, weights = make_pair()

    with pytest.raises(ValueError, match="must have the 200 images of `student`, got 150"):
        PROBES[name].function(student, teacher.select(np.arange(150)), class_weights=weights)


@probes_by_name
def test_a_teacher_with_other_labels_is_refused(name, make_pair, make_table):
    student, teacher, weights = make_pair()
    relabelled = make_table(teacher.embeddings, (teacher.labels + 1) % 4, teacher.domain == "synthetic", "teacher")

    with pytest.raises(ValueError, match=r"the labels of `student`.*got 1 for 0 in row 0"):
        PROBES[name].function(student, relabelled, class_weights=weights)


@probes_by_name
def test_class_weights_of_another_dimension_are_refused(name, make_pair):
    student, teacher, weights = make_pair()

    with pytest.raises(ValueError, match=r"`class_weights` must have shape \(D, C\) with D = 12 as in `student`, got \(11, 4\)"):
        PROBES[name].function(student, teacher, class_weights=weights[:-1])


@probes_by_name
def test_labels_beyond_the_class_weights_are_refused(name, make_pair):
    student, teacher, weights = make_pair()

    with pytest.raises(ValueError, match="`labels` must be below C = 3 of `class_weights`, got 3"):
        PROBES[name].function(student, teacher, class_weights=weights[:, :3])


@probes_by_name
def test_class_weights_that_are_not_finite_are_refused(name, make_pair):
    student, teacher, weights = make_pair()
    weights[0, 0] = np.nan

    with pytest.raises(ValueError, match="must be a finite"):
        PROBES[name].function(student, teacher, class_weights=weights)


def test_an_unknown_probe_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"got 'seperability'; choose from \['separability'\]"):
        find_probe("seperability")


def test_importing_the_probes_costs_no_torch():
    code = "import sys, probes.registry, probes.embeddings; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
