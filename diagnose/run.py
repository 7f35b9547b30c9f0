"""From encoders and images to a report: embeds once, runs every probe for every student, judges, writes; resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from diagnose.class_weights import classifier_bytes, plain_accuracy, write_class_weights
from diagnose.environment import environment
from diagnose.inputs.class_mix import comparable, sentence
from diagnose.inputs.embed import distinct, ids_of, table_of
from diagnose.inputs.epochs import explained_rows, few_images
from diagnose.inputs.subjects import Encode, Images, Subject
from diagnose.names import file_name
from diagnose.report import assemble, junit, render, summary
from diagnose.schema import ProbeRecord, Report
from diagnose.stored_images import edited_samples, samples, umap_layout
from probes.compute.threads import one_at_a_time, side_by_side
from probes.embeddings import EmbeddingTable, key
from probes.probe_input import EmbedText, ProbeInput
from probes.registry import PROBES, measure, probe_names
from probes.result import SCHEMA_VERSION, DiagnosticError, ProbeResult

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`."""


@dataclass(frozen=True)
class Setting:
    """What all steps of one diagnosis share."""

    images: tuple[Images, ...]
    class_weights: np.ndarray | None
    out: Path
    logit_scale: float
    seed: int
    batch_size: int
    progress: Progress
    embed_text: EmbedText | None = None
    edited: int | None = None

    @cached_property
    def few(self) -> Setting:
        """The same with few images of each domain, which the encoders of every epoch are asked about."""
        return replace(self, images=few_images(self.images, seed=self.seed))

    @property
    def fingerprint(self) -> str:
        """Hash of the images of both domains."""
        return "+".join(images.fingerprint for images in self.images)


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
    given = distinct(tuple(images for images in (real, synthetic) if images is not None))
    probes = diagnosis_names() if probes is None else probes
    _check(subjects, teacher, given, probes, class_weights)
    given, left_out = comparable(given, seed=seed)
    told = one_at_a_time(progress or (lambda what, done, total: None))
    weights = None if class_weights is None else np.asarray(class_weights)
    setting = Setting(given, weights, Path(out), logit_scale, seed, batch_size, told, embed_text, edited)
    setting.out.mkdir(parents=True, exist_ok=True)
    (setting.out / "done").unlink(missing_ok=True)
    teacher_key, teacher_table = _table(teacher, setting)
    looking = _sight(teacher, teacher_table, setting)
    records: list[ProbeRecord] = []
    each = [probe for probe in probes if probe != umap_layout.MAP]
    results: dict[str, dict[str, ProbeResult]] = {probe: {} for probe in each}
    tables: dict[str, tuple[str, EmbeddingTable]] = {}
    unread: list[Exception] = []
    accuracies = {teacher.name: plain_accuracy(teacher_table, given, weights)}
    for number, student in enumerate(subjects):
        setting.progress("students", number, len(subjects))
        try:
            table_key, table = _table(student, setting)
        except Exception as error:  # one encoder that cannot run must not cost the others their report
            records += [ProbeRecord(probe=probe, subject=student.name, status="failed", error=_said(error)) for probe in each]
            unread.append(error)
            continue
        tables[student.name] = (table_key, table)
        accuracies[student.name] = plain_accuracy(table, given, weights)
        found = _probed(each, student, table, (table_key, teacher_key), looking, setting)
        for probe, (record, result) in found.items():
            records.append(record)
            if result is not None:
                results[probe][student.name] = result
    setting.progress("students", len(subjects), len(subjects))
    shown: dict[str, dict[str, ProbeResult]] = {}
    if umap_layout.MAP in probes:
        record, result = _map(subjects, teacher, tables, (teacher_key, teacher_table), setting, unread)
        records.append(record)
        shown = {umap_layout.MAP: {teacher.name: result}} if result is not None else {}
    said = assemble.assemble(
        subjects,
        teacher,
        results,
        records,
        class_names=given[0].class_names,
        name=name,
        about=" ".join(part for part in (about, sentence(left_out.mix)) if part),
        fallback=accuracies,
        missing=assemble.unmet([images.domain for images in given], probes),
        notes=left_out.notes,
        counts={
            **{f"images/{images.domain}": len(images) for images in given},
            **left_out.counts,
            "classes": len(given[0].class_names),
        },
        environment=environment(setting.seed),
    )
    _write(said, results, shown, setting)
    return said


def diagnosis_names() -> list[str]:
    """List what a diagnosis can be asked for: all probes, and the map of the run."""
    return [*probe_names(), umap_layout.MAP]


def _write(said: Report, results: dict[str, dict[str, ProbeResult]], shown: dict[str, dict[str, ProbeResult]], setting: Setting) -> None:
    out = setting.out
    write_class_weights(setting.class_weights, out / "class_weights.npy")
    rows = samples.choose(setting.images, results.get("transfer", {}), seed=setting.seed)
    samples.write([*rows, *samples.pointed(setting.images, results | shown, {row.id for row in rows})], out / "thumbnails.parquet")
    edited_samples.write(edited_samples.edited_samples(setting.images, results.get("interventions", {})), out / "edited.parquet")
    assemble.write(said, out / "report.json")
    assemble.write_text(out / "report.html", render.page(said, rows, results))
    assemble.write_text(out / "summary.md", summary.page(said))
    junit.write(said, out / "junit.xml")
    assemble.write_text(out / "done", said.created + "\n")


