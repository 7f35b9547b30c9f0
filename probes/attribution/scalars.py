"""The two logits of an image that are attributed: the zero-shot logit of its class, and the domain logit of a linear probe for synthetic.

Both are the embedding's cosine with a direction, f(x) = z(x) . v / |z(x)|, so that a method needs only the direction of each image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.compute.threads import one_thread
from probes.embeddings import EmbeddingTable
from probes.stats.auc import CrossFittedAuc, auc_over_cells
from probes.stats.domain_classifiers import logistic_scores
from probes.stats.folds import balanced_sample, stratified_folds

SCALARS = ("zero_shot", "domain")


def zero_shot_directions(labels: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """Compute the direction of each image's zero-shot logit: its class text minus the mean of the other classes' texts.

    The mean is taken off because what raises every class at once does not decide for one.

    Args:
        labels: (n,) class index of each image.
        class_weights: (D, C).

    Returns:
        (n, D) float32.
    """
    unit = (class_weights / np.linalg.norm(class_weights, axis=0)).T.astype(np.float64)  # (C, D)
    classes = len(unit)
    others = (unit.sum(axis=0) - unit) / max(classes - 1, 1)
    return (unit - others)[labels].astype(np.float32)


def predicted_classes(embeddings: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """Return the class of the largest cosine, (n,) int64.

    Args:
        embeddings: (n, D).
        class_weights: (D, C).
    """
    return (embeddings @ (class_weights / np.linalg.norm(class_weights, axis=0))).argmax(axis=1)


@dataclass(frozen=True)
class DomainLogit:
    """A linear probe of real against synthetic in the embedding, which scores no image that it was fitted on.

    Args:
        rows: (M,) rows of the table it was cross-fitted on, as many real as synthetic in each class.
        fold: (M,) fold of each.
        normals: (K, D) unit normals of the K models, pointing to synthetic.
        auc: held-out AUC, chance 0.5.
    """

    rows: np.ndarray
    fold: np.ndarray
    normals: np.ndarray
    auc: CrossFittedAuc

    def directions(self, rows: np.ndarray) -> np.ndarray:
        """Compute the direction of each image, (n, D) float32: of the model that did not see it, or the mean of all for unseen images."""
        place = np.full(int(max(self.rows.max(), rows.max(initial=0))) + 1, -1)
        place[self.rows] = self.fold
        directions = np.where(place[rows, None] >= 0, self.normals[place[rows]], self.normals.mean(axis=0))
        return directions.astype(np.float32)


@one_thread
def domain_logit(table: EmbeddingTable, *, seed: int, folds: int = 5, max_images: int = 2000) -> DomainLogit:
    """Fit the domain probe of one encoder by cross-fitting on a sample balanced by class and domain.

    Args:
        table: embeddings of both domains.
        seed: seed of the sample and the folds; the same for student and teacher gives the same images.
        folds: K.
        max_images: images of the sample.
    """
    synthetic = table.domain == "synthetic"
    rows = balanced_sample(table.labels, synthetic, max_images=max_images, seed=seed)
    is_synthetic = synthetic[rows]
    fold = stratified_folds(2 * table.labels[rows] + is_synthetic, folds=folds, seed=seed)
    if any(len(np.unique(is_synthetic[fold == number])) < 2 for number in range(folds)):
        fold = stratified_folds(is_synthetic.astype(np.int64), folds=folds, seed=seed)  # classes too small to be spread each by itself
    classifiers = logistic_scores(table.embeddings[rows].astype(np.float64), is_synthetic, fold, fold)
    lengths = np.linalg.norm(classifiers.directions, axis=1, keepdims=True)
    return DomainLogit(
        rows, fold, classifiers.directions / np.maximum(lengths, 1e-12), auc_over_cells(classifiers.scores, is_synthetic, fold)
    )
