"""Area under the ROC curve over cells of images scored by different models, with the interval of DeLong's placements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from probes.stats.intervals import Interval, Z, subtract


@dataclass(frozen=True)
class CrossFittedAuc:
    """An AUC averaged over cells, and each image's influence on it.

    Args:
        value: weighted mean of the cells' AUCs, in [0, 1], chance 0.5.
        influence: (N,) the image's part of the deviation; its sum of squares is the variance given the models. Zero outside every cell.
        null_variance: that variance if scores and domains were independent (Mann & Whitney, with ties).
        smallest: images of the smaller domain over all cells.
    """

    value: float
    influence: np.ndarray
    null_variance: float
    smallest: int

    @property
    def shared_spread(self) -> float:
        """Standard deviation that the folds share through their training images.

        Without signal the pooled statistic is a sum over pairs of images in different folds, and each pair enters twice: either
        image is scored by a model that saw the other. That doubles the variance. With signal the models hardly depend on single
        images and the part fades; it is taken to keep its size on the logit scale.
        """
        return 4 * self.value * (1 - self.value) * math.sqrt(self.null_variance)


def auc_over_cells(scores: np.ndarray, synthetic: np.ndarray, cells: np.ndarray, weights: dict[int, float] | None = None) -> CrossFittedAuc:
    """Average the AUC over cells, never comparing scores across cells (folds have different models, classes other levels).

    Within a cell a real image's placement is the share of synthetic images scored above it, and the reverse; the AUC is the mean
    placement and its variance follows from their spread (DeLong). Cells are weighted by their images unless `weights` says otherwise.

    Args:
        scores: (N,) greater means more synthetic.
        synthetic: (N,) bool.
        cells: (N,) int; -1 is left out, as is a cell with one domain only.
        weights: cell -> weight, or None.

    Raises:
        ValueError: when no cell holds both domains.

    Source: DeLong, DeLong & Clarke-Pearson (1988); over folds LeDell, Petersen & van der Laan (2015).
    """
    cell_areas: list[tuple[float, float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for cell in np.unique(cells[cells >= 0]):
        real, fake = np.flatnonzero((cells == cell) & ~synthetic), np.flatnonzero((cells == cell) & synthetic)
        if not len(real) or not len(fake):
            continue
        both = stats.rankdata(np.concatenate([scores[real], scores[fake]]))
        m, n = len(real), len(fake)
        above_real = (both[m:] - stats.rankdata(scores[fake])) / m  # (n,) share of real images below each synthetic one
        below_made = 1 - (both[:m] - stats.rankdata(scores[real])) / n  # (m,) share of synthetic images above each real one
        weight = float(m + n) if weights is None else weights[int(cell)]
        cell_areas.append((weight, float(above_real.mean()), real, fake, below_made, above_real))
    if not cell_areas:
        raise ValueError(
            "Every fold must hold images of both domains, got none that does; give groups that mix over folds, or fewer folds."
        )
    total = sum(weight for weight, *_ in cell_areas)
    influence = np.zeros(len(scores))
    value, null_variance, smallest = 0.0, 0.0, 0
    for weight, area, real, fake, below_made, above_real in cell_areas:
        value += weight / total * area
        smallest += min(len(real), len(fake))
        null_variance += (weight / total) ** 2 * _null_variance(scores[np.concatenate([real, fake])], len(real), len(fake))
        for rows, placements in ((real, below_made), (fake, above_real)):
            # dividing by n - 1 makes the sum of squares the unbiased variance; a lone image tells nothing of its spread
            influence[rows] = weight / total * (placements - area) / math.sqrt(len(rows) * max(len(rows) - 1, 1))
    # a weighted sum of ones may miss one by a rounding error, and then has no logit
    return CrossFittedAuc(round(value, 12), influence, null_variance, smallest)


def auc_interval(auc: CrossFittedAuc) -> Interval:
    """Compute the 95 % interval of an AUC, on the logit scale so that it stays in [0, 1].

    The AUC meant is the mean over the fitted models. The spread is DeLong's, and what the folds share (see `shared_spread`).

    When every pair is in order there is no spread to go by. Then `smallest` disjoint pairs were all in order, which a true AUC
    below 0.025 ** (1 / smallest) would allow in fewer than 2.5 % of draws; that is the far end.
    """
    spread = math.hypot(math.sqrt(float(np.sum(auc.influence**2))), auc.shared_spread)
    if auc.value in (0.0, 1.0):
        far = 0.025 ** (1 / max(auc.smallest, 1))
        return (far, 1.0) if auc.value == 1.0 else (0.0, 1 - far)
    logit = math.log(auc.value / (1 - auc.value))
    half = Z * spread / (auc.value * (1 - auc.value))
    return float(_expit(logit - half)), float(_expit(logit + half))


def difference_interval(first: CrossFittedAuc, second: CrossFittedAuc) -> Interval:
    """Compute the 95 % interval of first - second over the same images, paired through each image's influence on both.

    Where one of them ranks every pair in order its spread is unknown, and the two intervals are combined as if independent.
    """
    if first.value in (0.0, 1.0) or second.value in (0.0, 1.0):
        return subtract((first.value, auc_interval(first)), (second.value, auc_interval(second)))
    together = float(np.sum(first.influence * second.influence))
    alone = float(np.sum(first.influence**2) * np.sum(second.influence**2))
    alike = together / math.sqrt(alone) if alone > 0 else 0.0
    shared = first.shared_spread**2 + second.shared_spread**2 - 2 * alike * first.shared_spread * second.shared_spread
    spread = math.sqrt(float(np.sum((first.influence - second.influence) ** 2)) + max(shared, 0.0))
    difference = first.value - second.value
    return difference - Z * spread, difference + Z * spread


def _null_variance(scores: np.ndarray, m: int, n: int) -> float:
    """Compute the variance of the AUC of m against n images when scores say nothing, (m + n + 1) / (12 m n) without ties."""
    ties = np.unique(scores, return_counts=True)[1].astype(np.float64)
    count = m + n
    return (count + 1 - float(np.sum(ties**3 - ties)) / (count * (count - 1))) / (12 * m * n)


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
