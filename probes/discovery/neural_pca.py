"""Class-wise neural PCA: the directions in which images of one class differ for the logit of that class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Components:
    """Components of one class, found on some images and good for any.

    Args:
        middle: (D,) mean of the weighted embeddings.
        axes: (D, K) unit columns, largest variance first.
        weight: (D,) the class weight vector.
    """

    middle: np.ndarray
    axes: np.ndarray
    weight: np.ndarray

    def contributions(self, embeddings: np.ndarray) -> np.ndarray:
        """Return what each component adds to the class logit of each image, (N, K); over all D components they add up to logit minus mean.

        Args:
            embeddings: (N, D) unit rows.

        Source: Neuhaus et al. (2023), section 3: alpha_l = <1, v_l> <v_l, w * phi(x) - mean>.
        """
        return ((embeddings * self.weight - self.middle) @ self.axes) * self.axes.sum(axis=0)


def neural_pca(embeddings: np.ndarray, weight: np.ndarray, *, count: int) -> Components:
    """Find the principal components of a class's embeddings, each coordinate weighted by the class weight vector.

    With a zero-shot classifier the weight vector is the embedding of the class text.

    Args:
        embeddings: (N, D) unit rows of images of one class.
        weight: (D,) its zero-shot weight, unit length.
        count: K, at most min(N - 1, D).

    Source: Neuhaus, Augustin, Boreiko & Hein (2023), with the class text in place of the last layer.
    """
    weighted = embeddings.astype(np.float64) * weight
    middle = weighted.mean(axis=0)
    axes = np.linalg.svd(weighted - middle, full_matrices=False)[2][:count].T
    axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)  # the sign of an axis is arbitrary; the contributions do not depend on it
    return Components(middle, axes, np.asarray(weight, dtype=np.float64))
