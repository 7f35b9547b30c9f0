"""Distances between two sets of embeddings: Fréchet, KID, CMMD, precision, recall, density and coverage; pure functions of arrays."""

from __future__ import annotations

import math

import numpy as np

CMMD_BANDWIDTH = 10.0
CMMD_SCALE = 1000.0
_ROWS_AT_ONCE = 512


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Measure the Fréchet distance of the Gaussians with the means and covariances of two sets, at least 0.

    FD = ||m_x - m_y||^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2)). The last trace is the nuclear norm of A_x A_y^T for any A with
    A^T A = S, so it needs no root of a matrix that rounding has made not quite positive.

    Args:
        x: (N, D).
        y: (M, D).

    Source: Dowson & Landau (1982); Heusel et al. (2017), equation 6.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    apart = x.mean(axis=0) - y.mean(axis=0)
    roots, traces = [], 0.0
    for part in (x, y):
        values, vectors = np.linalg.eigh(np.cov(part, rowvar=False))
        values = np.maximum(values, 0.0)
        traces += float(values.sum())
        roots.append(np.sqrt(values)[:, None] * vectors.T)  # (D, D), root^T root = S
    shared = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return max(float(apart @ apart) + traces - 2 * shared, 0.0)


def polynomial_kernel(dots: np.ndarray, dimension: int) -> np.ndarray:
    """Give KID's kernel (x . y / D + 1)^3 of dot products."""
    return (dots / dimension + 1) ** 3


def gaussian_kernel(dots: np.ndarray, lengths: tuple[np.ndarray, np.ndarray], bandwidth: float) -> np.ndarray:
    """Give exp(-||x - y||^2 / (2 bandwidth^2)) of dot products (n, m) and squared lengths ((n,), (m,))."""
    square = np.maximum(lengths[0][:, None] + lengths[1] - 2 * dots, 0.0)
    return np.exp(square / (-2 * bandwidth**2))


def kernel_inception_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Measure KID, the unbiased squared MMD with the cubic polynomial kernel; about 0 for equal distributions, and then of either sign.

    Args:
        x: (N, D).
        y: (M, D).

    Source: Binkowski et al. (2018), equation 4 with their kernel, degree 3 and gamma 1 / D.
    """
    return _unbiased(*(polynomial_kernel(a @ b.T, x.shape[1]) for a, b in ((x, x), (y, y), (x, y))))


def cmmd(x: np.ndarray, y: np.ndarray, *, bandwidth: float = CMMD_BANDWIDTH) -> float:
    """Measure CMMD, 1000 times the biased squared MMD with a Gaussian kernel, in [0, 2000].

    On rows of length one bandwidth 10 makes the kernel nearly linear, and CMMD about 10 ||m_x - m_y||^2: it sees means and little
    else. The published code keeps the diagonal (the paper calls the estimator unbiased); so does this.

    Args:
        x: (N, D), of length one in the paper.
        y: (M, D).
        bandwidth: sigma; the paper's 10, or `median_bandwidth`.

    Source: Jayasumana et al. (2024), section 4, and its published code.
    """
    own = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)
    parts = (
        gaussian_kernel(a @ b.T, (p, q), bandwidth).mean()
        for a, b, p, q in ((x, x, own[0], own[0]), (y, y, own[1], own[1]), (x, y, own[0], own[1]))
    )
    first, second, cross = parts
    return CMMD_SCALE * float(first + second - 2 * cross)


def median_bandwidth(x: np.ndarray, *, most: int = 1000, seed: int = 0) -> float:
    """Give the median distance between two different rows, over at most `most` rows by lot; 1 where it is 0.

    Source: Gretton et al. (2012), section 8.
    """
    if len(x) > most:
        x = x[np.random.default_rng(seed).choice(len(x), most, replace=False)]
    own = np.einsum("nd,nd->n", x, x)
    square = np.maximum(own[:, None] + own - 2 * (x @ x.T), 0.0)
    return math.sqrt(float(np.median(square[np.triu_indices(len(x), 1)]))) or 1.0


def precision_recall(x: np.ndarray, y: np.ndarray, *, neighbours: int = 5) -> dict[str, float]:
    """Measure precision, recall, density and coverage of the synthetic set by balls around each image that reach its k-th neighbour.

    Precision: share of synthetic images inside some real ball. Recall: share of real images inside some synthetic ball. Density:
    number of real balls a synthetic image lies in, over k, on average. Coverage: share of real balls that hold a synthetic image.
    Density may exceed 1; for equal distributions it is 1 on average, and coverage about 1 - 2^-k.

    Args:
        x: (N, D) real.
        y: (M, D) synthetic.
        neighbours: k, below N and M.

    Raises:
        ValueError: for sets that have no k-th neighbour.

    Source: Kynkäänniemi et al. (2019), equations 1-3; Naeem et al. (2020), equations 1-6.
    """
    if min(len(x), len(y)) <= neighbours:
        raise ValueError(f"`neighbours` must be below the {min(len(x), len(y))} images of the smaller set, got {neighbours}; lower it.")
    own_x, own_y = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)
    radius_x, radius_y = _reach(x, own_x, neighbours), _reach(y, own_y, neighbours)
    apart = np.maximum(own_x[:, None] + own_y - 2 * (x @ y.T), 0.0)  # (N, M)
    in_real = apart < radius_x[:, None]
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float((apart < radius_y).any(axis=1).mean()),
        "density": float(in_real.sum() / neighbours / len(y)),
        "coverage": float((apart.min(axis=1) < radius_x).mean()),
    }


def _reach(x: np.ndarray, own: np.ndarray, neighbours: int) -> np.ndarray:
    """Give each row's squared distance to its k-th nearest other row, (N,)."""
    reach = np.empty(len(x))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(x))
        square = np.maximum(own[start:stop, None] + own - 2 * (x[start:stop] @ x.T), 0.0)
        square[np.arange(stop - start), np.arange(start, stop)] = np.inf
        reach[start:stop] = np.partition(square, neighbours - 1, axis=1)[:, neighbours - 1]
    return reach


def _unbiased(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> float:
    """Give the unbiased squared MMD from the three kernel matrices."""
    n, m = len(xx), len(yy)
    return float((xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean())
