"""Classifiers that tell synthetic from real embeddings, each image scored by models that never saw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.stats.auc import auc_over_cells
from probes.stats.logistic import LogisticFits

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""scikit-learn's `C`, on standardised coordinates: from nearly the difference of means to nearly unregularised."""


@dataclass(frozen=True)
class DomainScores:
    """Held-out scores of a linear classifier.

    Args:
        scores: (M,) log odds of synthetic for the images of the sample, each by the model of its own fold.
        directions: (K, D) normals of the K models in embedding space, pointing to synthetic.
        offsets: (K,) constants of the K models.
        strengths: (K,) the regularisation each fold chose.
    """

    scores: np.ndarray
    directions: np.ndarray
    offsets: np.ndarray
    strengths: np.ndarray

    @property
    def direction(self) -> np.ndarray:
        """Unit mean of the K unit normals, (D,) float32."""
        mean = (self.directions / np.linalg.norm(self.directions, axis=1, keepdims=True)).mean(axis=0)
        return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)

    def score_unseen(self, embeddings: np.ndarray) -> np.ndarray:
        """Score images outside the sample by the mean of the K models, (N,)."""
        return embeddings @ self.directions.mean(axis=0) + self.offsets.mean()


def logistic_scores(
    embeddings: np.ndarray, synthetic: np.ndarray, fold: np.ndarray, cells: np.ndarray, *, labels: np.ndarray | None = None
) -> DomainScores:
    """Score each image by an L2-regularised logistic regression fitted on the other folds.

    The strength is chosen within the training folds: fitted on all but the next fold, judged by the AUC on that one, refitted on all.

    Args:
        embeddings: (M, D).
        synthetic: (M,) bool.
        fold: (M,) fold of each image.
        cells: (M,) images compared with each other when the strength is judged (the fold, or class and fold).
        labels: (M,) remove class means before fitting, or None. The sample holds equally many real and synthetic images of every class,
            so a class mean carries no domain.
    """
    folds = int(fold.max()) + 1
    numbers = np.arange(folds)
    outer, inner = (
        numbers[:, None] != numbers,
        (numbers[:, None] + 1) % folds != numbers,
    )  # (K, K) by held-out fold: the folds that are fitted on
    fits = LogisticFits(embeddings, synthetic, fold=fold, kept=np.concatenate([outer, outer & inner]), within=labels)
    strengths, start = np.full(folds, STRENGTHS[1]), None
    if folds > 2:
        tried = fits.fit(np.repeat(numbers + folds, len(STRENGTHS)), STRENGTHS * folds)
        best = []
        for held_out in range(folds):
            judged = np.where(fold == (held_out + 1) % folds, cells, -1)
            columns = range(held_out * len(STRENGTHS), (held_out + 1) * len(STRENGTHS))
            best.append(max(columns, key=lambda column: auc_over_cells(tried.scores[:, column], synthetic, judged).value))
        strengths, start = np.array(STRENGTHS * folds)[best], tried.start[best]
    models = fits.fit(numbers, strengths, start)
    return DomainScores(models.scores[np.arange(len(fold)), fold], models.directions, models.offsets, strengths)


def neighbour_scores(
    embeddings: np.ndarray, synthetic: np.ndarray, fold: np.ndarray, *, neighbours: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """Score each image by the share of synthetic ones among its nearest neighbours in the other folds, (M,) in [0, 1].

    Args:
        embeddings: (M, D) of length one, so that neighbours by cosine and by distance agree.
        synthetic: (M,) bool.
        fold: (M,) fold of each image.
        neighbours: k; fewer where the other folds hold fewer.
        labels: (M,) look among images of the same class only, or None.
    """
    scores = np.full(len(synthetic), 0.5)
    strata = np.zeros(len(synthetic), dtype=np.int64) if labels is None else labels
    for stratum in np.unique(strata):
        for held_out in np.unique(fold):
            rows = np.flatnonzero((strata == stratum) & (fold == held_out))
            candidates = np.flatnonzero((strata == stratum) & (fold != held_out))
            k = min(neighbours, len(candidates))
            if not len(rows) or not k:
                continue
            near = np.argpartition(-(embeddings[rows] @ embeddings[candidates].T), k - 1, axis=1)[:, :k]
            scores[rows] = synthetic[candidates][near].mean(axis=1)
    return scores


def file_fact_scores(metadata: dict[str, np.ndarray], synthetic: np.ndarray, fold: np.ndarray, *, seed: int) -> np.ndarray:
    """Score each image by its file alone (codec, size, quality, aspect), by boosted trees fitted on the other folds, (M,).

    Trees, since file facts separate by ranges and single values as often as by more and less.

    Args:
        metadata: name -> (M,) column; text columns become one column a value, `width` and `height` also give the aspect.
        synthetic: (M,) bool.
        fold: (M,) fold of each image.
        seed: seed of the trees.

    Returns:
        (M,) scores, higher for synthetic; all 0 where no fact differs among the images that are learnt from.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = []
    for column in metadata.values():
        if column.dtype.kind in "iufb":
            columns.append(column.astype(np.float64))
        else:
            text = column.astype(str)
            columns += [(text == value).astype(np.float64) for value in np.unique(text)]
    if {"width", "height"} <= set(metadata):
        columns.append(metadata["width"] / metadata["height"])
    facts = np.stack(columns, axis=1)
    scores = np.zeros(len(synthetic))
    for held_out in np.unique(fold):
        train = fold != held_out
        # A fact that never differs tells nothing, and scikit-learn 1.9 fails on a column of one value.
        telling = [len(np.unique(column[~np.isnan(column)])) > 1 for column in facts[train].T]
        if any(telling):
            model = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)
            used = facts[:, telling]
            scores[~train] = model.fit(used[train], synthetic[train]).decision_function(used[~train])
    return scores
