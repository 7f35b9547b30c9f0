"""Few-shot probe: how well a handful of labelled images a class lets one read the classes from frozen embeddings."""

from __future__ import annotations

import math

import numpy as np

from probes.stats.folds import stratified_folds
from probes.stats.intervals import Interval, Z

SHOTS = (1, 4, 16)


def few_shot_accuracy(
    x: np.ndarray, labels: np.ndarray, *, shots: int, draws: int = 10, seed: int = 0
) -> tuple[float, Interval, int] | None:
    """Measure the mean accuracy over draws of `shots` images a class, in [0, 1]; None when a class has too few images.

    The images are halved by class: shots come from one half, all test images from the other. The classifier is ridge regression on
    -1 / +1 for each class, of embeddings minus the shots' mean, with the penalty equal to their mean squared length: with one shot it is
    nearly the nearest class mean, with many a discriminant.

    Args:
        x: (N, D) of length one.
        labels: (N,) class of each image.
        shots: k.
        draws: number of draws of shots.
        seed: seed of halves and draws.

    Returns:
        The accuracy, its interval over images and draws, and the number of images tested; or None.

    Source: ours; the protocol (k images a class, several draws) is that of Radford et al. (2021), section 3.1.5.
    """
    half = stratified_folds(labels, folds=2, seed=seed)
    pools = [np.flatnonzero((labels == label) & (half == 0)) for label in np.unique(labels)]
    test = np.flatnonzero(half == 1)
    if len(pools) < 2 or min(map(len, pools)) < shots or len(test) < 2:
        return None
    rng = np.random.default_rng(seed)
    correct, test_embeddings = np.empty((draws, len(test))), x[test].astype(np.float64)
    for draw in range(draws):
        chosen = np.concatenate([rng.choice(pool, shots, replace=False) for pool in pools])
        correct[draw] = _predict(x[chosen].astype(np.float64), labels[chosen], test_embeddings) == labels[test]
    by_image, by_draw = correct.mean(axis=0), correct.mean(axis=1)
    variance = float(by_image.var(ddof=1)) / len(test) + (float(by_draw.var(ddof=1)) / draws if draws > 1 else 0.0)
    value = float(correct.mean())
    half_width = Z * math.sqrt(variance)
    return value, (value - half_width, value + half_width), len(test)


def _predict(shots: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Classify `test` (n, D) by ridge regression in its dual form, since there are fewer shots than coordinates."""
    classes, place = np.unique(labels, return_inverse=True)
    middle = shots.mean(axis=0)
    shots = shots - middle
    gram = shots @ shots.T
    targets = 2.0 * np.eye(len(classes))[place] - 1
    penalty = max(float(np.trace(gram)) / len(gram), 1e-12)
    dual = np.linalg.solve(gram + penalty * np.eye(len(gram)), targets - targets.mean(axis=0))
    normals = shots.T @ dual
    return classes[(test @ normals + (targets.mean(axis=0) - middle @ normals)).argmax(axis=1)]
