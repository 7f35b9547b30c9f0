"""Is the direction from real to synthetic used? Its share of the zero-shot logits, and what becomes of the answers without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.result import Score
from probes.stats.intervals import as_score, paired_proportions
from probes.stats.jackknife import BlockEstimate, block_sums, deal_blocks, each_without, without

RANDOM = 20
"""Random subspaces that the domain's is compared with."""

RELATIVE_RANK = 1e-9
"""Eigenvalues below this share of the largest are rounding of float32 embeddings, whose squares are about 1e-14 of it."""


@dataclass(frozen=True)
class Spread:
    """Covariance of embeddings and the directions it allows.

    Args:
        inverse: (D, D) pseudo-inverse of the covariance.
        root: (D, r) with root root^T the covariance.
    """

    inverse: np.ndarray
    root: np.ndarray

    @property
    def rank(self) -> int:
        """Number of directions in which the embeddings vary."""
        return int(self.root.shape[1])


def spread_of(covariance: np.ndarray) -> Spread:
    """Decompose a covariance (D, D), leaving out directions without spread.

    Raises:
        ValueError: for embeddings that do not vary.
    """
    values, vectors = np.linalg.eigh(covariance)
    keep = values > RELATIVE_RANK * max(float(values[-1]), 1e-30)
    if not keep.any():
        raise ValueError("`embeddings` must vary within a class, got none that do; the encoder collapsed.")
    values, vectors = values[keep], vectors[:, keep]
    return Spread((vectors / values) @ vectors.T, vectors * np.sqrt(values))


def eraser(directions: np.ndarray, spread: Spread) -> np.ndarray:
    """Compute the matrix P (D, D) such that x - P x no longer differs along `directions`, at the least change of x in the metric of its spread.

    P = A (A^T S^-1 A)^+ A^T S^-1 for directions A. Where A holds the difference of the means of two groups, x - P x has the same mean in
    both, and no linear classifier tells them apart better than a constant.

    Args:
        directions: (D, k).
        spread: of x.

    Source: LEACE, Belrose et al. (2023), theorem 4.3.
    """
    return directions @ _readout(directions, spread).T


def _readout(directions: np.ndarray, spread: Spread) -> np.ndarray:
    """Return R (D, k) such that P = A R^T; products with the k columns cost a small part of those with P."""
    normal = spread.inverse @ directions  # (D, k)
    return normal @ np.linalg.pinv(directions.T @ normal, rcond=1e-10, hermitian=True)


def logit_share(
    x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, weights: np.ndarray, *, within_class: bool, seed: int
) -> tuple[BlockEstimate, float]:
    """Measure the share of the variance of the zero-shot logits that goes away when the domain's direction is erased, in [0, 1].

    With a the mean over classes of synthetic minus real, S the covariance of x and W the class texts minus their mean (a softmax does not
    see what all logits share), the share is ||W^T a||^2 / (a^T S^-1 a tr(W^T S W)). For a direction that noise alone has drawn (a normal with
    covariance S) its mean is exactly 1 / rank(S): the chance level. It does not change under linear maps of x and W that keep the logits.

    Args:
        x: (M, D), equally many real and synthetic images of each class.
        labels: (M,).
        synthetic: (M,) bool.
        weights: (D, C) columns of length one.
        within_class: subtract class means from x, so that the variance is that within a class.
        seed: seed of the jackknife's blocks.

    Returns:
        The estimate and its chance level.

    Source: ours, from the LEACE projection.
    """
    blocks = deal_blocks(len(x), seed=seed)
    texts = weights - weights.mean(axis=1, keepdims=True)
    classes, place = np.unique(labels, return_inverse=True)
    cell = 2 * place + synthetic  # (M,) class and domain
    member = (cell[:, None] == np.arange(2 * len(classes))).astype(np.float64)
    x = x - x.mean(axis=0)
    count = int(blocks.max()) + 1
    grams = each_without(x[blocks == g].T @ x[blocks == g] for g in range(count))  # G + 1 times (D, D)
    sums = without(np.stack([member[blocks == g].T @ x[blocks == g] for g in range(count)]))  # (G + 1, cells, D)
    sizes = without(block_sums(member, blocks))  # (G + 1, cells)
    shares, rank = [], 1
    for gram, total, size in zip(grams, sums, sizes, strict=True):
        covariance = _covariance(gram, total, size, within_class=within_class)
        means = total / np.maximum(size, 1)[:, None]
        seen = (size[0::2] > 0) & (size[1::2] > 0)
        away = (means[1::2] - means[0::2])[seen].mean(axis=0)
        normal, reached, rank = _solve(covariance, away)
        whole = float(np.sum(texts * (covariance @ texts)))
        along = float(np.sum((texts.T @ reached) ** 2))
        shares.append(min(along / max(float(away @ normal) * whole, 1e-300), 1.0))
    return BlockEstimate(shares[-1], np.array(shares[:-1])), 1 / rank


