"""Refit of a projection: can a linear map of what the student sees bring it back to the teacher's space, or to the classes?"""

from __future__ import annotations

import numpy as np

from probes.folds import stratified_folds

PENALTIES = tuple(10.0**power for power in range(-7, 1))
"""Ridge penalties, as shares of the mean variance of a coordinate."""


def ridge_map(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit targets = x A + b by least squares with the ridge penalty that generalised cross-validation prefers.

    Args:
        x: (N, F).
        targets: (N, D).

    Returns:
        A (F, D) and b (D,).

    Source: Golub, Heath & Wahba (1979), equation 2.1.
    """
    x, targets = np.asarray(x, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    middle, aim = x.mean(axis=0), targets.mean(axis=0)
    centred = x - middle
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values = np.maximum(values, 0.0)
    scale = max(float(values.mean()), 1e-300)
    rotated = vectors.T @ (centred.T @ (targets - aim))  # (F, D)
    whole = float(np.sum((targets - aim) ** 2))
    power = np.sum(rotated**2, axis=1)  # (F,)
    best = (np.inf, 0.0)
    for share in PENALTIES:
        grown = values + share * scale
        residual = whole - float(np.sum(power * (values + 2 * share * scale) / grown**2))
        freedom = len(x) - 1 - float(np.sum(values / grown))
        best = min(best, (max(residual, 0.0) / max(freedom, 1e-9) ** 2, share * scale))
    matrix = vectors @ (rotated / (values + best[1])[:, None])
    return matrix, aim - middle @ matrix


def refit_predictions(x: np.ndarray, targets: np.ndarray, labels: np.ndarray, class_weights: np.ndarray, *, seed: int) -> np.ndarray:
    """Classify each image zero-shot after a linear map that was fitted on the other half of the images, (N,) int64.

    Args:
        x: (N, F) features or embeddings of the student.
        targets: (N, D) what the map aims at: the teacher's embeddings, or the text of the image's class.
        labels: (N,) classes, spread evenly over the halves.
        class_weights: (D, C), columns of length one.
        seed: seed of the halves.

    Source: ours.
    """
    half = stratified_folds(labels, folds=2, seed=seed)
    predicted = np.empty(len(labels), dtype=np.int64)
    for test in (0, 1):
        matrix, offset = ridge_map(x[half != test], targets[half != test])
        predicted[half == test] = mapped_answers(x[half == test], matrix, offset, class_weights)
    return predicted


def mapped_answers(x: np.ndarray, matrix: np.ndarray, offset: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """Classify x (N, F) zero-shot after the map, (N,); the length of an embedding does not decide."""
    return ((x @ matrix + offset) @ class_weights).argmax(axis=1)
