"""Slices: groups of images that lie together in the embedding and that the student gets wrong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS = 8
"""Principal components that a mixture sees; more make its spherical groups meaningless."""

ERROR_WEIGHT = 0.5
"""Step from right to wrong beside the spread of a principal component (1): enough to draw a border between groups along the errors, not
enough to split one group of images into its right and its wrong ones, which held-out images could not be told apart by."""

_LEAST_VARIANCE = 0.1


@dataclass(frozen=True, eq=False)
class Slices:
    """Groups, worst first.

    Args:
        member: (N,) group of each image, 0 … K - 1.
        fitted: (N,) bool, images that the mixture was fitted on; error rates are to be read on the others.
    """

    member: np.ndarray
    fitted: np.ndarray


def error_slices(embeddings: np.ndarray, wrong: np.ndarray, *, count: int, seed: int) -> Slices:
    """Find groups by embedding and error on one half of the images, and assign all of them by their embedding alone.

    Args:
        embeddings: (N, D) unit rows.
        wrong: (N,) bool, whether the student was wrong.
        count: K groups.
        seed: seed of the halves and of the mixture.

    Returns:
        Groups ordered by their error rate on the fitted half, worst first.

    Source: Domino, Eyuboglu et al. (2022), with the error in place of label and prediction, and held-out assignment.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    fitted = np.zeros(len(wrong), dtype=bool)
    fitted[np.random.default_rng(seed).permutation(len(wrong))[: len(wrong) // 2]] = True
    directions = PCA(min(DIRECTIONS, embeddings.shape[1], int(fitted.sum()) - 1), svd_solver="full").fit(embeddings[fitted])
    scaled = directions.transform(embeddings)
    scaled = scaled / np.maximum(scaled[fitted].std(axis=0), 1e-9)
    features = np.column_stack([scaled, ERROR_WEIGHT * wrong])
    mixture = GaussianMixture(count, covariance_type="diag", reg_covar=_LEAST_VARIANCE, max_iter=200, random_state=seed).fit(
        features[fitted]
    )
    member = _log_density(scaled, mixture.means_[:, :-1], mixture.covariances_[:, :-1], mixture.weights_).argmax(axis=1)
    inside = [fitted & (member == group) for group in range(count)]
    rate = np.array([wrong[rows].mean() if rows.any() else -1.0 for rows in inside])
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-rate, kind="stable")] = np.arange(count)
    return Slices(rank[member], fitted)


def _log_density(values: np.ndarray, means: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the log of weight times density of each diagonal Gaussian, (N, K)."""
    distance = ((values[:, None] - means) ** 2 / variances).sum(axis=2)
    return np.log(np.maximum(weights, 1e-12)) - 0.5 * (distance + np.log(variances).sum(axis=1))