def _check(
    subjects: Sequence[Subject], teacher: Subject, given: Sequence[Images], probes: Sequence[str], class_weights: np.ndarray | None
) -> None:
    if not given:
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
    if any(images.class_names != given[0].class_names for images in given):
        differ = sorted(set(given[0].class_names) ^ set(given[-1].class_names)) or ["their order"]
        raise ValueError(
            f"`class_names` of real and synthetic images must be the same, got a difference in {differ[:3]}; bring them in line."
        )
    if class_weights is None:
        return
    shape, classes = np.shape(class_weights), len(given[0].class_names)
    if len(shape) != 2 or shape[1] != classes:
        raise ValueError(f"`class_weights` must have shape (D, {classes}), got {shape}; give one column for each class name.")


def _table(subject: Subject, setting: Setting, encode: Encode | None = None, hashed: str = "") -> tuple[str, EmbeddingTable]:
    """Embed all images, or read the embeddings back; the key is of content, with the encoder's answer on a few images in it.

    An encoder without a weights' hash is embedded anew each time.
    """
    weights = hashed or subject.weights_hash
    content = key(weights, setting.fingerprint, _answer(encode or subject.embed, setting), "float32")
    folder = setting.out / "embeddings" / content
    if weights and folder.is_dir():
        try:
            table = EmbeddingTable.load(folder)
            setting.progress(f"embed {subject.name}", len(table), len(table))
            columns = (table.ids, table.embeddings, table.labels, table.domain)
            return content, EmbeddingTable(*columns, subject.name, dict(table.metadata), subject.text_space, normalize=False)
        except (DiagnosticError, FileNotFoundError):
            pass  # a table of another version or a broken one is made again
    table = table_of(
        encode or subject.embed,
        subject.name,
        setting.images,
        batch_size=setting.batch_size,
        progress=lambda done, total: setting.progress(f"embed {subject.name}", done, total),
    )
    if weights:
        table.save(folder, overwrite=True)
    return content, replace(table, text_space=subject.text_space, normalize=False)


def _answer(encode: Encode, setting: Setting) -> str:
    """Hash what the encoder says of up to 8 images, so that another preprocessing of the same weights is another key."""
    import torch

    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(setting.images[0].pixels[:8]))
        answer = encode(pixels.float() / 255).detach().float().cpu().numpy()
    return hashlib.sha256(np.round(answer, 3).tobytes()).hexdigest()[:16]


def _sight(subject: Subject, table: EmbeddingTable, setting: Setting) -> ProbeInput:
    names = setting.images[0].class_names
    return ProbeInput(table, [images.pixels for images in setting.images], subject.encode, names, setting.embed_text, subject.fast_encode)


