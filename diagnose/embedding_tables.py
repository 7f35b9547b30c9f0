"""Embeddings of a diagnosis: made once for each encoder, kept under a hash of content, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diagnose.inputs.embed import table_of
from diagnose.inputs.subjects import Encode, Images, Subject
from diagnose.judge.intervals import Sample, estimate
from diagnose.schema import Estimate, ZeroShot
from diagnose.settings import DiagnosisSettings
from probes.embeddings import EmbeddingTable, key
from probes.probe_input import EmbedText, ProbeInput
from probes.result import DiagnosticError

FINGERPRINTED = 8
"""Images whose embeddings are part of the key, so that another preprocessing of the same weights has another key."""


@dataclass(frozen=True, eq=False)
class KeyedTable:
    """An embedding table and the hash of everything it depends on."""

    key: str
    table: EmbeddingTable


def embed_subject(subject: Subject, settings: DiagnosisSettings, encode: Encode | None = None, weights_hash: str = "") -> KeyedTable:
    """Embed all images, or read the embeddings back; an encoder without a hash of its weights is embedded anew each time.

    Args:
        subject: the encoder.
        settings: images, folder and batch size.
        encode: what embeds, where it is not the subject's own encoder.
        weights_hash: hash of the weights of `encode`.

    Returns:
        The table of N images and its key.
    """
    weights_hash = weights_hash or subject.weights_hash
    content = key(weights_hash, settings.fingerprint, _embedding_hash(encode or subject.embed, settings), "float32")
    folder = settings.out / "embeddings" / content
    if weights_hash and folder.is_dir():
        try:
            table = EmbeddingTable.load(folder)
            settings.progress(f"embed {subject.name}", len(table), len(table))
            columns = (table.ids, table.embeddings, table.labels, table.domain)
            return KeyedTable(content, EmbeddingTable(*columns, subject.name, dict(table.metadata), subject.text_space, normalize=False))
        except (DiagnosticError, FileNotFoundError):
            pass  # a table of another version or a broken one is made again
    table = table_of(
        encode or subject.embed,
        subject.name,
        settings.images,
        batch_size=settings.batch_size,
        progress=lambda done, total: settings.progress(f"embed {subject.name}", done, total),
    )
    if weights_hash:
        table.save(folder, overwrite=True)
    return KeyedTable(content, replace(table, text_space=subject.text_space, normalize=False))


def embed_epoch(student: Subject, epoch: int, few: DiagnosisSettings) -> KeyedTable:
    """Embed the few images with the encoder of one epoch, or read the embeddings back.

    Args:
        student: a student with this checkpoint.
        epoch: key of `student.checkpoints`.
        few: `DiagnosisSettings.few`.
    """
    return embed_subject(
        replace(student, name=f"{student.name} epoch {epoch}"),
        replace(few, progress=lambda what, done, total: None),
        student.checkpoints[epoch](),
        f"{student.weights_hash}@{epoch}" if student.weights_hash else "",
    )


def probe_input(subject: Subject, table: EmbeddingTable, images: Sequence[Images], embed_text: EmbedText | None) -> ProbeInput:
    """Put an encoder, its table and the images of the table's rows together for probes.

    Args:
        subject: the encoder.
        table: its embeddings of `images`.
        images: images of each domain.
        embed_text: the teacher's text tower, or None.
    """
    pixels = [part.pixels for part in images]
    table = replace(table, text_space=subject.text_space, normalize=False)
    return ProbeInput(table, pixels, subject.encode, images[0].class_names, embed_text, subject.fast_encode)


def zero_shot_accuracies(table: EmbeddingTable, settings: DiagnosisSettings) -> ZeroShot:
    """Compute plain accuracies in [0, 1], for a diagnosis in which `transfer` cannot run because a domain is missing.

    Args:
        table: embeddings of the images.
        settings: class weights and images.

    Returns:
        Accuracy on each domain with its interval; None for a domain without images, and for embeddings of another dimension than the weights.
    """
    accuracies: dict[str, Estimate | None] = {"real": None, "synthetic": None}
    weights = table.classifier(settings.class_weights)
    if weights is not None and table.dimension == weights.shape[0]:
        correct = (table.embeddings @ (weights / np.linalg.norm(weights, axis=0))).argmax(axis=1) == table.labels
        for images in settings.images:
            sample = Sample((correct[table.domain == images.domain],), (table.name,))
            accuracies[images.domain] = estimate(sample, low=0.0, high=1.0)
    return ZeroShot(real=accuracies["real"], synthetic=accuracies["synthetic"])


def _embedding_hash(encode: Encode, settings: DiagnosisSettings) -> str:
    """Hash the embeddings of the first images."""
    import torch

    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(settings.images[0].pixels[:FINGERPRINTED]))
        embeddings = encode(pixels.float() / 255).detach().float().cpu().numpy()
    return hashlib.sha256(np.round(embeddings, 3).tobytes()).hexdigest()[:16]
