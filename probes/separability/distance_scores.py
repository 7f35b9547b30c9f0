"""Scores of the distances between the domains, each with an interval from half-samples and the value two halves of one domain give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from probes.result import Score
from probes.separability.distances import (
    CMMD_BANDWIDTH,
    CMMD_SCALE,
    Gaussian,
    gaussian_distance,
    gaussian_kernel,
    median_bandwidth,
    polynomial_kernel,
)
from probes.separability.precision_recall import Manifold, manifold_overlap
from probes.stats.folds import stratified_folds
from probes.stats.intervals import LEVEL, as_score
from probes.stats.similarity import nearest_by_cosine

REPEATS = 12
"""Half-samples: Student's quantile is 2.20 at 11 degrees of freedom, and each costs two distances."""

NEIGHBOURS = 5
FEWEST = 4 * NEIGHBOURS
"""Images of each domain below which halves have no neighbourhoods."""

BOUNDS = {"precision": (0.0, 1.0), "recall": (0.0, 1.0), "coverage": (0.0, 1.0), "kid": (-np.inf, np.inf)}
_ROWS_AT_ONCE = 512
_SPARE = 8
"""Neighbours looked for, as a multiple of k: half of them are drawn, so that fewer than k are so once in ten million rows."""


def distance_scores(
    x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, *, seed: int
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Score Fréchet, KID, CMMD (both bandwidths), precision, recall, density and coverage between half of each domain.

    Every distance depends on the number of images, so the value and its floor are taken at the same number: half of the domain.
    Half-samples without replacement spread about as the whole sample would over new images (a delete-half jackknife), and
    never double an image, which would make false neighbours at distance zero.

    Args:
        x: (M, D) of length one, equally many real and synthetic images of each class.
        labels: (M,) classes; halves hold half of each.
        synthetic: (M,) bool.
        seed: seed of the halves.

    Returns:
        `distance/<measure>` with the split-half value of the real images as chance (for KID slightly below 0: halves hold the same
        classes and so differ less than draws would);
        arrays of the same names with the R half-samples, and `.../floor`. Nothing for fewer than 20 images in a domain.

    Source: Shao & Wu (1989) for the delete-half jackknife; ours for the floor.
    """
    if min(int(synthetic.sum()), int((~synthetic).sum())) < FEWEST:
        return {}, {}
    halves = _halves(labels, synthetic, seed=seed)
    squared_lengths = np.einsum("nd,nd->n", x, x)
    all_radii = neighbour_distances(x, squared_lengths, synthetic, halves)
    between: dict[str, list[float]] = {}
    floor: dict[str, list[float]] = {}
    for (real, other_real, synthetic_rows), radii in zip(halves, all_radii, strict=True):
        manifolds = [
            Manifold(x[rows], squared_lengths[rows], radius, NEIGHBOURS)
            for rows, radius in zip((real, other_real, synthetic_rows), radii, strict=True)
        ]
        start = Gaussian.of(x[real])
        for draws_of, rows, manifold in ((between, synthetic_rows, manifolds[2]), (floor, other_real, manifolds[1])):
            shares, _ = manifold_overlap(manifolds[0], manifold)
            measured = {"frechet": gaussian_distance(start, Gaussian.of(x[rows])), **shares}
            for name, value in measured.items():
                draws_of.setdefault(name, []).append(value)
    for name, means in _mean_kernels(x, halves, seed=seed).items():
        floor[name], between[name] = means.tolist()
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, REPEATS - 1))
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, values in between.items():
        value, half_width = float(np.mean(values)), quantile * float(np.std(values, ddof=1))
        chance = float(np.mean(floor[name]))
        bounds = BOUNDS.get(name, (0.0, np.inf))
        scores[f"distance/{name}"] = as_score(value, (value - half_width, value + half_width), chance=chance, bounds=bounds)
        arrays |= {f"distance/{name}": np.array(values), f"distance/{name}/floor": np.array(floor[name])}
    return scores, arrays


def _halves(labels: np.ndarray, synthetic: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw (half of the real rows, the other half, half of the synthetic rows), equally many of each, R times."""
    drawn = []
    for repeat in range(REPEATS):
        half = stratified_folds(2 * labels + synthetic, folds=2, seed=seed + 7919 * (repeat + 1))
        parts = [
            np.flatnonzero(~synthetic & (half == 0)),
            np.flatnonzero(~synthetic & (half == 1)),
            np.flatnonzero(synthetic & (half == 0)),
        ]
        size = min(map(len, parts))
        drawn.append((parts[0][:size], parts[1][:size], parts[2][:size]))
    return drawn


def neighbour_distances(
    x: np.ndarray, squared_lengths: np.ndarray, synthetic: np.ndarray, draws: Sequence[Sequence[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Compute each row's squared distance to its k-th nearest other row among the rows drawn with it, k = 5.

    The nearest rows of a domain are looked for once; among them the k-th that was drawn is the k-th of the draw.

    Args:
        x: (M, D) of length one.
        squared_lengths: (M,) squared lengths.
        synthetic: (M,) bool; the rows of a draw are of one domain.
        draws: sets of rows.

    Returns:
        The squared radii of every row of every set, in their order.
    """
    near: dict[bool, np.ndarray] = {}
    square: dict[bool, np.ndarray] = {}
    place = np.empty(len(x), dtype=np.int64)
    for domain in (False, True):
        rows = np.flatnonzero(synthetic == domain)
        place[rows] = np.arange(len(rows))
        near[domain], cosine = nearest_by_cosine(x[rows], min(len(rows) - 1, _SPARE * NEIGHBOURS))
        square[domain] = np.maximum(squared_lengths[rows, None] + squared_lengths[rows][near[domain]] - 2 * cosine, 0)

    def radii(rows: np.ndarray) -> np.ndarray:
        domain, here = bool(synthetic[rows[0]]), place[rows]
        drawn = np.zeros(len(near[domain]), dtype=bool)
        drawn[here] = True
        rank = np.cumsum(drawn[near[domain][here]], axis=1)
        squared = square[domain][here, np.argmax(rank == NEIGHBOURS, axis=1)]
        for row in np.flatnonzero(rank[:, -1] < NEIGHBOURS):  # a row whose neighbours mostly lie in the other half
            apart = np.delete(np.sum((x[rows] - x[rows[row]]) ** 2, axis=1), row)
            squared[row] = np.partition(apart, NEIGHBOURS - 1)[NEIGHBOURS - 1]
        return squared

    return [[radii(rows) for rows in sets] for sets in draws]


def _mean_kernels(x: np.ndarray, halves: list[tuple[np.ndarray, np.ndarray, np.ndarray]], *, seed: int) -> dict[str, np.ndarray]:
    """Compute KID and both CMMDs of the first and second, and of the first and third rows of each draw, (2, R), from one pass over the kernels."""
    member = np.zeros((len(x), 3 * len(halves)))
    for number, rows_of in enumerate(halves):
        for place, half in enumerate(rows_of):
            member[half, 3 * number + place] = 1
    squared_lengths = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    wide = median_bandwidth(x, seed=seed)
    kernels: dict[str, Callable[[np.ndarray, slice, slice], np.ndarray]] = {
        "kid": lambda dots, rows, columns: polynomial_kernel(dots, x.shape[1]),
        "cmmd": lambda dots, rows, columns: gaussian_kernel(dots, (squared_lengths[rows], squared_lengths[columns]), CMMD_BANDWIDTH),
        "cmmd_median": lambda dots, rows, columns: gaussian_kernel(dots, (squared_lengths[rows], squared_lengths[columns]), wide),
    }
    total = {name: np.zeros((member.shape[1], member.shape[1])) for name in kernels}  # sums over pairs of members, (2R, 2R)
    inside = {name: np.zeros(member.shape[1]) for name in kernels}  # sums over members with themselves
    for i in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(i, min(i + _ROWS_AT_ONCE, len(x)))
        for j in range(i, len(x), _ROWS_AT_ONCE):  # kernels are symmetric: what is below the diagonal is above it too
            columns = slice(j, min(j + _ROWS_AT_ONCE, len(x)))
            dots = (x[rows] @ x[columns].T).astype(np.float64)
            for name, kernel in kernels.items():
                block = kernel(dots, rows, columns)
                between = member[rows].T @ (block @ member[columns])
                total[name] += between if i == j else between + between.T
                if i == j:
                    inside[name] += np.diag(block) @ member[rows]
    means: dict[str, np.ndarray] = {}
    size = member.sum(axis=0)
    for name in kernels:
        diagonal = np.diag(total[name])
        own_mean = (diagonal - inside[name]) / (size * (size - 1)) if name == "kid" else diagonal / size**2
        first = np.arange(0, len(size), 3)
        apart = [
            own_mean[first] + own_mean[first + place] - 2 * total[name][first, first + place] / (size[first] * size[first + place])
            for place in (1, 2)
        ]
        means[name] = np.stack(apart) * (1.0 if name == "kid" else CMMD_SCALE)
    return means
