"""Refit of a projection: can a linear map of what the student sees bring it back to the teacher's space, or to the classes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.stats.folds import stratified_folds

PENALTIES = tuple(10.0**power for power in range(-7, 1))
"""Ridge penalties, as shares of the mean variance of a coordinate."""


@dataclass
class Moments:
    """Sums over images that decide a least-squares map from x (n, F) to targets (n, K); they grow by blocks and add up.

    Both are counted from an origin near the data, so that taking off the mean afterwards loses no digits.

    Args:
        origin: (F,) and (K,) taken off every row.
        n: images counted so far.
        x: (F,) sum.
        t: (K,) sum.
        xx: (F, F) sum of products.
        xt: (F, K) sum of products.
        tt: (K, K) sum of products, or its diagonal (K,) where no `decode` of `ridge_of` is meant.
    """

    origin: tuple[np.ndarray, np.ndarray]
    n: int
    x: np.ndarray
    t: np.ndarray
    xx: np.ndarray
    xt: np.ndarray
    tt: np.ndarray

    @classmethod
    def empty(cls, origin_x: np.ndarray, origin_t: np.ndarray) -> Moments:
        """Start from an origin."""
        f, k = len(origin_x), len(origin_t)
        origin = origin_x.astype(np.float64), origin_t.astype(np.float64)
        return cls(origin, 0, np.zeros(f), np.zeros(k), np.zeros((f, f)), np.zeros((f, k)), np.zeros(k))

    def add(self, x: np.ndarray, targets: np.ndarray) -> None:
        """Count a block of images."""
        x, targets = x - self.origin[0], targets - self.origin[1]
        self.n += len(x)
        self.x += x.sum(axis=0)
        self.t += targets.sum(axis=0)
        self.xx += x.T @ x
        self.xt += x.T @ targets
        self.tt += np.einsum("nk,nk->k", targets, targets)

    def __add__(self, other: Moments) -> Moments:
        """Return the sums of both; their origins must be the same."""
        names = ("n", "x", "t", "xx", "xt", "tt")
        return Moments(self.origin, *(getattr(self, name) + getattr(other, name) for name in names))

    def columns(self, chosen: slice) -> Moments:
        """Keep some of the targets."""
        origin = self.origin[0], self.origin[1][chosen]
        return Moments(origin, self.n, self.x, self.t[chosen], self.xx, self.xt[:, chosen], self.tt[chosen])


def spectrum_of(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Compute the eigenvalues (F,), none below 0, and eigenvectors (F, F) of the scatter of x, whatever the targets."""
    far = moments.x / moments.n
    values, vectors = np.linalg.eigh(moments.xx - moments.n * np.outer(far, far))
    return np.maximum(values, 0.0), vectors


def ridge_of(
    moments: Moments, *, decode: np.ndarray | None = None, spectrum: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit targets = x A + b by least squares with the ridge penalty that generalised cross-validation prefers.

    Args:
        moments: of x (N, F) and targets (N, K), or of indicators of K classes.
        decode: (K, D) what each class aims at, when the targets are indicators; the fit is then that of `indicators @ decode`.
        spectrum: from `spectrum_of`, where several maps start from the same x, or None.

    Returns:
        A (F, D) and b (D,).

    Source: Golub, Heath & Wahba (1979), equation 2.1.
    """
    n, far, off = moments.n, moments.x / moments.n, moments.t / moments.n  # means, counted from the origin
    values, vectors = spectrum_of(moments) if spectrum is None else spectrum
    scale = max(float(values.mean()), 1e-300)
    cross = moments.xt - n * np.outer(far, off)
    aim = off + moments.origin[1]
    if decode is None:
        whole = float(np.sum(moments.tt - n * off**2))
    else:  # of indicators sum of squares is the count, whatever else is in `targets`
        counts = moments.t + n * moments.origin[1]
        whole = float(counts @ np.sum((decode - aim @ decode) ** 2, axis=1))
        cross, aim = cross @ decode, aim @ decode
    rotated = vectors.T @ cross  # (F, D)
    power = np.sum(rotated**2, axis=1)  # (F,)
    best = (np.inf, 0.0)
    for share in PENALTIES:
        grown = values + share * scale
        residual = whole - float(np.sum(power * (values + 2 * share * scale) / grown**2))
        freedom = n - 1 - float(np.sum(values / grown))
        best = min(best, (max(residual, 0.0) / max(freedom, 1e-9) ** 2, share * scale))
    matrix = vectors @ (rotated / (values + best[1])[:, None])
    return matrix, aim - (far + moments.origin[0]) @ matrix


def ridge_map(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit targets (N, D) = x (N, F) A + b, all rows at once; see `ridge_of`."""
    moments = Moments.empty(x.mean(axis=0), targets.mean(axis=0))
    moments.add(np.asarray(x, dtype=np.float64), np.asarray(targets, dtype=np.float64))
    return ridge_of(moments)


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
        matrix, offset = answers_of(ridge_map(x[half != test], targets[half != test]), class_weights)
        predicted[half == test] = (x[half == test] @ matrix + offset).argmax(axis=1)
    return predicted


def answers_of(fitted: tuple[np.ndarray, np.ndarray], class_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join a map A, b and the classifier (D, C) to one map x -> logits, (F, C) and (C,); the length of an embedding does not decide."""
    return fitted[0] @ class_weights, fitted[1] @ class_weights
