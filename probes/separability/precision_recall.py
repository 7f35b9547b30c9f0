"""Precision, recall, density and coverage: how far the nearest-neighbour manifolds of two sets overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.stats.pairwise_tiles import cube_sum, neighbour_distances_and_cubes, over_tiles, squares


@dataclass(frozen=True)
class Manifold:
    """Nearest-neighbour manifold of a set: a ball around each row, up to its k-th nearest other row.

    Args:
        x: (N, D).
        squared_lengths: (N,) squared lengths.
        squared_radii: (N,) squared radii.
        neighbours: k.
        cubes: sum over pairs of different rows of (x_i . x_j)^3, which KID needs and the same products give; 0 where not asked for.
    """

    x: np.ndarray
    squared_lengths: np.ndarray
    squared_radii: np.ndarray
    neighbours: int
    cubes: float = 0.0

    @classmethod
    def of(cls, x: np.ndarray, neighbours: int) -> Manifold:
        """Measure the manifold of a set.

        Args:
            x: (N, D).
            neighbours: k, below N.

        Raises:
            ValueError: for a set that has no k-th neighbour.
        """
        refuse_few(len(x), neighbours)
        squared_lengths = np.einsum("nd,nd->n", x, x)
        squared_radii, cubes = neighbour_distances_and_cubes(x, squared_lengths, neighbours)
        return cls(x, squared_lengths, squared_radii, neighbours, cubes)


def precision_recall(x: np.ndarray, y: np.ndarray, *, neighbours: int = 5) -> dict[str, float]:
    """Measure precision, recall, density and coverage of the synthetic set by balls around each image, up to its k-th neighbour.

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
    refuse_few(min(len(x), len(y)), neighbours)
    return manifold_overlap(Manifold.of(x, neighbours), Manifold.of(y, neighbours))[0]


def refuse_few(images: int, neighbours: int) -> None:
    """Refuse k that is not below the images of the smaller set."""
    if images <= neighbours:
        raise ValueError(f"`neighbours` must be below the {images} images of the smaller set, got {neighbours}; lower it.")


def manifold_overlap(real: Manifold, synthetic: Manifold) -> tuple[dict[str, float], float]:
    """Compute `precision_recall` of two manifolds, and the sum over their pairs of (x_i . y_j)^3.

    Args:
        real: manifold of the real set.
        synthetic: manifold of the synthetic set.
    """

    def work(rows: slice, columns: slice, dots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        cubes = cube_sum(dots)
        square = squares(dots, real.squared_lengths[rows], synthetic.squared_lengths[columns])
        inside = square < real.squared_radii[rows, None]
        return inside.sum(axis=0), np.asarray((square < synthetic.squared_radii[columns]).any(axis=1)), square.min(axis=1), cubes

    balls_around = np.zeros(len(synthetic.x), dtype=np.int64)  # real balls that each synthetic image lies in
    recalled, nearest, total = np.zeros(len(real.x), dtype=bool), np.full(len(real.x), np.inf), 0.0
    for rows, columns, (inside, covered, least, cubes) in over_tiles(real.x, synthetic.x, work):
        balls_around[columns] += inside
        recalled[rows] |= covered
        nearest[rows] = np.minimum(nearest[rows], least)
        total += cubes
    shares = {
        "precision": float((balls_around > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls_around.sum() / real.neighbours / len(synthetic.x)),
        "coverage": float((nearest < real.squared_radii).mean()),
    }
    return shares, total
