"""Assemble subjects, probe results and judgement to a `Report`; read and write `report.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from diagnose.inputs.subjects import DOMAINS, Subject
from diagnose.judge.evidence import Results, gather, zero_shot
from diagnose.report import factor_findings, findings, statement
from diagnose.schema import REPORT_SCHEMA_VERSION, ProbeRecord, Report, Student, Teacher, ZeroShot
from distill.system.atomic_files import write_then_rename
from probes.result import DiagnosticError


def assemble(
    students: Sequence[Subject],
    teacher: Subject,
    results: Results,
    records: Sequence[ProbeRecord],
    *,
    class_names: Sequence[str],
    name: str,
    about: str = "",
    fallback: Mapping[str, ZeroShot] | None = None,
    missing: Sequence[str] = (),
    notes: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Report:
    """Judge the results and assemble the report.

    Args:
        students: the students.
        teacher: the teacher.
        results: probe -> student -> result.
        records: what became of each probe of each student.
        class_names: C names.
        name: name of the run.
        about: one paragraph on the data.
        fallback: accuracies of encoders without a transfer result, by name.
        missing: reasons why something could not be measured, before those of failed probes.
        notes: what was left out of measurements that did run, after them.
        counts: images by domain, classes, …
        environment: versions and machine.
    """
    reasons = [*missing, *_failures(records), *notes]
    facts = gather(students, teacher, results, classes=len(class_names), missing=reasons)
    answer = statement.state(facts)
    transfers, known = results.get("transfer", {}), dict(fallback or {})
    beside = next((transfers[student.name] for student in students if student.name in transfers), None)
    nothing = ZeroShot(real=None, synthetic=None)

    def accuracy(subject: Subject) -> ZeroShot:
        if subject.name in transfers:
            return zero_shot(transfers[subject.name])
        return known.get(subject.name, nothing)

    return Report(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        class_names=list(class_names),
        about=about,
        teacher=Teacher(
            name=teacher.name,
            params=teacher.params,
            zero_shot=zero_shot(beside, "teacher/") if beside is not None else known.get(teacher.name, nothing),
        ),
        students=[_student(student, accuracy(student)) for student in students],
        findings=findings.findings(facts, answer.label),  # type: ignore[arg-type]
        factors=findings.factors(facts),
        text_minus_negatives=facts.text_minus_negatives,
        divisions=factor_findings.divisions(facts),
        contrasts=factor_findings.contrasts(facts),
        verdict=answer,
        probes=list(records),
        counts=dict(counts or {}),
        environment=dict(environment or {}),
    )


def unmet(domains: Sequence[str], probes: Sequence[str]) -> list[str]:
    """List what a verdict needs and does not have.

    Args:
        domains: the domains of the images that were given.
        probes: the probes that were asked for.
    """
    reasons = [f"No {domain} images were given" for domain in DOMAINS if domain not in domains]
    if "transfer" not in probes:
        reasons.append(
            f"the probe `transfer`, which a verdict rests on, was not among those asked for ({', '.join(probes)}); ask for it too"
        )
    return reasons


def _failures(records: Sequence[ProbeRecord]) -> list[str]:
    """Write each error that stopped probes once, with all probes and encoders it stopped."""
    stopped: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for record in records:
        if record.status == "failed":
            probes, subjects = stopped.setdefault(re.sub(r"^\w*(Error|Exception): ", "", record.error), ({}, {}))
            probes[record.probe] = subjects[record.subject] = None
    return [f"{', '.join(probes)} failed for {', '.join(subjects)}: {error}" for error, (probes, subjects) in stopped.items()]


def _student(subject: Subject, accuracy: ZeroShot) -> Student:
    return Student(
        name=subject.name,
        params=subject.params,
        zero_shot=accuracy,
        loss=subject.loss,
        seed=subject.seed,
        trained_on=subject.trained_on,
        target=subject.target,
        negatives=subject.negatives,
        text_space="teacher" if subject.text_space is None else "own",
        levels=dict(subject.levels),
        curve=[{key: float(value) for key, value in row.items()} for row in subject.curve],
    )


def write(report: Report, path: Path | str) -> Path:
    """Write `report.json` under a temporary name and then rename it."""
    return write_text(Path(path), report.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file so that a reader sees the old one or the whole new one.

    Args:
        path: the file.
        text: what it holds; characters that UTF-8 has no code for are replaced.

    Returns:
        The path.
    """
    write_then_rename(path, lambda file: file.write(text.encode("utf-8", errors="replace")))
    return path


def read(path: Path | str) -> Report:
    """Read a `report.json`, or that of a run's folder.

    Raises:
        FileNotFoundError: when there is none.
        DiagnosticError: when it is of another schema version or not a report.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"`path` must name a report.json, got {path}; run `synthgap diagnose` first.")
    try:
        report = Report.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of its kinds: not JSON, not the schema, not UTF-8
        raise DiagnosticError(f"{path} must be a whole report, got {type(error).__name__}; run `synthgap diagnose` again.") from error
    if report.schema_version != REPORT_SCHEMA_VERSION:
        raise DiagnosticError(
            f"`schema_version` of {path} must be {REPORT_SCHEMA_VERSION}, got {report.schema_version}; run `synthgap diagnose` again."
        )
    return report
