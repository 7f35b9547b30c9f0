"""What pages read from a report is read once, and grouped as the diagnosis groups it."""

from __future__ import annotations

from types import ModuleType

import pytest

from app import charts
from app.panels.report_view import ReportView
from diagnose.judge.seeds import group_by_recipe
from diagnose.schema import Student, ZeroShot


@pytest.fixture(scope="module")
def view(stored: ModuleType) -> ReportView:
    return ReportView(stored.build_report("made-up")[0])


def test_everything_that_is_read_from_a_report_is_kept(view: ReportView) -> None:
    assert view.groups is view.groups
    assert view.colours is view.colours
    assert view.records("transfer") is view.records("transfer")


def test_groups_hold_every_student_once_and_differ_in_loss_or_training_images(view: ReportView) -> None:
    names = [name for group in view.groups for name in group.names]

    assert sorted(names) == sorted(student.name for student in view.report.students)
    assert len({(group.key, group.trained_on) for group in view.groups}) == len(view.groups)
    assert {(group.key, group.trained_on): group.students for group in view.groups} == group_by_recipe(view.report.students)


def test_students_without_a_loss_stand_alone_and_groups_keep_the_order_in_which_they_are_met() -> None:
    students = [
        Student(name=name, params=1, loss=loss, trained_on="real", zero_shot=ZeroShot(real=None, synthetic=None))
        for name, loss in (("b", None), ("a", "l2"), ("c", None), ("d", "l2"))
    ]

    grouped = group_by_recipe(students)

    assert {recipe: [student.name for student in members] for recipe, members in grouped.items()} == {
        ("b", "real"): ["b"],
        ("l2", "real"): ["a", "d"],
        ("c", "real"): ["c"],
    }
    assert list(grouped) == [("b", "real"), ("l2", "real"), ("c", "real")]


def test_records_of_a_failed_probe_are_not_among_the_finished(view: ReportView) -> None:
    student = view.report.students[0].name
    probes = [
        record.model_copy(update={"status": "failed", "error": "made up"})
        if (record.probe, record.subject) == ("drift", student)
        else record
        for record in view.report.probes
    ]
    failed = ReportView(view.report.model_copy(update={"probes": probes}))

    assert student in failed.records("drift")
    assert set(failed.records("drift")) - set(failed.finished("drift")) == {student}
    assert failed.records("no such probe") == failed.finished("no such probe") == {}


def test_the_teachers_score_is_read_from_beside_a_student_or_from_its_own_record(view: ReportView) -> None:
    teacher, score = view.report.teacher.name, "within_class/linear/auc"
    beside = next(record for record in view.report.probes if f"teacher/{score}" in record.scores)
    own = beside.model_copy(
        update={"subject": teacher, "scores": {score: beside.scores[f"teacher/{score}"] | {"value": 0.6, "low": 0.5, "high": 0.7}}}
    )
    alone = ReportView(view.report.model_copy(update={"probes": [own]}))

    assert view.teacher_score("separability", score) is not None
    assert view.teacher_score("separability", score).value == beside.scores[f"teacher/{score}"]["value"]  # type: ignore[union-attr]
    assert alone.teacher_score("separability", score).value == 0.6  # type: ignore[union-attr]
    assert view.teacher_score("separability", "no such score") is None
    assert view.teacher_score("no such probe", score) is None


def test_a_student_has_the_colour_and_the_group_of_its_loss(view: ReportView) -> None:
    student = view.report.students[0]
    group = view.group_of(student.name)

    assert group is not None
    assert group.key == student.loss
    assert view.colour_of(student.name) == view.colours[group.key]
    assert view.group_of("nobody") is None
    assert view.colour_of("nobody") == charts.NEUTRAL
