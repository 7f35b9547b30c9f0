"""How alike two encoders embed the same images: debiased linear CKA, Procrustes residual, mutual nearest neighbours."""

from __future__ import annotations

import numpy as np

from probes.stats.jackknife import BlockEstimate, block_sums, each_without, without
from probes.stats.nuclear_norm import nuclear_norm

_ROWS_AT_ONCE = 1024


def linear_cka(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Measure debiased linear CKA, at most about 1 (same up to rotation and scale); chance 0, around which it scatters to both sides.

    CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) with the unbiased estimator of HSIC. With K = X X^T and L = Y Y^T, diagonals set to 0,
    n (n - 3) HSIC = tr(K L) + (1 K 1)(1 L 1) / ((n - 1)(n - 2)) - 2 (1 K L 1) / (n - 2). All terms are sums over images, so neither
    an n x n matrix nor a batch is needed.

    Args:
        x: (n, D) one encoder.
        y: (n, E) the other, same images.
        blocks: (n,) jackknife block of each image; at least 4 images must stay without any block.

    Raises:
        ValueError: when one of the two does not vary enough for its HSIC to be positive.

    Source: Kornblith et al. (2019); unbiased HSIC by Song et al. (2012), equation 5; debiased CKA in Nguyen, Raghu & Kornblith (2021).
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    hsic_x, hsic_y = _unbiased_hsic(x, x, blocks), _unbiased_hsic(y, y, blocks)
    if min(hsic_x.min(), hsic_y.min()) <= 0:
        raise ValueError("`embeddings` must vary for CKA, got a spread no larger than noise; the encoder collapsed on this domain.")
    areas = _unbiased_hsic(x, y, blocks) / np.sqrt(hsic_x * hsic_y)
    return BlockEstimate(float(areas[-1]), areas[:-1])