def _content(probe: str, table_key: str, teacher_key: str, student: Subject, setting: Setting) -> str:
    """Hash everything a probe's result depends on, the probes' source included."""
    digest = hashlib.sha256(classifier_bytes(setting.class_weights, student))
    for source in sorted(Path(__import__("probes").__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    parts = [SCHEMA_VERSION, probe, table_key, teacher_key, setting.logit_scale, setting.seed, sorted(student.checkpoints)]
    if probe == "interventions":
        parts.append(setting.edited)
    digest.update(json.dumps(parts).encode())
    return digest.hexdigest()[:32]


def _probed(
    probes: Sequence[str], student: Subject, table: EmbeddingTable, keys: tuple[str, str], looking: ProbeInput, setting: Setting
) -> dict[str, tuple[ProbeRecord, ProbeResult | None]]:
    """Run probes for a student: those of tables side by side; image probes use all cores by themselves, as drift does where there are epochs to embed."""

    def one(probe: str) -> tuple[ProbeRecord, ProbeResult | None]:
        return _run(probe, student, _sight(student, table, setting), looking, _content(probe, *keys, student, setting), setting)

    single = [probe for probe in dict.fromkeys(probes) if probe in PROBES and not (probe == "drift" and student.checkpoints)]
    found = dict(zip(single, side_by_side(one, single), strict=True))
    return {probe: found[probe] if probe in found else one(probe) for probe in probes}


def _run(
    probe: str, student: Subject, seen: ProbeInput, teacher: ProbeInput, content: str, setting: Setting
) -> tuple[ProbeRecord, ProbeResult | None]:
    stem = setting.out / "probes" / probe / file_name(student.name)
    result = _finished(stem, content, student)
    try:
        if result is None:
            what = f"{probe} {student.name}"
            setting.progress(what, 0, 1)
            result = measure(
                probe,
                seen,
                teacher,
                class_weights=setting.class_weights,
                logit_scale=setting.logit_scale,
                seed=setting.seed,
                progress=lambda done, total: setting.progress(what, done, total),
                edited=setting.edited,
            )
            if probe == "drift" and student.checkpoints:
                result = _with_epochs(result, student, seen.table, teacher.table, setting)
            result = replace(result, params={**result.params, "inputs": content})
            result.save(stem)
        setting.progress(f"{probe} {student.name}", 1, 1)
    except Exception as error:  # a probe that raises is recorded, and the others go on
        setting.progress(f"{probe} {student.name}", 1, 1)
        return ProbeRecord(probe=probe, subject=student.name, status="failed", error=_said(error)), None
    return _done(result, stem), result


def _done(result: ProbeResult, stem: Path) -> ProbeRecord:
    return ProbeRecord(
        probe=result.probe,
        subject=result.subject,
        status="done",
        path=f"probes/{result.probe}/{stem.name}.json",
        scores={name: score.to_dict() for name, score in sorted(result.scores.items())},
        counts=dict(result.counts),
    )


def _finished(stem: Path, content: str, student: Subject) -> ProbeResult | None:
    if not student.weights_hash:
        return None
    try:
        result = ProbeResult.load(stem)
    except (FileNotFoundError, DiagnosticError):
        return None
    return result if result.params.get("inputs") == content and result.subject == student.name else None


def _with_epochs(result: ProbeResult, student: Subject, table: EmbeddingTable, teacher: EmbeddingTable, setting: Setting) -> ProbeResult:
    """Add drift over the epochs, measured on the same few images with the encoder of each epoch."""
    few = setting.few
    rows = np.flatnonzero(np.isin(table.ids, ids_of(few.images)))
    checkpoints = {}
    for epoch in sorted(student.checkpoints):
        checkpoints[epoch] = _epoch(student, epoch, few)[1]
        setting.progress(f"embed epochs of {student.name}", len(checkpoints), len(student.checkpoints))
    pair = (table.select(rows), teacher.select(rows))
    over = PROBES["drift"](*pair, class_weights=setting.class_weights, seed=setting.seed, checkpoints=checkpoints)
    arrays = {name: array for name, array in over.arrays.items() if name == "epochs" or name.endswith("/by_epoch")}
    return replace(result, arrays={**result.arrays, **arrays}, counts={**result.counts, "images/by_epoch": len(rows)})


def _epoch(student: Subject, epoch: int, few: Setting) -> tuple[str, EmbeddingTable]:
    """Embed the few images with the encoder of one epoch, or read the embeddings back."""
    named = replace(student, name=f"{student.name} epoch {epoch}")
    return _table(
        named,
        replace(few, progress=lambda what, done, total: None),
        student.checkpoints[epoch](),
        f"{student.weights_hash}@{epoch}" if student.weights_hash else "",
    )


def _map(
    students: Sequence[Subject],
    teacher: Subject,
    tables: dict[str, tuple[str, EmbeddingTable]],
    own: tuple[str, EmbeddingTable],
    setting: Setting,
    unread: Sequence[Exception],
) -> tuple[ProbeRecord, ProbeResult | None]:
    """Lay out teacher, students and epochs, or read the map back; a layout that fails is recorded, and without a student what kept them away."""
    stem = setting.out / "probes" / umap_layout.MAP / file_name(teacher.name)
    try:
        setting.progress(umap_layout.MAP, 0, 1)
        if not tables:
            return ProbeRecord(probe=umap_layout.MAP, subject=teacher.name, status="failed", error=_said(unread[0])), None
        students = [student for student in students if student.name in tables]
        few = setting.few
        kept = np.flatnonzero(np.isin(own[1].ids, ids_of(few.images)))
        way = umap_layout.stops(umap_layout.choose_students(students))
        found = [(stop, *(tables[stop.subject.name] if stop.epoch is None else _epoch(stop.subject, stop.epoch, few))) for stop in way]
        first = ids_of(setting.images)[explained_rows(setting.images, seed=setting.seed)]
        hashes = [(stop.name, key, stop.subject.weights_hash) for stop, key, _ in found]
        content = umap_layout.map_key([SCHEMA_VERSION, setting.seed, own[0], hashes], own[1].ids[kept], first)
        result = _finished(stem, content, teacher) if all(hashed for *_, hashed in hashes) else None
        if result is None:
            small = own[1].select(kept)
            rows = umap_layout.choose_rows(small, first, seed=setting.seed)
            few_tables = [(stop, table.select(kept) if stop.epoch is None else table) for stop, _, table in found]
            result = umap_layout.lay_out(small, few_tables, rows, seed=setting.seed)
            result = replace(result, params={**result.params, "inputs": content})
            result.save(stem)
        setting.progress(umap_layout.MAP, 1, 1)
    except Exception as error:
        return ProbeRecord(probe=umap_layout.MAP, subject=teacher.name, status="failed", error=_said(error)), None
    return _done(result, stem), result


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]
