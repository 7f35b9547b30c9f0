"""Accuracy by class and by group: mean per-class accuracy, mean-group and worst-group accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.result import Score
from probes.stats.intervals import as_score, mean_proportion, smallest_proportion

UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class GroupCells:
    """Which group each image belongs to, a group being a class together with a value of the `group` column.

    Args:
        cell: (N,) int64, number of the image's group, -1 where its `group` is empty.
        labels: (G,) int64, class of each group.
        names: (G,) str, value of the `group` column of each group.
    """

    cell: np.ndarray
    labels: np.ndarray
    names: np.ndarray


def group_cells(labels: np.ndarray, groups: np.ndarray) -> GroupCells:
    """Divide images by class and by `groups`, as worst-group accuracy is defined; images with an empty group belong to none.

    Args:
        labels: (N,) int, true classes.
        groups: (N,) str, such as the background or an attribute; "" where it is not known.

    Returns:
        The G combinations that occur, ordered by class and then by name.

    Source: Sagawa et al. (2020), section 2: a group is a pair (label, spurious attribute).
    """
    known = groups != ""
    names, name_of = np.unique(groups[known], return_inverse=True)
    pairs, cell_of = np.unique(labels[known] * max(1, len(names)) + name_of, return_inverse=True)
    cell = np.full(len(labels), -1, dtype=np.int64)
    cell[known] = cell_of
    label_of, name_at = np.divmod(pairs, max(1, len(names)))
    return GroupCells(cell, label_of.astype(np.int64), names[name_at])


def mean_class_accuracy(hits: np.ndarray, counts: np.ndarray) -> Score:
    """Measure the mean over classes of their accuracy, in [0, 1]: every class counts alike, however many images it has.

    Args:
        hits: (C,) int, right predictions by true class.
        counts: (C,) int, images by true class; classes without images are left out.

    Returns:
        The score. The interval is Wilson's for an effective number of images (see `mean_proportion`). Chance is one over the number of classes
        with images, which is reached by naming one of them for every image.

    Raises:
        ValueError: when no class has images.

    Example:
        >>> round(mean_class_accuracy(np.array([90, 1]), np.array([100, 2])).value, 2)
        0.7

    Source: balanced accuracy, Brodersen et al. (2010); `mean_per_class_recall` of CLIP_benchmark, macro accuracy of torchmetrics.
    """
    present = counts > 0
    if not present.any():
        raise ValueError("`counts` must hold at least 1 image, got 0; classify images first.")
    value = float((hits[present] / counts[present]).mean())
    interval = mean_proportion(hits[present], counts[present])
    return as_score(value, interval, chance=1 / int(present.sum()), direction="higher", bounds=UNIT)


def group_accuracy(hits: np.ndarray, counts: np.ndarray, labels: np.ndarray, *, classes: int) -> dict[str, Score]:
    """Measure worst-group and mean-group accuracy, in [0, 1].

    Args:
        hits: (G,) int, right predictions by group.
        counts: (G,) int, images by group, at least 1.
        labels: (G,) int, class of each group.
        classes: C.

    Returns:
        `worst_group`, the smallest accuracy of a group, chance 1 / C; its interval allows for the search (see `smallest_proportion`).
        `mean_group`, the mean over groups, every group alike; its chance is the larger of 1 / C and the largest share of groups of one class.

    Raises:
        ValueError: for no group, or one without images.

    Source: Sagawa et al. (2020), worst-group accuracy.
    """
    if len(counts) == 0 or counts.min() < 1:
        raise ValueError(f"`counts` must be at least 1 for every group, got {counts[:3].tolist()}; leave out empty groups.")
    accuracy = hits / counts
    chance = max(1 / classes, float(np.bincount(labels).max()) / len(labels))
    worst = as_score(float(accuracy.min()), smallest_proportion(hits, counts), chance=1 / classes, direction="higher", bounds=UNIT)
    mean = as_score(float(accuracy.mean()), mean_proportion(hits, counts), chance=chance, direction="higher", bounds=UNIT)
    return {"worst_group": worst, "mean_group": mean}
