"""Scores of the distances between the domains, each with an interval from half-samples and the value two halves of one domain give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from probes.distances import (
    CMMD_BANDWIDTH,
    CMMD_SCALE,
    frechet_distance,
    gaussian_kernel,
    median_bandwidth,
    polynomial_kernel,
    precision_recall,
)
from probes.folds import stratified_folds
from probes.intervals import LEVEL, as_score
from probes.result import Score

REPEATS = 12
"""Half-samples: Student's quantile is 2.20 at 11 degrees of freedom, and each costs two distances."""

NEIGHBOURS = 5
FEWEST = 4 * NEIGHBOURS
"""Images of each domain below which halves have no neighbourhoods."""

BOUNDS = {"precision": (0.0, 1.0), "recall": (0.0, 1.0), "coverage": (0.0, 1.0), "kid": (-np.inf, np.inf)}
_ROWS_AT_ONCE = 512


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
    between: dict[str, list[float]] = {}
    floor: dict[str, list[float]] = {}
    for real, other, made in halves:
        for found, rows in ((between, made), (floor, other)):
            measured = {"frechet": frechet_distance(x[real], x[rows]), **precision_recall(x[real], x[rows], neighbours=NEIGHBOURS)}
            for name, value in measured.items():
                found.setdefault(name, []).append(value)
    for found, pairs in ((between, [(a, c) for a, _, c in halves]), (floor, [(a, b) for a, b, _ in halves])):
        found |= {name: values.tolist() for name, values in _mean_kernels(x, pairs, seed=seed).items()}
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, REPEATS - 1))
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, values in between.items():
        value, reach = float(np.mean(values)), quantile * float(np.std(values, ddof=1))
        chance = float(np.mean(floor[name]))
        bounds = BOUNDS.get(name, (0.0, np.inf))
        scores[f"distance/{name}"] = as_score(value, (value - reach, value + reach), chance=chance, bounds=bounds)
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


def _mean_kernels(x: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]], *, seed: int) -> dict[str, np.ndarray]:
    """Give KID and both CMMDs of every pair of row sets, (R,) each, from one pass over the kernels of all rows."""
    member = np.zeros((len(x), 2 * len(pairs)))
    for number, (first, second) in enumerate(pairs):
        member[first, 2 * number] = 1
        member[second, 2 * number + 1] = 1
    own = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    wide = median_bandwidth(x, seed=seed)
    kernels: dict[str, Callable[[np.ndarray, slice], np.ndarray]] = {
        "kid": lambda dots, rows: polynomial_kernel(dots, x.shape[1]),
        "cmmd": lambda dots, rows: gaussian_kernel(dots, (own[rows], own), CMMD_BANDWIDTH),
        "cmmd_median": lambda dots, rows: gaussian_kernel(dots, (own[rows], own), wide),
    }
    sums = {name: np.zeros((len(member), member.shape[1])) for name in kernels}
    diagonal = {name: np.zeros(len(x)) for name in kernels}
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, len(x)))
        dots = (x[rows] @ x.T).astype(np.float64)
        for name, kernel in kernels.items():
            block = kernel(dots, rows)
            sums[name][rows] = block @ member
            diagonal[name][rows] = block[np.arange(len(block)), np.arange(rows.start, rows.stop)]
    found: dict[str, np.ndarray] = {}
    for name in kernels:
        total, inside = member.T @ sums[name], member.T @ diagonal[name]  # (2R, 2R), (2R,)
        size = member.sum(axis=0)
        own_mean = (np.diag(total) - inside) / (size * (size - 1)) if name == "kid" else np.diag(total) / size**2
        cross = np.array([total[2 * r, 2 * r + 1] / (size[2 * r] * size[2 * r + 1]) for r in range(len(pairs))])
        found[name] = (own_mean[0::2] + own_mean[1::2] - 2 * cross) * (1.0 if name == "kid" else CMMD_SCALE)
    return found
