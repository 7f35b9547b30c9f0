"""A report with what every page reads from it: groups of students, their colours, records and the teacher's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from app import charts
from app.panels.groups import StudentGroup, as_score, gap_of, student_groups
from app.run_store.reports import records
from diagnose.schema import ProbeRecord, Report
from probes.result import Score


@dataclass(frozen=True, eq=False)
class ReportView:
    """One report as the pages show it; a page makes it once a load and hands it down to its panels.

    Args:
        report: the report; everything else is read from it and kept.
    """

    report: Report

    @cached_property
    def groups(self) -> tuple[StudentGroup, ...]:
        """Students by loss and training domain, those trained on synthetic images first, else in the report's order."""
        return student_groups(self.report)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What colours stand for, once each, in the report's order: the loss, or the student's own name where no loss is given."""
        return tuple(dict.fromkeys(student.loss or student.name for student in self.report.students))

    @cached_property
    def colours(self) -> dict[str, str]:
        """Key -> its colour, the same on every page."""
        return charts.colours(self.keys)

    @cached_property
    def _records(self) -> Mapping[str, dict[str, ProbeRecord]]:
        return {probe: records(self.report, probe) for probe in {record.probe for record in self.report.probes}}

    @cached_property
    def _finished(self) -> Mapping[str, dict[str, ProbeRecord]]:
        return {
            probe: {name: record for name, record in by_subject.items() if record.status == "done"}
            for probe, by_subject in self._records.items()
        }

    def records(self, probe: str) -> dict[str, ProbeRecord]:
        """Return the records of one probe by subject, the teacher's first, failed ones among them; empty where there are none."""
        return self._records.get(probe, {})

    def finished(self, probe: str) -> dict[str, ProbeRecord]:
        """Return the records of one probe that has run to its end, by subject, the teacher's first; empty where there are none."""
        return self._finished.get(probe, {})

    def teacher_score(self, probe: str, score: str) -> Score | None:
        """Return the teacher's own value of a score, from beside any student's or from its own record; None where it is not stored.

        Args:
            probe: name of the probe.
            score: name of the score.
        """
        by_subject = self.records(probe)
        for record in by_subject.values():
            if f"teacher/{score}" in record.scores:
                return as_score(record.scores[f"teacher/{score}"])
        alone = by_subject.get(self.report.teacher.name)
        return None if alone is None else as_score(alone.scores.get(score))

    def colour_of(self, student: str) -> str:
        """Return the colour of a student's loss; that of no student in particular where the report does not know it."""
        key = next((item.loss or item.name for item in self.report.students if item.name == student), student)
        return self.colours.get(key, charts.NEUTRAL)

    def group_of(self, student: str) -> StudentGroup | None:
        """Return the group a student belongs to, or None where the report does not know it."""
        return next((group for group in self.groups if student in group.names), None)

    @cached_property
    def curve_groups(self) -> tuple[tuple[StudentGroup, str], ...]:
        """Groups whose training is drawn as curves, those not trained on real images, with the shortest name that tells them apart."""
        groups = [group for group in self.groups if group.trained_on != "real"]
        several = len({group.trained_on for group in groups}) > 1
        return tuple((group, group.title if several else group.label) for group in groups)

    @cached_property
    def short_titles(self) -> dict[str, str]:
        """Encoder -> a word or two for captions: the loss, `real` where it was trained on such, the seed where there are several."""
        titles = {self.report.teacher.name: "teacher"}
        for group in self.groups:
            name = group.label.removesuffix(" to the teacher").removesuffix(" contrastive")
            where = "" if group.trained_on in (None, "synthetic") else f", {group.trained_on}-trained"
            for student in group.students:
                titles[student.name] = f"{name}{where}" + (f" s{student.seed}" if len(group.students) > 1 else "")
        return titles

    def widest_gap(self, names: Sequence[str]) -> str | None:
        """Return the student with the widest gap among `names`, which a page opens with; None where none is a student's."""
        ranked = [name for group in sorted(self.groups, key=gap_of) for name in group.names]
        return next((name for name in ranked if name in names), None)
