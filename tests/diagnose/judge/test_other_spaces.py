"""Chance and other spaces in the verdict: who is named, what is not judged, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnose.judge import verdict
from diagnose.judge.facts import Facts, Measured
from diagnose.report import findings, statement
from diagnose.schema import Estimate


def value(at: float, half: float = 0.02) -> Estimate:
    return Estimate(value=at, low=at - half, high=at + half, n=1000)


def student(name: str, real: float, synthetic: float, **more: object) -> Measured:
    """Give a student beside a teacher that is right on 0.90 of both domains."""
    zero = {"excess": value(synthetic - real), "behind_real": value(0.9 - real), "behind_synthetic": value(0.9 - synthetic)}
    fields = {"trained_on": "synthetic", "target": None, "negatives": None, "params": 9, "students": (name,), "mostly_behind": value(0.1)}
    return Measured(name=name, loss=name, real=value(real), synthetic=value(synthetic), **(zero | fields | more))  # type: ignore[arg-type]


def facts(*measured: Measured, teacher: float = 0.9) -> Facts:
    return Facts("teacher", value(teacher), value(teacher), value(0.0), 10, measured)


@pytest.mark.parametrize(
    ("real", "synthetic", "probe", "elsewhere"),
    [
        (0.10, 0.10, 0.90, True),
        (0.02, 0.03, 0.60, True),  # below chance, as with rotated images
        (0.10, 0.10, 0.56, False),  # its interval holds the half of the way
        (0.10, 0.10, 0.30, False),  # an encoder that knows nothing
        (0.10, 0.90, 0.90, False),  # it names synthetic images: the texts are its own, and real ones it cannot read
        (0.40, 0.40, 0.90, False),
    ],
)
def test_a_student_at_chance_whose_embeddings_tell_the_classes_lives_elsewhere(real, synthetic, probe, elsewhere):
    assert verdict.lives_elsewhere((value(real), value(synthetic)), value(probe), 0.1) is elsewhere


def test_without_a_linear_probe_nothing_is_said_of_spaces():
    assert not verdict.lives_elsewhere((value(0.1), value(0.1)), None, 0.1)


def test_a_student_of_another_space_is_neither_behind_nor_undertrained_nor_failing():
    lost = student("lost", 0.1, 0.1, other_space=True, linear_probe=value(0.9))

    said = statement.state(facts(lost))

    assert said.label == "inconclusive"
    assert "Lost lives in another space than its teacher's texts" in said.statement
    assert "linear probe of its own embeddings on 90.0 %" in said.statement
    assert verdict.outcome(lost) == "unclear"
    assert not verdict.undertrained(lost)
    # the same numbers without the linear probe are a matter of training
    assert statement.state(facts(replace(lost, other_space=False))).label == "training_failure"


def test_a_student_of_another_space_does_not_hide_one_that_fails():
    lost, failing = student("lost", 0.1, 0.1, other_space=True), student("failing", 0.3, 0.9)

    assert verdict.choose_label(facts(lost, failing)) == "fails_on_real"


def test_chance_is_said_of_whoever_is_there_with_the_cause_that_is_left():
    blind, narrow, fine = student("blind", 0.1, 0.1), student("narrow", 0.1, 0.9), student("fine", 0.8, 0.8)

    said = {
        item.id: item.statement for item in findings.findings(facts(blind, narrow, fine), "inconclusive") if item.id.startswith("chance/")
    }

    assert set(said) == {"chance/blind", "chance/narrow"}
    assert "normalised otherwise" in said["chance/blind"]
    assert "on synthetic images it surely is" in said["chance/narrow"]
    assert "normalised" not in said["chance/narrow"]


def test_a_teacher_at_chance_is_the_first_to_be_named():
    said = [item for item in findings.findings(facts(student("a", 0.5, 0.5), teacher=0.1), "inconclusive") if item.id.startswith("chance/")]

    assert [item.id for item in said] == ["chance/teacher"]
    assert "not surely more than chance (10.0 %)" in said[0].statement


def test_own_texts_are_said_with_what_the_teachers_texts_give():
    own = student("own", 0.88, 0.88, text_space="own", teacher_space=value(0.09))

    outcome = findings.findings(facts(own), "no_gap")[0].statement

    assert "scored with the texts of its own text tower; by its teacher's texts it is right on 9.0 % of real images" in outcome
    assert statement.state(facts(own)).statement.endswith("Own is scored with the texts of its own text tower.")
    assert "own text tower" not in statement.state(facts(replace(own, text_space="teacher"))).statement
