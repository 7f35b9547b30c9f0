"""Students that differ in their seed alone, and which images each of them gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diagnose.inputs.subjects import Subject
from diagnose.judge.intervals import Sample
from diagnose.judge.seeds import group_by_recipe
from probes.result import DiagnosticError, ProbeResult


@dataclass(frozen=True)
class Group:
    """The K students of one loss and one training domain.

    Args:
        loss: name of the loss, or the student's own name where it is unknown.
        trained_on: their training domain.
        subjects: the K students.
        real: K by N_real, 1 where the student is right.
        synthetic: K by N_synthetic.
        teacher_real: the teacher on the same images, its row repeated K times.
        teacher_synthetic: the same on synthetic images.
    """

    loss: str
    trained_on: str | None
    subjects: tuple[Subject, ...]
    real: Sample
    synthetic: Sample
    teacher_real: Sample
    teacher_synthetic: Sample

    @property
    def levels(self) -> dict[str, str]:
        """Factor -> level; of students without a known recipe what is told of their target, negatives and training images."""
        first = self.subjects[0]
        levels = dict(first.levels)
        if not levels and first.target is not None:
            levels["target"] = first.target
        if not levels.get("negatives") and first.negatives is not None and not first.levels:
            levels["negatives"] = "yes" if first.negatives else "no"
        if self.trained_on in ("synthetic", "real"):
            levels.setdefault("real_images", "0 %" if self.trained_on == "synthetic" else "100 %")
        return levels

    @property
    def recipe(self) -> str:
        """Key of the loss: equal where the terms are."""
        return self.subjects[0].recipe or self.loss

    @property
    def excess(self) -> Sample:
        """Gap of the students minus gap of the teacher, paired over images; a sample of two parts."""
        synthetic, real = self.synthetic - self.teacher_synthetic, self.real - self.teacher_real
        return Sample((synthetic.parts[0], -real.parts[0]), self.real.seeds)

    @property
    def mostly_behind(self) -> Sample:
        """Shortfall on synthetic images minus excess gap: 2 (teacher - student) on synthetic minus (teacher - student) on real."""
        synthetic, real = self.teacher_synthetic - self.synthetic, self.teacher_real - self.real
        return Sample((2 * synthetic.parts[0], -real.parts[0]), self.real.seeds)


def group_students(students: Sequence[Subject], transfers: Mapping[str, ProbeResult]) -> list[Group]:
    """Gather students by loss and training domain; those without a transfer result are left out.

    Args:
        students: in the order of the report.
        transfers: student -> result of the `transfer` probe.

    Raises:
        DiagnosticError: when two results are not about the same images.
    """
    members = group_by_recipe(student for student in students if student.name in transfers)
    if members:
        _same_images([transfers[student.name] for group in members.values() for student in group])
    return [_group(loss, trained_on, group, transfers) for (loss, trained_on), group in members.items()]


def _same_images(results: Sequence[ProbeResult]) -> None:
    first = results[0]
    for result in results[1:]:
        if not np.array_equal(result.arrays["ids"], first.arrays["ids"]) or not np.array_equal(
            result.arrays["domain"], first.arrays["domain"]
        ):
            raise DiagnosticError(
                f"`transfer` of {result.subject!r} must be about the images of {first.subject!r}, got others; run the probes again."
            )


def _group(loss: str, trained_on: str | None, subjects: Sequence[Subject], transfers: Mapping[str, ProbeResult]) -> Group:
    seeds: tuple[object, ...] = tuple(subject.seed for subject in subjects)
    if None in seeds or len(set(seeds)) < len(seeds):
        seeds = tuple(subject.name for subject in subjects)
    results = [transfers[subject.name] for subject in subjects]

    def sample(array: str, domain: str) -> Sample:
        return Sample((np.stack([result.arrays[array][result.arrays["domain"] == domain] for result in results]),), seeds)

    return Group(
        loss=loss,
        trained_on=trained_on,
        subjects=tuple(subjects),
        real=sample("correct", "real"),
        synthetic=sample("correct", "synthetic"),
        teacher_real=sample("teacher/correct", "real"),
        teacher_synthetic=sample("teacher/correct", "synthetic"),
    )
