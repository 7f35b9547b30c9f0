"""A report as a short Markdown page: the verdict and one table, for a README or a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.judge.intervals import over_seeds
from diagnose.report import factor_tables
from diagnose.schema import Estimate, Report, Student
from diagnose.wording.numbers import with_interval


def page(report: Report) -> str:
    """Write the verdict and a table with one row for the teacher and for each loss and training set.

    Args:
        report: the report.

    Returns:
        Markdown. Accuracies are percentages with 95 % intervals over seeds and images (images alone for one seed).
    """
    rows = [_row("teacher", "", report.teacher.params, [report.teacher.zero_shot.real], [report.teacher.zero_shot.synthetic], 1)]
    groups: dict[tuple[str, str], list[Student]] = {}
    for student in report.students:
        groups.setdefault((student.loss or student.name, student.trained_on or "?"), []).append(student)
    for (loss, trained_on), students in groups.items():
        real, synthetic = accuracies(report, students)
        rows.append(_row(loss, trained_on, students[0].params, real, synthetic, len(students)))
    parts = [
        f"# {_text(report.name)}",
        "",
        f"**{_text(report.verdict.label)}**: {_text(report.verdict.statement)}",
        "",
        *([_text(report.about), ""] if report.about else []),
        "| model | trained on | parameters | seeds | zero-shot on real [%] | zero-shot on synthetic [%] |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "Intervals are 95 %, over seeds and images where there are several seeds, else over images alone.",
    ]
    if report.factors:
        parts += ["", *(f"- {_text(factor.statement)}" for factor in report.factors)]
    parts += factor_tables.section(report, _text)
    return "\n".join(parts) + "\n"


def accuracies(report: Report, students: Sequence[Student]) -> tuple[list[Estimate | None], list[Estimate | None]]:
    """Return the accuracies of the seeds of a loss on real and on synthetic images.

    Where the verdict holds one interval over these seeds, that one is returned, so that no two pages differ; else one a student.

    Args:
        report: the report.
        students: the seeds of one loss and training set.
    """
    names = {student.name for student in students}
    for finding in report.findings:
        if finding.id.startswith("outcome/") and set(finding.students) == names and len(finding.evidence) > 1:
            return [finding.evidence[0].estimate], [finding.evidence[1].estimate]
    return [s.zero_shot.real for s in students], [s.zero_shot.synthetic for s in students]


def _row(name: str, trained_on: str, params: int, real: Sequence[Estimate | None], synthetic: Sequence[Estimate | None], seeds: int) -> str:
    return f"| {_text(name)} | {_text(trained_on)} | {params / 1e6:.2f} M | {seeds} | {percent_of(real)} | {percent_of(synthetic)} |"


def percent_of(values: Sequence[Estimate | None]) -> str:
    """Write the mean over seeds, in per cent with its interval."""
    known = [value for value in values if value is not None]
    if not known:
        return "not measured"
    mean = over_seeds(known, low=0.0, high=1.0)
    return with_interval(mean, digits=1, percent=True)


def _text(value: str) -> str:
    """Escape a text from outside, so that it becomes neither markup nor a new column."""
    for sign in "\\`*_{}[]<>|#":
        value = value.replace(sign, f"\\{sign}" if sign != "_" else "_")
    return " ".join(value.split())
