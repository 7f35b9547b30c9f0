"""From encoders and images to a report: embeds once, runs every probe for every student, judges, writes; resumes where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diagnose.class_weights import write_class_weights
from diagnose.embedding_tables import KeyedTable, embed_subject, zero_shot_accuracies
from diagnose.environment import environment
from diagnose.inputs.class_mix import LeftOut, comparable, sentence
from diagnose.inputs.embed import distinct
from diagnose.inputs.subjects import Images, Subject
from diagnose.map_run import run_map
from diagnose.probe_runs import Pair, failed_record, run_probes
from diagnose.report import assemble, junit, render, summary
from diagnose.schema import ProbeRecord, Report, ZeroShot
from diagnose.settings import DiagnosisSettings, Progress
from diagnose.stored_images import edited_samples, samples, umap_layout
from probes.compute.threads import one_at_a_time
from probes.probe_input import EmbedText
from probes.registry import probe_names
from probes.result import ProbeResult

Results = dict[str, dict[str, ProbeResult]]
"""Probe -> subject -> result."""


@dataclass
class _Measured:
    """What the probes of all students came to."""

    records: list[ProbeRecord]
    results: Results
    map_results: Results = field(default_factory=dict)
    accuracies: dict[str, ZeroShot] = field(default_factory=dict)


def diagnose(
    subjects: Sequence[Subject],
    teacher: Subject,
    *,
    class_weights: np.ndarray | None,
    real: Images | None,
    synthetic: Images | None,
    out: Path | str,
    name: str,
    about: str = "",
    logit_scale: float = 100.0,
    seed: int = 0,
    probes: Sequence[str] | None = None,
    progress: Progress | None = None,
    batch_size: int = 500,
    embed_text: EmbedText | None = None,
    edited: int | None = None,
) -> Report:
    """Judge students beside their teacher and write the report.

    Embeddings and probe results of an earlier call into the same folder are used again where their content is the same. A probe
    that raises becomes a recorded failure and the others go on. The file `done` is written last.

    Args:
        subjects: the students, each with a name of its own.
        teacher: the teacher.
        class_weights: (D, C) zero-shot classifier weights in the space of the teacher and of students without a text space of their own; None where
            the teacher cannot name classes: then probes that need them are recorded as failed.
        real: held-out real images, or None.
        synthetic: held-out synthetic images, or None.
        out: folder of the run; it is made.
        name: name of the run.
        about: one paragraph on the data.
        logit_scale: multiplier of the cosines, positive; the calibration depends on it.
        seed: seed of every random draw.
        probes: see `probes.registry.probe_names`, and `map` for the map of the whole run; None for all of them.
        progress: called as `progress(what, done, total)`, by one thread at a time but not always the same.
        batch_size: images in one forward pass.
        embed_text: the teacher's text tower, or None where there is none.
        edited: images of each domain that `interventions` edits; None for the probe's own default.

    Returns:
        The report, as written to `<out>/report.json`; beside it `report.html`, `junit.xml`, `thumbnails.parquet`, `edited.parquet`,
        `class_weights.npy` and `probes/`.

    Raises:
        ValueError: for names that occur twice, unknown probes, no images, or class weights that do not fit the classes.
    """
    images = distinct(tuple(part for part in (real, synthetic) if part is not None))
    probes = diagnosis_names() if probes is None else probes
    _check(subjects, teacher, images, probes, class_weights)
    images, left_out = comparable(images, seed=seed)
    report_progress = one_at_a_time(progress or (lambda what, done, total: None))
    weights = None if class_weights is None else np.asarray(class_weights)
    settings = DiagnosisSettings(images, weights, Path(out), logit_scale, seed, batch_size, report_progress, embed_text, edited)
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "done").unlink(missing_ok=True)
    measured = _measure(subjects, teacher, probes, settings)
    report = assemble.assemble(
        subjects,
        teacher,
        measured.results,
        measured.records,
        class_names=images[0].class_names,
        name=name,
        about=" ".join(part for part in (about, sentence(left_out.mix)) if part),
        fallback=measured.accuracies,
        missing=assemble.unmet([part.domain for part in images], probes),
        notes=left_out.notes,
        counts=_counts(images, left_out),
        environment=environment(seed),
    )
    _write(report, measured, settings)
    return report


def diagnosis_names() -> list[str]:
    """List what a diagnosis can be asked for: all probes, and the map of the run."""
    return [*probe_names(), umap_layout.MAP]


def _measure(subjects: Sequence[Subject], teacher: Subject, probes: Sequence[str], settings: DiagnosisSettings) -> _Measured:
    """Embed every encoder and run every probe, student after student; the map comes last."""
    teacher_table = embed_subject(teacher, settings)
    of_students = [probe for probe in probes if probe != umap_layout.MAP]
    measured = _Measured([], {probe: {} for probe in of_students})
    measured.accuracies[teacher.name] = zero_shot_accuracies(teacher_table.table, settings)
    tables: dict[str, KeyedTable] = {}
    failures: list[Exception] = []
    for number, student in enumerate(subjects):
        settings.progress("students", number, len(subjects))
        try:
            table = embed_subject(student, settings)
        except Exception as error:  # one encoder that cannot run must not cost the others their report
            measured.records += [failed_record(probe, student, error) for probe in of_students]
            failures.append(error)
            continue
        tables[student.name] = table
        measured.accuracies[student.name] = zero_shot_accuracies(table.table, settings)
        for probe, (record, result) in run_probes(of_students, Pair(student, table, teacher, teacher_table), settings).items():
            measured.records.append(record)
            if result is not None:
                measured.results[probe][student.name] = result
    settings.progress("students", len(subjects), len(subjects))
    if umap_layout.MAP in probes:
        record, result = run_map(subjects, teacher, tables, teacher_table, settings, failures)
        measured.records.append(record)
        measured.map_results = {umap_layout.MAP: {teacher.name: result}} if result is not None else {}
    return measured


def _counts(images: Sequence[Images], left_out: LeftOut) -> dict[str, int]:
    by_domain = {f"images/{part.domain}": len(part) for part in images}
    return {**by_domain, **left_out.counts, "classes": len(images[0].class_names)}


def _write(report: Report, measured: _Measured, settings: DiagnosisSettings) -> None:
    """Write every file of the run; `done` comes last."""
    out, results = settings.out, measured.results
    write_class_weights(settings.class_weights, out / "class_weights.npy")
    rows = samples.choose(settings.images, results.get("transfer", {}), seed=settings.seed)
    pointed = samples.pointed(settings.images, results | measured.map_results, {row.id for row in rows})
    samples.write([*rows, *pointed], out / "thumbnails.parquet")
    edited_samples.write(edited_samples.edited_samples(settings.images, results.get("interventions", {})), out / "edited.parquet")
    assemble.write(report, out / "report.json")
    assemble.write_text(out / "report.html", render.page(report, rows, results))
    assemble.write_text(out / "summary.md", summary.page(report))
    junit.write(report, out / "junit.xml")
    assemble.write_text(out / "done", report.created + "\n")


def _check(
    subjects: Sequence[Subject], teacher: Subject, images: Sequence[Images], probes: Sequence[str], class_weights: np.ndarray | None
) -> None:
    if not images:
        raise ValueError("`real` and `synthetic` must not both be None, got no images; give at least one domain.")
    if not subjects:
        raise ValueError("`subjects` must hold at least one student, got none; name one to judge.")
    names = [subject.name for subject in (*subjects, teacher)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`name` of students and teacher must be unique, got {twice[0]!r} {names.count(twice[0])} times; rename one.")
    unknown = [probe for probe in probes if probe not in diagnosis_names()]
    if unknown:
        raise ValueError(f"`probes` must be among {sorted(diagnosis_names())}, got {unknown[0]!r}; choose from these.")
    if any(part.class_names != images[0].class_names for part in images):
        differ = sorted(set(images[0].class_names) ^ set(images[-1].class_names)) or ["their order"]
        raise ValueError(
            f"`class_names` of real and synthetic images must be the same, got a difference in {differ[:3]}; bring them in line."
        )
    if class_weights is None:
        return
    shape, classes = np.shape(class_weights), len(images[0].class_names)
    if len(shape) != 2 or shape[1] != classes:
        raise ValueError(f"`class_weights` must have shape (D, {classes}), got {shape}; give one column for each class name.")
