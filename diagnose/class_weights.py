"""What a diagnosis does with zero-shot classifier weights: plain accuracies, a hash for stored results, the file beside the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diagnose.inputs.subjects import Images, Subject
from diagnose.judge.intervals import Sample, estimate
from diagnose.schema import Estimate, ZeroShot
from distill.system.atomic_files import write_then_rename
from probes.embeddings import EmbeddingTable


def plain_accuracy(table: EmbeddingTable, images: Sequence[Images], class_weights: np.ndarray | None) -> ZeroShot:
    """Measure plain accuracies, for a diagnosis in which `transfer` cannot run because a domain is missing.

    Args:
        table: embeddings of one encoder.
        images: the images of each domain.
        class_weights: (D, C) of the teacher's texts, or None.
    """
    accuracies: dict[str, Estimate | None] = {"real": None, "synthetic": None}
    weights = table.classifier(class_weights)
    if weights is not None and table.dimension == weights.shape[0]:
        correct = (table.embeddings @ (weights / np.linalg.norm(weights, axis=0))).argmax(axis=1) == table.labels
        for part in images:
            accuracies[part.domain] = estimate(Sample((correct[table.domain == part.domain],), (table.name,)), low=0.0, high=1.0)
    return ZeroShot(real=accuracies["real"], synthetic=accuracies["synthetic"])


def classifier_bytes(class_weights: np.ndarray | None, student: Subject) -> bytes:
    """Return what a stored result depends on: the classifier weights of the teacher's texts, and the text space of a student that has its own.

    Args:
        class_weights: (D, C), or None.
        student: whose result is stored.
    """
    content = b"none" if class_weights is None else np.ascontiguousarray(class_weights, dtype=np.float64).tobytes()
    own = student.text_space
    return content if own is None else content + own.class_weights.tobytes() + repr((own.logit_scale, own.logit_bias)).encode()


def write_class_weights(class_weights: np.ndarray | None, path: Path) -> None:
    """Write the classifier weights (D, C) as float32, or take an older file away where there are none."""
    if class_weights is None:
        path.unlink(missing_ok=True)
        return
    weights = class_weights.astype(np.float32)
    write_then_rename(path, lambda file: np.save(file, weights, allow_pickle=False))