def _solve(covariance: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Compute S^+ a, its image S S^+ a and the rank of S (D, D).

    Where S is far from singular a Cholesky factor says the same as the eigenvalues for a twentieth of the time.
    """
    from scipy.linalg import cho_factor, cho_solve, lapack

    size = len(covariance)
    try:
        factor, lower = cho_factor(covariance, lower=True)
    except np.linalg.LinAlgError:
        rcond = 0.0
    else:
        rcond = float(lapack.dpocon(factor, np.abs(covariance).sum(axis=0).max(), uplo="L")[0])
    if rcond > size * RELATIVE_RANK:  # the one-norm's condition is within D of that by eigenvalues: all of them count
        return cho_solve((factor, lower), away), away, size
    spread = spread_of(covariance)
    normal = spread.inverse @ away
    return normal, spread.root @ (spread.root.T @ normal), spread.rank


def _covariance(gram: np.ndarray, total: np.ndarray, size: np.ndarray, *, within_class: bool) -> np.ndarray:
    """Compute the covariance of all images, or around class means, from sums over class and domain."""
    n = size.sum()
    if not within_class:
        mean = total.sum(axis=0)
        return (gram - np.outer(mean, mean) / n) / n
    both, number = total[0::2] + total[1::2], size[0::2] + size[1::2]
    return (gram - both.T @ (both / np.maximum(number, 1)[:, None])) / n


@dataclass(frozen=True)
class Erased:
    """Held-out zero-shot answers without the domain's direction and without random ones.

    Args:
        before: (M,) bool, right with the embedding as it is.
        after: rank's name -> (M,) bool, right without the domain's directions.
        by_lot: rank's name -> (20, M) bool, right without random directions of the same number.
    """

    before: np.ndarray
    after: dict[str, np.ndarray]
    by_lot: dict[str, np.ndarray]


def erase_domain(x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, weights: np.ndarray, fold: np.ndarray, *, seed: int) -> Erased:
    """Classify each image zero-shot after the domain's directions, found on the other folds, are erased.

    `one` erases the mean over classes of synthetic minus real; `each_class` the difference of every class, C directions. Random directions
    are drawn as the shuffling of domains would draw them: normal with the covariance of the embeddings within a class.

    Args:
        x: (M, D).
        labels: (M,).
        synthetic: (M,) bool.
        weights: (D, C) columns of length one.
        fold: (M,) fold of each image.
        seed: seed of the random directions.

    Source: LEACE (Belrose et al. 2023), in the spirit of INLP (Ravfogel et al. 2020); ours for the comparison.
    """
    rng = np.random.default_rng(seed)
    logits = x @ weights
    right = logits.argmax(axis=1) == labels
    names = ("one", "each_class")
    after = {name: right.copy() for name in names}
    by_lot = {name: np.repeat(right[None], RANDOM, axis=0) for name in names}
    for held_out in np.unique(fold):
        train, test = fold != held_out, fold == held_out
        middle = x[train].mean(axis=0)
        own, away = _class_shifts(x[train], labels[train], synthetic[train])
        spread = spread_of(own.T @ own / len(own))
        moved = x[test] - middle
        for name, directions in (("one", away.mean(axis=1, keepdims=True)), ("each_class", away)):
            answer = lambda lines: (logits[test] - (moved @ _readout(lines, spread)) @ (lines.T @ weights)).argmax(axis=1) == labels[test]  # noqa: B023, E731
            after[name][test] = answer(directions)
            for draw in range(RANDOM):
                by_lot[name][draw, test] = answer(spread.root @ rng.normal(size=(spread.rank, directions.shape[1])))
    return Erased(right, after, by_lot)


def _class_shifts(x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute x minus its class means (n, D), and synthetic minus real mean of each class that has both (D, C)."""
    own, away = x.copy(), []
    for label in np.unique(labels):
        here = labels == label
        own[here] -= x[here].mean(axis=0)
        if synthetic[here].any() and not synthetic[here].all():
            away.append(x[here & synthetic].mean(axis=0) - x[here & ~synthetic].mean(axis=0))
    return own, np.stack(away, axis=1)


def direction_scores(
    x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, class_weights: np.ndarray, fold: np.ndarray, *, seed: int
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Score the share of the logits along the domain's direction, and the change of accuracy when it is erased.

    Args:
        x: (M, D) of length one, equally many real and synthetic images of each class.
        labels: (M,).
        synthetic: (M,) bool.
        class_weights: (D, C).
        fold: (M,).
        seed: seed of blocks and random directions.

    Returns:
        `direction/logit_share`, `direction/within_class/logit_share`, `direction/<one | each_class>/accuracy_change/<domain>` with the mean change by
        random directions as chance; arrays `direction/<...>/by_lot (20, 2)`, real and synthetic, and `direction/class_logit_shift (C,)`.
    """
    x, weights = x.astype(np.float64), class_weights / np.linalg.norm(class_weights, axis=0)
    scores: dict[str, Score] = {}
    for name, within in (("direction/logit_share", False), ("direction/within_class/logit_share", True)):
        estimate, chance = logit_share(x, labels, synthetic, weights, within_class=within, seed=seed)
        scores[name] = as_score(estimate.value, estimate.interval, chance=chance, bounds=(0.0, 1.0))
    erased = erase_domain(x, labels, synthetic, weights, fold, seed=seed)
    arrays: dict[str, np.ndarray] = {}
    for name, after in erased.after.items():
        changes = []
        for domain, rows in (("real", ~synthetic), ("synthetic", synthetic)):
            lost = erased.by_lot[name][:, rows].mean(axis=1) - erased.before[rows].mean()
            change = float(after[rows].mean() - erased.before[rows].mean())
            scores[f"direction/{name}/accuracy_change/{domain}"] = as_score(
                change, paired_proportions(after[rows], erased.before[rows]), chance=float(lost.mean()), bounds=(-1.0, 1.0)
            )
            changes.append(lost)
        arrays[f"direction/{name}/by_lot"] = np.stack(changes, axis=1)
    _, away = _class_shifts(x, labels, synthetic)
    shift = weights.T @ away.mean(axis=1)
    return scores, arrays | {"direction/class_logit_shift": shift - shift.mean()}
