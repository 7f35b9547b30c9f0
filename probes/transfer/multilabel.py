"""Mean average precision of images that have several labels each."""

from __future__ import annotations

import numpy as np

from probes.result import Score
from probes.stats.intervals import as_score
from probes.stats.jackknife import BlockEstimate, deal_blocks


def average_precision(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the average precision of each label, (L,) in [0, 1]; NaN for a label that no image has.

    Args:
        logits: (N, L) float; greater means that the image more likely has the label.
        targets: (N, L) bool.

    Example:
        >>> average_precision(np.array([[0.9, 0.1], [0.8, 0.9], [0.3, 0.2]]), np.array([[True, False], [False, False], [True, False]])).round(3).tolist()
        [0.833, nan]

    Source: Zhu (2004), the sum over thresholds of precision times the gain in recall; images with equal logits share a threshold.
    """
    precision = np.full(targets.shape[1], np.nan)
    for label in np.flatnonzero(targets.any(axis=0)):
        order = np.argsort(-logits[:, label])
        ordered = logits[order, label]
        thresholds = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the last image of each threshold
        hits = np.cumsum(targets[order, label])[thresholds]
        precision[label] = float(np.sum(hits / (thresholds + 1) * np.diff(hits, prepend=0))) / hits[-1]
    return precision


def mean_average_precision(logits: np.ndarray, targets: np.ndarray, *, seed: int = 0) -> Score:
    """Measure multi-label mAP, the mean over labels of their average precision, in [0, 1]; labels that no image has are left out.

    Args:
        logits: (N, L) float; greater means that the image more likely has the label.
        targets: (N, L) bool.
        seed: seed of the jackknife blocks.

    Returns:
        The score. The interval is over images, by the jackknife of 30 blocks. Chance is the mean share of images with a label, which is what
        scores that say nothing reach.

    Raises:
        ValueError: for arrays of different shapes, logits that are not finite, or targets without any label.

    Source: Zhu (2004), average precision; its macro mean as in torchmetrics and CLIP_benchmark.
    """
    logits, targets = np.asarray(logits), np.asarray(targets).astype(bool)
    if logits.shape != targets.shape or logits.ndim != 2:
        raise ValueError(
            f"`logits` and `targets` must have one shape (N, L), got {logits.shape} and {targets.shape}; give one column a label."
        )
    if not np.isfinite(logits).all():
        raise ValueError("`logits` must be finite, got NaN or infinity; check the embeddings.")
    if not targets.any():
        raise ValueError("`targets` must hold at least 1 label of an image, got none; give images that have labels.")
    if len(targets) < 2:
        raise ValueError(f"`targets` must hold at least 2 images, got {len(targets)}; one image has no spread.")
    blocks = deal_blocks(len(targets), seed=seed)
    value = float(np.nanmean(average_precision(logits, targets)))
    left_out = [blocks != block for block in range(int(blocks.max()) + 1)]
    means = [float(np.nanmean(average_precision(logits[rows], targets[rows]))) if targets[rows].any() else value for rows in left_out]
    chance = float(targets.mean(axis=0)[targets.any(axis=0)].mean())
    return as_score(value, BlockEstimate(value, np.array(means)).interval, chance=chance, direction="higher", bounds=(0.0, 1.0))
