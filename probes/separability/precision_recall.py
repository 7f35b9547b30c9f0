"""Precision, recall, density and coverage: which images of one set lie in the balls that reach the k-th neighbour in the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.stats.pairwise_tiles import cube_sum, over_tiles, reach_and_cubes, squares


@dataclass(frozen=True)
class Balls:
    """A ball around each row of a set, up to its k-th nearest other row; kept where a set is compared with several.

    Args:
        x: (N, D).
        own: (N,) squared lengths.
        reach: (N,) squared radii.
        neighbours: k.
        cubes: sum over pairs of different rows of (x_i . x_j)^3, which KID needs and the same products give; 0 where not asked for.
    """

    x: np.ndarray
    own: np.ndarray
    reach: np.ndarray
    neighbours: int
    cubes: float = 0.0

    @classmethod
    def of(cls, x: np.ndarray, neighbours: int) -> Balls:
        """Measure a set (N, D).

        Raises:
            ValueError: for a set that has no k-th neighbour.
        """
        refuse_few(len(x), neighbours)
        own = np.einsum("nd,nd->n", x, x)
        reach, cubes = reach_and_cubes(x, own, neighbours)
        return cls(x, own, reach, neighbours, cubes)


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
    refuse_few(min(len(x), len(y)), neighbours)
    return ball_shares(Balls.of(x, neighbours), Balls.of(y, neighbours))[0]


def refuse_few(images: int, neighbours: int) -> None:
    """Refuse k that is not below the images of the smaller set."""
    if images <= neighbours:
        raise ValueError(f"`neighbours` must be below the {images} images of the smaller set, got {neighbours}; lower it.")


def ball_shares(real: Balls, made: Balls) -> tuple[dict[str, float], float]:
    """Give `precision_recall` of two measured sets, and the sum over their pairs of (x_i . y_j)^3."""

    def work(rows: slice, columns: slice, dots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        cubes = cube_sum(dots)
        square = squares(dots, real.own[rows], made.own[columns])
        inside = square < real.reach[rows, None]
        return inside.sum(axis=0), np.asarray((square < made.reach[columns]).any(axis=1)), square.min(axis=1), cubes

    held = np.zeros(len(made.x), dtype=np.int64)  # real balls that each synthetic image lies in
    recalled, nearest, total = np.zeros(len(real.x), dtype=bool), np.full(len(real.x), np.inf), 0.0
    for rows, columns, (inside, found, least, cubes) in over_tiles(real.x, made.x, work):
        held[columns] += inside
        recalled[rows] |= found
        nearest[rows] = np.minimum(nearest[rows], least)
        total += cubes
    shares = {
        "precision": float((held > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(held.sum() / real.neighbours / len(made.x)),
        "coverage": float((nearest < real.reach).mean()),
    }
    return shares, total
