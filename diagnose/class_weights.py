"""What a diagnosis does with zero-shot classifier weights: plain accuracies, a hash for stored results, the file beside the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diagnose.inputs.subjects import Subject
from distill.system.atomic_files import write_then_rename


def classifier_bytes(class_weights: np.ndarray | None, student: Subject) -> bytes:
    """Return what a stored result depends on: the classifier weights of the teacher's texts, and the text space of a student that has its own.

    Args:
        class_weights: (D, C), or None.
        student: whose result is stored.
    """
    content = b"none" if class_weights is None else np.ascontiguousarray(class_weights, dtype=np.float64).tobytes()
    space = student.text_space
    return content if space is None else content + space.class_weights.tobytes() + repr((space.logit_scale, space.logit_bias)).encode()


def write_class_weights(class_weights: np.ndarray | None, path: Path) -> None:
    """Write the classifier weights (D, C) as float32, or take an older file away where there are none."""
    if class_weights is None:
        path.unlink(missing_ok=True)
        return
    weights = class_weights.astype(np.float32)
    write_then_rename(path, lambda file: np.save(file, weights, allow_pickle=False))
