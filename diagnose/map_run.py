"""The map of a whole run: teacher, students and epochs laid out together, or read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diagnose.embedding_tables import KeyedTable, embed_epoch
from diagnose.inputs.embed import ids_of
from diagnose.inputs.epochs import explained_rows
from diagnose.inputs.subjects import Subject
from diagnose.probe_runs import Outcome, failed_record, finished_record, finished_result, keep_result, result_stem
from diagnose.settings import DiagnosisSettings
from diagnose.stored_images import umap_layout
from probes.result import SCHEMA_VERSION, ProbeResult


def run_map(
    students: Sequence[Subject],
    teacher: Subject,
    tables: Mapping[str, KeyedTable],
    teacher_table: KeyedTable,
    settings: DiagnosisSettings,
    failures: Sequence[Exception],
) -> Outcome:
    """Lay out teacher, students and epochs, or read the map back; a layout that fails is recorded.

    Args:
        students: the students.
        teacher: the teacher.
        tables: name of a student -> its table, for those that could be embedded.
        teacher_table: the teacher's table.
        settings: settings of the diagnosis.
        failures: what kept the other students from being embedded; the first is the record's error where there is no table.
    """
    stem = result_stem(umap_layout.MAP, teacher, settings)
    try:
        settings.progress(umap_layout.MAP, 0, 1)
        if not tables:
            return failed_record(umap_layout.MAP, teacher, failures[0]), None
        embedded = [student for student in students if student.name in tables]
        result = _load_or_lay_out(embedded, teacher, tables, teacher_table, settings)
        settings.progress(umap_layout.MAP, 1, 1)
    except Exception as error:  # a map that cannot be made must not cost the report
        return failed_record(umap_layout.MAP, teacher, error), None
    return finished_record(result, stem), result


def _load_or_lay_out(
    students: Sequence[Subject],
    teacher: Subject,
    tables: Mapping[str, KeyedTable],
    teacher_table: KeyedTable,
    settings: DiagnosisSettings,
) -> ProbeResult:
    few, stem = settings.few, result_stem(umap_layout.MAP, teacher, settings)
    kept = np.flatnonzero(np.isin(teacher_table.table.ids, ids_of(few.images)))
    stops = [
        (stop, tables[stop.subject.name] if stop.epoch is None else embed_epoch(stop.subject, stop.epoch, few))
        for stop in umap_layout.stops(umap_layout.choose_students(students))
    ]
    first = ids_of(settings.images)[explained_rows(settings.images, seed=settings.seed)]
    hashes = [(stop.name, embedded.key, stop.subject.weights_hash) for stop, embedded in stops]
    parts = [SCHEMA_VERSION, settings.seed, teacher_table.key, hashes]
    content = umap_layout.map_key(parts, teacher_table.table.ids[kept], first)
    result = finished_result(stem, content, teacher) if all(weights_hash for *_, weights_hash in hashes) else None
    if result is not None:
        return result
    few_teacher = teacher_table.table.select(kept)
    rows = umap_layout.choose_rows(few_teacher, first, seed=settings.seed)
    few_tables = [(stop, embedded.table.select(kept) if stop.epoch is None else embedded.table) for stop, embedded in stops]
    return keep_result(umap_layout.lay_out(few_teacher, few_tables, rows, seed=settings.seed), stem, content)
