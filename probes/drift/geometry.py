"""How one encoder uses its sphere: distance to the class texts, closeness of a class, evenness, and number of directions used."""

from __future__ import annotations

import numpy as np

from probes.stats.jackknife import BlockEstimate, block_sums, each_without, without

_ROWS_AT_ONCE = 1024


def modality_gap(x: np.ndarray, class_weights: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Measure the distance between the mean image and the mean class text, in [0, 2].

    Args:
        x: (n, D) of length one.
        class_weights: (D, C); every text is brought to length one and all classes weigh the same.
        blocks: (n,) jackknife block of each image.

    Source: Liang et al. (2022), section 4.
    """
    text = (class_weights / np.linalg.norm(class_weights, axis=0)).mean(axis=1)
    n = without(np.bincount(blocks).astype(np.float64))
    gap = np.linalg.norm(without(block_sums(x, blocks)) / n[:, None] - text, axis=1)
    return BlockEstimate(float(gap[-1]), gap[:-1])


def alignment(x: np.ndarray, labels: np.ndarray, blocks: np.ndarray) -> BlockEstimate | None:
    """Measure the mean squared distance between two different images of the same class, in [0, 4]; None when no class has two images.

    Args:
        x: (n, D) of length one.
        labels: (n,) class of each image.
        blocks: (n,) jackknife block of each image.

    Source: Wang & Isola (2020), equation 1 with exponent 2; the positive pairs are ours: images of one class.
    """
    apart, pairs = 0.0, 0.0
    for label in np.unique(labels):
        mine = (labels == label).astype(np.float64)
        n = without(block_sums(mine, blocks))
        square = without(block_sums(mine * np.einsum("nd,nd->n", x, x), blocks))
        total = without(block_sums(mine[:, None] * x, blocks))
        apart = apart + 2 * n * square - 2 * np.einsum("gd,gd->g", total, total)
        pairs = pairs + n * (n - 1)
    if np.min(pairs) <= 0:
        return None
    mean = np.maximum(apart / pairs, 0.0)
    return BlockEstimate(float(mean[-1]), mean[:-1])


def uniformity(x: np.ndarray, blocks: np.ndarray, *, t: float = 2.0) -> BlockEstimate:
    """Measure log of the mean over pairs of different images of exp(-t ||x_i - x_j||^2), in [-4 t, 0]; lower is spread more evenly.

    Args:
        x: (n, D) of length one.
        blocks: (n,) jackknife block of each image.
        t: width; the paper's 2.

    Source: Wang & Isola (2020), equation 2.
    """
    count = int(blocks.max()) + 1
    member = (blocks[:, None] == np.arange(count)).astype(x.dtype)  # (n, G)
    between = np.zeros((count, count))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        cosine = x[start : start + _ROWS_AT_ONCE] @ x.T
        kernel = np.exp(2 * t * np.minimum(cosine - 1, 0))
        rows = np.arange(len(kernel))
        kernel[rows, start + rows] = 0
        between += member[start : start + _ROWS_AT_ONCE].T @ (kernel @ member)
    total = np.append(between.sum() - 2 * between.sum(axis=1) + np.diag(between), between.sum())
    n = without(np.bincount(blocks).astype(np.float64))
    value = np.log(total / (n * (n - 1)))
    return BlockEstimate(float(value[-1]), value[:-1])


def effective_rank(x: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Measure the number of directions used: exp of the entropy of the normalised singular values after centring, in [1, min(n - 1, D)].

    Args:
        x: (n, D).
        blocks: (n,) jackknife block of each image.

    Source: Roy & Vetterli (2007); the centring is ours, since the cone's axis says nothing of the directions images differ in.
    """
    x = x - x.mean(axis=0)
    count = int(blocks.max()) + 1
    n, sums = without(np.bincount(blocks).astype(np.float64)), without(block_sums(x, blocks))
    grams = each_without(x[blocks == g].T @ x[blocks == g] for g in range(count))
    values = [np.linalg.eigvalsh(gram - np.outer(total, total / m)) for gram, total, m in zip(grams, sums, n, strict=True)]
    singular = np.sqrt(np.maximum(values, 0.0))
    share = singular / np.maximum(singular.sum(axis=1, keepdims=True), 1e-300)
    rank = np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum(axis=1))
    return BlockEstimate(float(rank[-1]), rank[:-1])
