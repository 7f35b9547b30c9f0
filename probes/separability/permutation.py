"""Permutation test of separability: the whole cross-fitted classifier again, under shuffled domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from probes.stats.logistic import indicator

_LEAST_SPREAD = 1e-6
"""Spread of a coordinate within classes, as a share of its whole, below which it is rounding and the coordinate counts as constant."""


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


class ShuffledDomains:
    """The domains and their shuffles, and the sums over folds from which a ridge regression on any of them follows.

    Domains are shuffled among images of the same class and fold, so that every shuffle keeps the counts that decided the folds:
    given those counts each arrangement is equally likely when class and fold are all that domain depends on, and the test is exact.

    Args:
        embeddings: (M, D).
        synthetic: (M,) bool.
        fold: (M,) fold of each image.
        labels: (M,) class of each image.
        permutations: B.
        seed: seed of the shuffles.
        groups: (M,) when every group lies in one domain, whole groups change domain together.

    Source: ours; validity by Phipson & Smyth (2010), p = (1 + as extreme) / (1 + B).
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        synthetic: np.ndarray,
        fold: np.ndarray,
        labels: np.ndarray,
        *,
        permutations: int,
        seed: int,
        groups: np.ndarray | None = None,
    ) -> None:
        drawn = shuffled(synthetic, labels * (int(fold.max()) + 1) + fold, permutations=permutations, seed=seed, groups=groups)
        self.domains = np.concatenate([synthetic[:, None], drawn], axis=1)  # (M, 1 + B)
        self.x = embeddings - embeddings.mean(axis=0)
        self.fold, self.labels = fold, labels
        self.place = np.unique(labels, return_inverse=True)[1]
        self.sums = [self._sums(fold == number) for number in range(int(fold.max()) + 1)]

    def _sums(self, rows: np.ndarray) -> _Sums:
        x, targets = self.x[rows], np.where(self.domains[rows], 1.0, -1.0)
        member = indicator(self.place[rows], int(self.place.max()) + 1)  # (C, n)
        return _Sums(member.sum(axis=1), member @ x, member @ targets, x.T @ x, x.T @ targets)

    def test(self, *, within_class: bool) -> PermutationTest:
        """Test whether a linear classifier separates the domains better than it would separate random halves.

        The statistic is the held-out AUC of a ridge regression on -1 / +1 (the same direction as a regularised linear discriminant). The
        classifier is refitted on every shuffle; since embeddings and folds stay, one factorisation a fold serves all of them.

        Args:
            within_class: remove class means and average the AUC within classes, instead of pooling them.
        """
        areas, weights = [], []
        for held_out in range(len(self.sums)):
            test = self.fold == held_out
            if not test.any():
                continue
            # what a cell's images have in common, such as their class mean, changes no AUC within the cell
            outcome = self.x[test] @ _ridge(
                [part for number, part in enumerate(self.sums) if number != held_out], within_class=within_class
            )
            cells = [test & (self.labels == label) for label in np.unique(self.labels[test])] if within_class else [test]
            for cell in cells:
                areas.append(_areas(outcome[cell[test]], self.domains[cell]))
                weights.append(cell.sum())
        area = np.stack(areas)  # (cells, 1 + B); NaN where a shuffle of groups left a cell with one domain
        weight = np.where(np.isnan(area), 0.0, np.array(weights, dtype=float)[:, None])
        mean = (np.nan_to_num(area) * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
        observed, null = float(mean[0]), mean[1:]
        extreme = int((null >= observed - 1e-12).sum())
        return PermutationTest((1 + extreme) / (1 + len(null)), observed, null, extreme)


@dataclass(frozen=True)
class _Sums:
    """Sums over the images of a fold: their number, rows and targets by class, and the products of rows with rows and with targets."""

    n: np.ndarray
    x: np.ndarray
    t: np.ndarray
    xx: np.ndarray
    xt: np.ndarray


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


def _ridge(parts: list[_Sums], *, within_class: bool) -> np.ndarray:
    """Compute the normals (D, 1 + B) of ridge regression on coordinates standardised over some folds; penalty 1 % of their images."""
    n, x, t, xx, xt = (sum(getattr(part, name) for part in parts) for name in ("n", "x", "t", "xx", "xt"))
    if not within_class:
        n, x, t = (total.sum(axis=0, keepdims=True) for total in (n, x, t))
    means = x / np.maximum(n, 1)[:, None]  # (C, D)
    scatter, cross = xx - x.T @ means, xt - means.T @ t
    scale = np.sqrt(np.maximum(np.diag(scatter), 0.0) / n.sum())
    scale = np.where(scale > _LEAST_SPREAD * np.sqrt(np.diag(xx) / n.sum()) + 1e-12, scale, 1.0)
    scatter = scatter / np.outer(scale, scale) + 0.01 * n.sum() * np.eye(len(scale))
    return np.linalg.solve(scatter, cross / scale[:, None]) / scale[:, None]


def _areas(scores: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Compute the AUC of each column, NaN for a column with one domain."""
    synthetic_counts = synthetic.sum(axis=0)
    real = len(scores) - synthetic_counts
    ranks = np.where(synthetic, stats.rankdata(scores, axis=0), 0.0).sum(axis=0)
    pairs = np.where((synthetic_counts > 0) & (real > 0), synthetic_counts * real, np.nan)
    return (ranks - synthetic_counts * (synthetic_counts + 1) / 2) / pairs
