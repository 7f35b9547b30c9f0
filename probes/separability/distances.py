"""Distances between two sets of embeddings: Fréchet, KID, CMMD, precision, recall, density and coverage; pure functions of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from probes.separability.precision_recall import Manifold, manifold_overlap, refuse_few
from probes.stats.nuclear_norm import nuclear_norm
from probes.stats.pairwise_tiles import cube_sum, neighbour_distances_and_cubes, over_tiles

CMMD_BANDWIDTH = 10.0
CMMD_SCALE = 1000.0
_ROWS_OF_MOMENTS = 8192


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Measure the Fréchet distance of the Gaussians with the means and covariances of two sets, at least 0.

    FD = ||m_x - m_y||^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2)). The last trace is the nuclear norm of A_x A_y^T for any A with
    A^T A = S, so it needs no root of a matrix that rounding has made not quite positive.

    Args:
        x: (N, D).
        y: (M, D).

    Source: Dowson & Landau (1982); Heusel et al. (2017), equation 6.
    """
    return gaussian_distance(Gaussian.of(x), Gaussian.of(y))


@dataclass(frozen=True)
class Gaussian:
    """What the Fréchet distance needs of a set: kept where one set is compared with several.

    Args:
        mean: (D,).
        trace: of the covariance.
        root: (r, D) with root^T root the covariance.
    """

    mean: np.ndarray
    trace: float
    root: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Gaussian:
        """Measure a set (N, D), N at least 2; in float64, block by block."""
        mean = np.asarray(np.mean(x, axis=0, dtype=np.float64))
        covariance = np.zeros((x.shape[1], x.shape[1]))
        for start in range(0, len(x), _ROWS_OF_MOMENTS):
            part = x[start : start + _ROWS_OF_MOMENTS] - mean
            covariance += part.T @ part
        covariance /= len(x) - 1
        try:  # a Cholesky root costs a tenth of an eigenvalue one, and is there whenever no direction lacks spread
            root = np.linalg.cholesky(covariance).T
        except np.linalg.LinAlgError:
            values, vectors = np.linalg.eigh(covariance)
            root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        return cls(mean, float(np.trace(covariance)), root)


def gaussian_distance(first: Gaussian, second: Gaussian) -> float:
    """Measure the Fréchet distance of two Gaussians; see `frechet_distance`."""
    apart = first.mean - second.mean
    shared = nuclear_norm(first.root @ second.root.T)
    return max(float(apart @ apart) + first.trace + second.trace - 2 * shared, 0.0)


def polynomial_kernel(dots: np.ndarray, dimension: int) -> np.ndarray:
    """Compute KID's kernel (x . y / D + 1)^3 of dot products."""
    grown = dots / dimension + 1
    return grown * grown * grown  # a power costs ten times as much


def gaussian_kernel(dots: np.ndarray, lengths: tuple[np.ndarray, np.ndarray], bandwidth: float) -> np.ndarray:
    """Compute exp(-||x - y||^2 / (2 bandwidth^2)) of dot products (n, m) and squared lengths ((n,), (m,))."""
    square = np.maximum(lengths[0][:, None] + lengths[1] - 2 * dots, 0.0)
    return np.exp(square / (-2 * bandwidth**2))


def kernel_inception_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Measure KID, the unbiased squared MMD with the cubic polynomial kernel; about 0 for equal distributions, and then of either sign.

    Of (x . y / D + 1)^3 - 1 = 3 t + 3 t^2 + t^3 the sums of the first two terms follow from means and second moments; only the
    cubes are summed over pairs, in tiles. The ones cancel. All pairs count: no subsets are drawn.

    Args:
        x: (N, D).
        y: (M, D).

    Source: Binkowski et al. (2018), equation 4 with their kernel, degree 3 and gamma 1 / D.
    """
    cubes = [sum(cubes for *_, cubes in over_tiles(x, y, lambda rows, columns, dots: cube_sum(dots)))]
    cubes += [neighbour_distances_and_cubes(part, np.einsum("nd,nd->n", part, part), 1)[1] for part in (x, y)]
    return _kid_from(x, y, cubes[1], cubes[2], cubes[0])


def _kid_from(x: np.ndarray, y: np.ndarray, cubes_x: float, cubes_y: float, cubes_xy: float) -> float:
    """Join the sums of cubes over pairs (of different rows within a set) and what moments say of the lower powers."""
    n, m, d = len(x), len(y), x.shape[1]
    sums, seconds, squared_lengths = [], [], []
    for part in (x, y):
        total, second, squared = np.zeros(d), np.zeros((d, d)), np.zeros(2)
        for start in range(0, len(part), _ROWS_OF_MOMENTS):
            block = part[start : start + _ROWS_OF_MOMENTS].astype(np.float64)
            total += block.sum(axis=0)
            second += block.T @ block
            length = np.einsum("nd,nd->n", block, block)
            squared += length.sum(), (length**2).sum()
        sums.append(total)
        seconds.append(second)
        squared_lengths.append(squared)

    def mean(one: int, other: int, cubes: float) -> float:
        first, square = float(sums[one] @ sums[other]), float(np.sum(seconds[one] * seconds[other]))
        pairs = (n, m)[one] * ((n, m)[other] - (one == other))
        if one == other:
            first, square = first - squared_lengths[one][0], square - squared_lengths[one][1]
        return (3 * first / d + 3 * square / d**2 + cubes / d**3) / pairs

    return mean(0, 0, cubes_x) + mean(1, 1, cubes_y) - 2 * mean(0, 1, cubes_xy)


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
    squared_lengths = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)
    parts = (
        gaussian_kernel(a @ b.T, (p, q), bandwidth).mean()
        for a, b, p, q in (
            (x, x, squared_lengths[0], squared_lengths[0]),
            (y, y, squared_lengths[1], squared_lengths[1]),
            (x, y, squared_lengths[0], squared_lengths[1]),
        )
    )
    first, second, cross = parts
    return CMMD_SCALE * float(first + second - 2 * cross)


def median_bandwidth(x: np.ndarray, *, most: int = 1000, seed: int = 0) -> float:
    """Compute the median distance between two different rows, over at most `most` random rows; 1 where it is 0.

    Source: Gretton et al. (2012), section 8.
    """
    if len(x) > most:
        x = x[np.random.default_rng(seed).choice(len(x), most, replace=False)]
    squared_lengths = np.einsum("nd,nd->n", x, x)
    square = np.maximum(squared_lengths[:, None] + squared_lengths - 2 * (x @ x.T), 0.0)
    return math.sqrt(float(np.median(square[np.triu_indices(len(x), 1)]))) or 1.0


def all_distances(x: np.ndarray, y: np.ndarray, *, neighbours: int = 5) -> dict[str, float]:
    """Measure Fréchet, KID, precision, recall, density and coverage from one pass over the pairs, in bounded memory.

    Args:
        x: (N, D) real; float32 for speed.
        y: (M, D) synthetic.
        neighbours: k, below N and M.

    Returns:
        `frechet`, `kid`, `precision`, `recall`, `density`, `coverage`, as the functions of these names give them.

    Raises:
        ValueError: for sets that have no k-th neighbour.
    """
    refuse_few(min(len(x), len(y)), neighbours)
    real, synthetic = Manifold.of(x, neighbours), Manifold.of(y, neighbours)
    shares, cubes = manifold_overlap(real, synthetic)
    return {"frechet": frechet_distance(x, y), "kid": _kid_from(x, y, real.cubes, synthetic.cubes, cubes), **shares}
