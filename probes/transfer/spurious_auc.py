"""Spurious mAUC: does a class's probability tell its images from images that show only what goes with the class?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from probes.result import Score
from probes.stats.auc import CrossFittedAuc, auc_interval, auc_over_cells
from probes.stats.intervals import as_score

ALPHA = 0.05
"""Level of the test that calls a group tied to a class, over all classes and groups together."""

Pair = tuple[int, str]
"""A class and the group that is spurious for it."""


def tied_groups(labels: np.ndarray, groups: np.ndarray) -> list[Pair]:
    """List the pairs of a class and a group that occur together more often than by chance: what a student can learn instead of the class.

    A pair is tied when its count is above what independence allows, by Fisher's exact test with Bonferroni's correction at 5 %.

    Args:
        labels: (N,) int, true classes.
        groups: (N,) str; "" where it is not known, such images are left out.

    Returns:
        Pairs, ordered by class and then by name.

    Source: ours; Fisher (1922).
    """
    known = groups != ""
    classes, class_of = np.unique(labels[known], return_inverse=True)
    names, name_of = np.unique(groups[known], return_inverse=True)
    counts = np.bincount(class_of * max(1, len(names)) + name_of, minlength=len(classes) * len(names)).reshape(len(classes), len(names))
    by_class, by_name = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
    p_values = stats.hypergeom.sf(counts - 1, int(counts.sum()), by_class, by_name)  # P(at least so many), (C, G)
    return [(int(classes[row]), str(names[column])) for row, column in np.argwhere(p_values * counts.size < ALPHA)]


def spurious_mean_auc(
    class_score: Callable[[int, np.ndarray], np.ndarray], labels: np.ndarray, groups: np.ndarray, pairs: Sequence[Pair]
) -> tuple[Score, np.ndarray] | None:
    """Measure the spurious mAUC, the mean over pairs (class k, spurious group g) of an area under the ROC curve, in [0, 1], chance 0.5.

    For a pair it is the probability that an image of class k gets a higher score for k than an image that shows g and is not of class k.

    Args:
        class_score: `(k, rows (n,)) -> (n,)`, the score of class k for these images; the source takes the softmax probability, and whatever
            orders the images alike gives the same area.
        labels: (N,) int, true classes.
        groups: (N,) str.
        pairs: classes and their spurious groups, such as those of `tied_groups`.

    Returns:
        The score and the area of each pair, (P,), NaN for a pair that has no images on one side; None when no pair has images on both sides.
        The interval is DeLong's, over images, which may occur in several pairs, on the logit scale.

    Source: Neuhaus, Augustin, Boreiko & Hein (2023), Spurious Features Everywhere, "spurious mean AUC". Their published code calls
        `average_precision_score`, the area under the precision-recall curve, instead; its numbers depend on the share of images of the class.
    """
    areas, influence, smallest = np.full(len(pairs), np.nan), np.zeros(len(labels)), len(labels)
    for number, (label, name) in enumerate(pairs):
        rows = np.flatnonzero((labels == label) | (groups == name))
        of_class = labels[rows] == label
        if of_class.all() or not of_class.any():
            continue
        auc = auc_over_cells(class_score(label, rows), of_class, np.zeros(len(rows), dtype=np.int64))
        areas[number] = auc.value
        influence[rows] += auc.influence
        smallest = min(smallest, auc.smallest)
    used = int(np.isfinite(areas).sum())
    if used == 0:
        return None
    mean = CrossFittedAuc(round(float(np.nanmean(areas)), 12), influence / used, 0.0, smallest)
    return as_score(mean.value, auc_interval(mean), chance=0.5, direction="higher", bounds=(0.0, 1.0)), areas
