"""Checks of the tables and images of every probe, with a message for each way they can be wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from probes.embeddings import BLOCK_ROWS, DOMAINS, EmbeddingTable
from probes.probe_input import ProbeInput

COMPARED = 64
"""Images of two encoders that are compared pixel by pixel where they do not share one array: other images differ in the first of them."""


def check_tables(student: EmbeddingTable, teacher: EmbeddingTable | None, class_weights: np.ndarray | None, *, at_least: int) -> None:
    """Raise unless the tables can be measured side by side.

    Args:
        student: embeddings of the encoder that is measured.
        teacher: embeddings of the teacher over the same images in the same order, or None.
        class_weights: (D, C) zero-shot classifier weights, or None.
        at_least: images needed in each domain.

    Raises:
        ValueError: for a missing or too small domain, a class in one domain only, embeddings that do not vary, ids, labels or
            domains that differ between student and teacher, or a dimension that differs from `class_weights`.
    """
    for domain in DOMAINS:
        count = int((student.domain == domain).sum())
        if count < at_least:
            more = (
                f"give held-out {domain} images too" if count == 0 else f"give more {domain} images, or raise the limit where one was set"
            )
            raise ValueError(f"`student` must hold at least {at_least} {domain} images, got {count}; {more}.")
    _check_classes(student, class_weights)
    for role, table in (("student", student), ("teacher", teacher)):
        if table is None:
            continue
        first = table.embeddings[:1]
        if all(np.allclose(rows, first, rtol=1e-5, atol=1e-7) for rows in _pieces(table.embeddings)):
            raise ValueError(
                f"`{role}` embeddings of {table.name!r} must vary, got one vector for all {len(table)} images; "
                "the encoder collapsed or its weights did not load."
            )
        weights = table.classifier(class_weights)
        if weights is not None and table.dimension != weights.shape[0]:
            raise ValueError(
                f"`class_weights` must have shape (D, C) with D = {table.dimension} as in `{role}`, got {weights.shape}; "
                "use the weights of this teacher's text tower."
            )
    if teacher is not None:
        _check_pair(student, teacher)


def check_sights(student: ProbeInput, teacher: ProbeInput | None, class_weights: np.ndarray | None, *, at_least: int) -> None:
    """Raise unless two encoders can be measured on the same images side by side.

    Probes that change images show both encoders the very same pixels; resizing is the encoders' own business. With two sizes, an edit of so many
    pixels and a band of frequencies would be two different things.

    Args:
        student: the encoder that is measured, with its images.
        teacher: its teacher, or None.
        class_weights: (D, C) zero-shot classifier weights, or None.
        at_least: images needed in each domain.

    Raises:
        ValueError: for tables that `check_tables` refuses, and for pixels of another size or of other images; of these up to `COMPARED` are compared.
    """
    check_tables(student.table, None if teacher is None else teacher.table, class_weights, at_least=at_least)
    if teacher is None:
        return
    if student.size != teacher.size:
        raise ValueError(
            f"`teacher` must be shown the pixels of `student`, got images of {_size(teacher)} beside {_size(student)}; "
            "decode them at one size, encoders resize by themselves."
        )
    if all(ours is theirs for ours, theirs in itertools.zip_longest(student.pixels, teacher.pixels)):
        return
    rows = np.unique(np.linspace(0, len(student) - 1, COMPARED).astype(int))
    differs = (student.raw(rows) != teacher.raw(rows)).any(axis=(1, 2, 3))
    if differs.any():
        raise ValueError(
            f"`teacher` must be shown the pixels of `student`, got another image for {student.table.ids[rows[differs.argmax()]].item()!r}; "
            "give both the same `pixels`."
        )


def _size(encoder: ProbeInput) -> str:
    height, width = encoder.size
    return f"{height} x {width} pixels"


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield blocks of rows of (N, D), so that a search that ends in the first block need not read the rest."""
    return (array[start : start + BLOCK_ROWS] for start in range(0, len(array), BLOCK_ROWS))


def _check_classes(student: EmbeddingTable, class_weights: np.ndarray | None) -> None:
    real, synthetic = (np.unique(student.labels[student.domain == domain]) for domain in DOMAINS)
    alone = np.setxor1d(real, synthetic)
    if len(alone):
        where = "real" if alone[0] in real else "synthetic"
        raise ValueError(
            f"Every class must occur in both domains, got class {alone[0]} among {where} images only; drop it or add its images."
        )
    if class_weights is None:
        return
    if class_weights.ndim != 2 or not np.isfinite(class_weights).all():
        raise ValueError(f"`class_weights` must be a finite (D, C) array, got shape {class_weights.shape}; embed the class prompts again.")
    if real.max() >= class_weights.shape[1]:
        raise ValueError(
            f"`labels` must be below C = {class_weights.shape[1]} of `class_weights`, got {real.max()}; use the same class list."
        )


def _check_pair(student: EmbeddingTable, teacher: EmbeddingTable) -> None:
    if len(student) != len(teacher):
        raise ValueError(f"`teacher` must have the {len(student)} images of `student`, got {len(teacher)}; embed the same split with both.")
    for what in ("ids", "labels", "domain"):
        ours, theirs = getattr(student, what), getattr(teacher, what)
        differs = np.flatnonzero(ours != theirs)
        if len(differs):
            row = differs[0]
            raise ValueError(
                f"`teacher` must have the {what} of `student` in the same order, got {theirs[row].item()!r} for {ours[row].item()!r} "
                f"in row {row}; embed the same split with both."
            )


def versions() -> dict[str, str]:
    """Name the packages that compute a probe's numbers, with their versions."""
    installed = {}
    for package in ("numpy", "scipy", "scikit-learn", "synthgap"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed
