"""Run probes for one student: read finished results back, record failures, keep results under a hash of everything they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diagnose.class_weights import classifier_bytes
from diagnose.embedding_tables import KeyedTable, embed_epoch, probe_input
from diagnose.inputs.embed import ids_of
from diagnose.inputs.subjects import Subject
from diagnose.names import file_name
from diagnose.schema import ProbeRecord
from diagnose.settings import DiagnosisSettings
from probes.compute.threads import side_by_side
from probes.embeddings import EmbeddingTable
from probes.registry import PROBES, measure
from probes.result import SCHEMA_VERSION, DiagnosticError, ProbeResult

Outcome = tuple[ProbeRecord, ProbeResult | None]
"""What became of a probe, and its result where it ended well."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A student and its teacher, each with its table of the same images."""

    student: Subject
    student_table: KeyedTable
    teacher: Subject
    teacher_table: KeyedTable


def run_probes(probes: Sequence[str], pair: Pair, settings: DiagnosisSettings) -> dict[str, Outcome]:
    """Run probes for a student, those of tables side by side.

    A probe of images uses all cores by itself, and so does a probe of tables that embeds the epochs of a training.

    Args:
        probes: names of probes.
        pair: student and teacher.
        settings: settings of the diagnosis.
    """

    def run(probe: str) -> Outcome:
        return _run_probe(probe, pair, settings)

    for probe in probes:
        _ = PROBES[probe].source_hash  # read before there are threads
    light = [probe for probe in dict.fromkeys(probes) if PROBES[probe].needs == "tables" and not _with_epochs(probe, pair.student)]
    outcomes = dict(zip(light, side_by_side(run, light), strict=True))
    return {probe: outcomes[probe] if probe in outcomes else run(probe) for probe in probes}


def content_key(probe: str, pair: Pair, settings: DiagnosisSettings) -> str:
    """Hash everything a probe's result depends on, the source of the probe and of what it imports included.

    Args:
        probe: name of the probe.
        pair: student and teacher.
        settings: settings of the diagnosis.

    Returns:
        32 hexadecimal digits.
    """
    spec = PROBES[probe]
    digest = hashlib.sha256(classifier_bytes(settings.class_weights, pair.student))
    digest.update(spec.source_hash.encode())
    accepted = spec.keywords(logit_scale=settings.logit_scale, edited=settings.edited)
    epochs = sorted(pair.student.checkpoints) if spec.follows_training else []
    groups = "" if settings.groups is None or "groups" not in spec.accepts else "\n".join(settings.groups)
    digest.update(groups.encode())
    parts = [SCHEMA_VERSION, probe, pair.student_table.key, pair.teacher_table.key, settings.seed, sorted(accepted.items()), epochs]
    digest.update(json.dumps(parts).encode())
    return digest.hexdigest()[:32]


def result_stem(probe: str, subject: Subject, settings: DiagnosisSettings) -> Path:
    """Return the path of a result without its ending.

    Args:
        probe: name of the probe.
        subject: the encoder.
        settings: folder of the run.
    """
    return settings.out / "probes" / probe / file_name(subject.name)


def finished_result(stem: Path, content: str, subject: Subject) -> ProbeResult | None:
    """Read a result back where it is of the same content and subject; None otherwise, and for a subject without a hash of its weights.

    Args:
        stem: path of the result without its ending.
        content: key that the result must carry.
        subject: the encoder.
    """
    if not subject.weights_hash:
        return None
    try:
        result = ProbeResult.load(stem)
    except (FileNotFoundError, DiagnosticError):
        return None
    return result if result.params.get("inputs") == content and result.subject == subject.name else None


def keep_result(result: ProbeResult, stem: Path, content: str) -> ProbeResult:
    """Save a result with the key of its content, and return it with that key.

    Args:
        result: the result.
        stem: path without its ending.
        content: key of its content.
    """
    result = replace(result, params={**result.params, "inputs": content})
    result.save(stem)
    return result


def finished_record(result: ProbeResult, stem: Path) -> ProbeRecord:
    """Describe a finished result for the report.

    Args:
        result: the result.
        stem: path of the result without its ending.
    """
    return ProbeRecord(
        probe=result.probe,
        subject=result.subject,
        status="done",
        path=f"probes/{result.probe}/{stem.name}.json",
        scores={name: score.to_dict() for name, score in sorted(result.scores.items())},
        counts=dict(result.counts),
    )


def failed_record(probe: str, subject: Subject, error: Exception) -> ProbeRecord:
    """Describe a failure for the report.

    Args:
        probe: name of the probe.
        subject: the encoder.
        error: what was raised.
    """
    return ProbeRecord(probe=probe, subject=subject.name, status="failed", error=f"{type(error).__name__}: {error}"[:2000])


def _run_probe(probe: str, pair: Pair, settings: DiagnosisSettings) -> Outcome:
    student, stem = pair.student, result_stem(probe, pair.student, settings)
    content = content_key(probe, pair, settings)
    result = finished_result(stem, content, student)
    what = f"{probe} {student.name}"
    try:
        if result is None:
            settings.progress(what, 0, 1)
            result = measure(
                probe,
                probe_input(student, pair.student_table.table, settings.images, settings.embed_text),
                probe_input(pair.teacher, pair.teacher_table.table, settings.images, settings.embed_text),
                class_weights=settings.class_weights,
                logit_scale=settings.logit_scale,
                seed=settings.seed,
                progress=lambda done, total: settings.progress(what, done, total),
                edited=settings.edited,
                groups=settings.groups,
            )
            if _with_epochs(probe, student):
                result = _add_epochs(result, probe, pair, settings)
            result = keep_result(result, stem, content)
        settings.progress(what, 1, 1)
    except Exception as error:  # a probe that raises is recorded, and the others go on
        settings.progress(what, 1, 1)
        return failed_record(probe, student, error), None
    return finished_record(result, stem), result


def _with_epochs(probe: str, student: Subject) -> bool:
    return PROBES[probe].follows_training and bool(student.checkpoints)


def _add_epochs(result: ProbeResult, probe: str, pair: Pair, settings: DiagnosisSettings) -> ProbeResult:
    """Add the scores by epoch, measured on the same few images with the encoder of each epoch."""
    student, few, table = pair.student, settings.few, pair.student_table.table
    rows = np.flatnonzero(np.isin(table.ids, ids_of(few.images)))
    checkpoints: dict[int, EmbeddingTable] = {}
    for epoch in sorted(student.checkpoints):
        checkpoints[epoch] = embed_epoch(student, epoch, few).table
        settings.progress(f"embed epochs of {student.name}", len(checkpoints), len(student.checkpoints))
    spec = PROBES[probe]
    by_epoch = spec.function(
        table.select(rows),
        pair.teacher_table.table.select(rows),
        class_weights=settings.class_weights,
        seed=settings.seed,
        **spec.keywords(checkpoints=checkpoints),
    )
    arrays = {name: array for name, array in by_epoch.arrays.items() if name == "epochs" or name.endswith("/by_epoch")}
    return replace(result, arrays={**result.arrays, **arrays}, counts={**result.counts, "images/by_epoch": len(rows)})
