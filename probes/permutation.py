"""Permutation test of separability: the whole cross-fitted classifier again, under shuffled domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from probes.domain_classifiers import remove_class_means


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of the test.

    Args:
        p_value: in [1 / (B + 1), 1].
        observed: AUC of the ridge classifier under the true domains.
        null_auc: (B,) its AUC under shuffled ones.
        as_extreme: how many of the B reached the observed one.
    """

    p_value: float
    observed: float
    null_auc: np.ndarray
    as_extreme: int


def permutation_test(
    embeddings: np.ndarray,
    synthetic: np.ndarray,
    fold: np.ndarray,
    labels: np.ndarray,
    *,
    within_class: bool,
    permutations: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> PermutationTest:
    """Test whether a linear classifier separates the domains better than it would separate halves drawn by lot.

    The statistic is the held-out AUC of a ridge regression on -1 / +1 (the same direction as a regularised linear discriminant).
    Domains are shuffled among images of the same class and fold, so that every shuffle keeps the counts that decided the folds:
    given those counts each arrangement is equally likely when class and fold are all that domain depends on, and the test is exact. The
    classifier is refitted on every shuffle; since embeddings and folds stay, one factorisation a fold serves all of them.

    Args:
        embeddings: (M, D).
        synthetic: (M,) bool.
        fold: (M,) fold of each image.
        labels: (M,) class of each image.
        within_class: remove class means and average the AUC within classes, instead of pooling them.
        permutations: B.
        seed: seed of the shuffles.
        groups: (M,) when every group lies in one domain, whole groups change domain together.

    Source: ours; validity by Phipson & Smyth (2010), p = (1 + as extreme) / (1 + B).
    """
    stratum = labels * (int(fold.max()) + 1) + fold
    domains = np.concatenate(
        [synthetic[:, None], shuffled(synthetic, stratum, permutations=permutations, seed=seed, groups=groups)], axis=1
    )
    targets = np.where(domains, 1.0, -1.0)
    areas, weights = [], []
    for held_out in range(int(fold.max()) + 1):
        train, test = fold != held_out, fold == held_out
        if not test.any():
            continue
        features = remove_class_means(embeddings, labels, train) if within_class else embeddings
        outcome = _ridge(features[train], targets[train], features[test])
        cells = [test & (labels == label) for label in np.unique(labels[test])] if within_class else [test]
        for cell in cells:
            areas.append(_areas(outcome[cell[test]], domains[cell]))
            weights.append(cell.sum())
    area = np.stack(areas)  # (cells, 1 + B); NaN where a shuffle of groups left a cell with one domain
    weight = np.where(np.isnan(area), 0.0, np.array(weights, dtype=float)[:, None])
    mean = (np.nan_to_num(area) * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    observed, null = float(mean[0]), mean[1:]
    extreme = int((null >= observed - 1e-12).sum())
    return PermutationTest((1 + extreme) / (1 + permutations), observed, null, extreme)


def shuffled(synthetic: np.ndarray, stratum: np.ndarray, *, permutations: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Shuffle domains within strata, by image or by whole group, (M, B) bool.

    Args:
        synthetic: (M,) bool.
        stratum: (M,) images of different strata are never exchanged.
        permutations: B.
        seed: seed of the shuffles.
        groups: (M,) or None; used only when every group lies in one domain, since otherwise the images are exchangeable inside it.
    """
    rng = np.random.default_rng(seed)
    unit = np.arange(len(synthetic))
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1]
        share = np.bincount(number, synthetic) / np.bincount(number)
        if np.isin(share, (0.0, 1.0)).all():
            unit = number
    result = np.empty((len(synthetic), permutations), dtype=bool)
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        _units, first, place = np.unique(unit[rows], return_index=True, return_inverse=True)
        domain = np.repeat(synthetic[rows][first][:, None], permutations, axis=1)  # (units, B)
        result[rows] = rng.permuted(domain, axis=0)[place]
    return result


def _ridge(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict (n_test, B) targets by ridge regression on standardised coordinates; penalty 1 % of the training images."""
    middle, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    train, test = (train - middle) / scale, (test - middle) / scale
    gram = train.T @ train + 0.01 * len(train) * np.eye(train.shape[1])
    return test @ np.linalg.solve(gram, train.T @ (targets - targets.mean(axis=0)))


def _areas(scores: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Give the AUC of each column, NaN for a column with one domain."""
    made = synthetic.sum(axis=0)
    real = len(scores) - made
    ranks = np.where(synthetic, stats.rankdata(scores, axis=0), 0.0).sum(axis=0)
    pairs = np.where((made > 0) & (real > 0), made * real, np.nan)
    return (ranks - made * (made + 1) / 2) / pairs