def _unbiased_hsic(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Compute unbiased HSIC without each block and on all images, (G + 1,)."""
    count = int(blocks.max()) + 1
    kept = np.concatenate([blocks[:, None] != np.arange(count), np.ones((len(x), 1), dtype=bool)], axis=1)  # (n, G + 1)
    n = kept.sum(axis=0).astype(np.float64)
    own_x, own_y = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)  # the diagonals
    cross = np.stack([x[blocks == g].T @ y[blocks == g] for g in range(count)]).reshape(count, -1)  # (G, D E)
    whole = cross.sum(axis=0)
    # |T - S_g|^2 for the sum T without each block's S_g, and |T|^2
    square = np.append(whole @ whole - 2 * (cross @ whole) + np.einsum("ge,ge->g", cross, cross), whole @ whole)
    trace = square - kept.T @ (own_x * own_y)
    rows_x = np.where(kept, x @ without(block_sums(x, blocks)).T - own_x[:, None], 0.0)  # K 1, (n, G + 1)
    rows_y = np.where(kept, y @ without(block_sums(y, blocks)).T - own_y[:, None], 0.0)
    corner = rows_x.sum(axis=0) * rows_y.sum(axis=0) / ((n - 1) * (n - 2))
    return (trace + corner - 2 * (rows_x * rows_y).sum(axis=0) / (n - 2)) / (n * (n - 3))


def procrustes_residual(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Measure what the best rotation, shift and scaling of one encoder leaves unexplained of the other, in [0, 1]; 0 is the same shape.

    With both centred and scaled to unit Frobenius norm it is min over orthogonal R and scale s of ||s X R - Y||^2 = 1 - ||X^T Y||_*^2.

    Args:
        x: (n, D) one encoder.
        y: (n, E) the other, same images.
        blocks: (n,) jackknife block of each image.

    Source: Schoenemann (1966); Gower (1975).
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    count = int(blocks.max()) + 1
    n = without(np.bincount(blocks).astype(np.float64))
    sums_x, sums_y = without(block_sums(x, blocks)), without(block_sums(y, blocks))
    crosses = each_without(x[blocks == g].T @ y[blocks == g] for g in range(count))
    size = [
        without(block_sums(np.einsum("nd,nd->n", z, z), blocks)) - np.einsum("gd,gd->g", s, s) / n for z, s in ((x, sums_x), (y, sums_y))
    ]
    centred = (cross - np.outer(a, b / m) for cross, a, b, m in zip(crosses, sums_x, sums_y, n, strict=True))
    nuclear = np.array([nuclear_norm(cross) for cross in centred])
    residual = np.clip(1 - nuclear**2 / (size[0] * size[1]), 0.0, 1.0)
    return BlockEstimate(float(residual[-1]), residual[:-1])


def procrustes_chance(x: np.ndarray, y: np.ndarray, *, seed: int, shuffles: int = 5) -> float:
    """Compute the mean residual when the images of `y` are shuffled: with few images any cloud can be rotated some way onto another."""
    rng = np.random.default_rng(seed)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = float(np.sum(x**2) * np.sum(y**2))
    nuclear = [nuclear_norm(x.T @ y[rng.permutation(len(y))]) for _ in range(shuffles)]
    return float(np.mean([np.clip(1 - value**2 / size, 0.0, 1.0) for value in nuclear]))


def mutual_neighbours(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, *, neighbours: int) -> BlockEstimate:
    """Measure the share of an image's k nearest neighbours (by cosine) that both encoders agree on, in [0, 1]; chance k / (n - 1).

    Args:
        x: (n, D) of length one.
        y: (n, E) of length one, same images.
        blocks: (n,) jackknife block of each image.
        neighbours: k, below n.

    Source: Huh et al. (2024), mutual nearest-neighbour metric.
    """
    count = min(len(x) - 1, neighbours + 15)  # spare neighbours take the place of those in the block that is left out
    near_x, near_y = nearest_by_cosine(x, count)[0], nearest_by_cosine(y, count)[0]
    same = near_x[:, :, None] == near_y[:, None, :]  # (n, count, count)

    def shared(block: int) -> float:
        stay_x, stay_y = blocks[near_x] != block, blocks[near_y] != block
        stay_x &= np.cumsum(stay_x, axis=1) <= neighbours
        stay_y &= np.cumsum(stay_y, axis=1) <= neighbours
        rows = blocks != block
        common = same[rows] & stay_x[rows][:, :, None] & stay_y[rows][:, None, :]
        return float(common.sum()) / float(np.maximum(stay_x[rows].sum(), 1))

    return BlockEstimate(shared(-1), np.array([shared(block) for block in range(int(blocks.max()) + 1)]))


def nearest_by_cosine(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's `count` nearest others by cosine, nearest first, and their cosines, both (n, count); x (n, D) of length one."""
    indices, cosines = np.empty((len(x), count), dtype=np.int64), np.empty((len(x), count), dtype=x.dtype)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        cosine = x[start : start + _ROWS_AT_ONCE] @ x.T
        rows = np.arange(len(cosine))
        cosine[rows, start + rows] = -np.inf
        unordered = np.sort(np.argpartition(-cosine, count - 1, axis=1)[:, :count], axis=1)
        near = np.take_along_axis(cosine, unordered, axis=1)
        order = np.argsort(-near, axis=1, kind="stable")
        here = slice(start, start + _ROWS_AT_ONCE)
        indices[here], cosines[here] = np.take_along_axis(unordered, order, axis=1), np.take_along_axis(near, order, axis=1)
    return indices, cosines


def representational_similarity(x: np.ndarray, y: np.ndarray | RankedPairs, blocks: np.ndarray) -> BlockEstimate:
    """Measure RSA: Spearman's correlation, over pairs of images, of the cosines of two encoders, in [-1, 1]; chance 0.

    Ranks are taken once over all pairs and kept when a block is left out, which changes them by next to nothing.

    Args:
        x: (n, D) of length one.
        y: (n, E) of length one, same images; or what `RankedPairs` made of it, where many are compared with one.
        blocks: (n,) jackknife block of each image.

    Raises:
        ValueError: when all pairs of one encoder have the same cosine.

    Source: Kriegeskorte, Mur & Bandettini (2008).
    """
    second = y if isinstance(y, RankedPairs) else RankedPairs(y, blocks)
    first = RankedPairs(x, blocks)
    if min(np.ptp(first.ranks), np.ptp(second.ranks)) == 0:
        raise ValueError("`embeddings` must vary for RSA, got one cosine for all pairs; the encoder collapsed on this domain.")
    pairs = first.sums(np.ones(len(first.ranks)))
    spread = (first.squares - first.total**2 / pairs) * (second.squares - second.total**2 / pairs)
    correlation = (first.sums(first.ranks * second.ranks) - first.total * second.total / pairs) / np.sqrt(spread)
    return BlockEstimate(float(correlation[-1]), correlation[:-1])


class RankedPairs:
    """The cosines of all pairs of images by rank about their mean, `ranks`, with their sums and sums of squares without each block, (G + 1,).

    Args:
        x: (n, D) of length one.
        blocks: (n,) jackknife block of each image.
    """

    def __init__(self, x: np.ndarray, blocks: np.ndarray) -> None:
        from scipy.stats import rankdata

        self._upper = np.triu_indices(len(x), 1)
        place = np.unique(blocks, return_inverse=True)[1]
        self._member = (place[:, None] == np.arange(int(place.max()) + 1)).astype(np.float64)  # (n, G)
        ranks = rankdata((x @ x.T)[self._upper])
        self.ranks = ranks - ranks.mean()
        self.total, self.squares = self.sums(self.ranks), self.sums(self.ranks**2)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over pairs without each block, and over all, (G + 1,)."""
        matrix = np.zeros((len(self._member), len(self._member)))
        matrix[self._upper] = values
        between = self._member.T @ matrix @ self._member
        return np.append(between.sum() - between.sum(axis=0) - between.sum(axis=1) + np.diag(between), between.sum())
