"""Linear probe: how well the classes can be read from frozen embeddings, by cross-fitting."""

from __future__ import annotations

import numpy as np

from probes.stats.folds import stratified_folds


def cross_fitted_predictions(
    embeddings: np.ndarray, labels: np.ndarray, *, folds: int = 5, strength: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Predict each image's class by a logistic regression fitted on the other folds, (N,) int64.

    Args:
        embeddings: (N, D); every coordinate is standardised on the training folds.
        labels: (N,) class indices, each at least `folds` times.
        folds: number of stratified folds.
        strength: scikit-learn's `C` on standardised coordinates; the default is scikit-learn's own.
        seed: seed of the folds.
    """
    fold = stratified_folds(labels, folds=folds, seed=seed)
    predicted = np.empty(len(labels), dtype=np.int64)
    for held_out in range(folds):
        train = fold != held_out
        predicted[~train] = linear_predictions(embeddings[train], labels[train], embeddings[~train], strength=strength)
    return predicted


def linear_predictions(train: np.ndarray, labels: np.ndarray, test: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """Predict the classes of `test` by a logistic regression fitted on `train`, (n,) int64.

    Args:
        train: (N, D); every coordinate is standardised.
        labels: (N,) class indices, at least two different.
        test: (n, D).
        strength: scikit-learn's `C`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3))
    return model.fit(train.astype(np.float64), labels).predict(test.astype(np.float64))
