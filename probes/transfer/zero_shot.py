"""Zero-shot classification of a table in blocks, and hit@k from the rank of the true class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.embeddings import BLOCK_ROWS, EmbeddingTable
from probes.result import Score
from probes.stats.intervals import as_score, wilson
from probes.transfer.calibration import softmax_confidence

HIT_AT = (1, 2, 5, 10)
"""Numbers of top-ranked classes k of hit@k."""

_LOGITS_AT_ONCE = 2**23
"""Logits held at once, 64 MiB in float64: 8,192 images of 1,024 classes, 419 of 20,000."""


@dataclass(frozen=True)
class ZeroShot:
    """Zero-shot answers of one encoder for N images.

    Args:
        prediction: (N,) int64, the class of the largest cosine.
        confidence: (N,) float64 in [1/C, 1], the softmax probability of that class.
        cosine: (N,) float64 in [-1, 1], the largest cosine.
        label_rank: (N,) int64 in [0, C), the number of classes that are ranked before the true one.
    """

    prediction: np.ndarray
    confidence: np.ndarray
    cosine: np.ndarray
    label_rank: np.ndarray


def rows_at_once(classes: int) -> int:
    """Return how many images are classified at once, so that their logits stay below 64 MiB whatever the number of classes."""
    return max(1, min(BLOCK_ROWS, _LOGITS_AT_ONCE // classes))


def label_ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count the classes that are ranked before the true class of each image, (n,) int64 in [0, C).

    Of equal logits the smaller class index comes first, as with `argmax`, so that rank 0 is exactly a right prediction.

    Args:
        logits: (n, C).
        labels: (n,) true classes, int.

    Example:
        >>> label_ranks(np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]), np.array([2, 1])).tolist()
        [1, 1]
    """
    label_logits = np.take_along_axis(logits, labels[:, None], axis=1)
    tied_before = (logits == label_logits) & (np.arange(logits.shape[1]) < labels[:, None])
    return (logits > label_logits).sum(axis=1) + tied_before.sum(axis=1)


def classify(table: EmbeddingTable, class_weights: np.ndarray, *, logit_scale: float) -> ZeroShot:
    """Classify every image of a table by its cosines with the class weights; memory does not grow with N times C.

    Args:
        table: embeddings of N images; their labels must be below C.
        class_weights: (D, C) float64, columns of length one.
        logit_scale: multiplier of the cosines before the softmax, positive.
    """
    n = len(table)
    prediction, label_rank = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    confidence, cosine = np.empty(n), np.empty(n)
    for rows, embeddings in table.blocks(rows_at_once(class_weights.shape[1])):
        cosines = embeddings @ class_weights  # (n, C)
        prediction[rows] = cosines.argmax(axis=1)
        confidence[rows] = softmax_confidence(logit_scale * cosines)
        cosine[rows] = cosines.max(axis=1)
        label_rank[rows] = label_ranks(cosines, table.labels[rows])
    return ZeroShot(prediction, confidence, cosine, label_rank)


def hit_at_k(label_rank: np.ndarray, labels: np.ndarray, *, classes: int, ks: Sequence[int] = HIT_AT) -> dict[int, Score]:
    """Measure flat hit@k, the share of images whose true class is among the k best-ranked ones, in [0, 1]; hit@1 is the accuracy.

    Args:
        label_rank: (N,) int from `label_ranks`.
        labels: (N,) int, true classes, for the chance level.
        classes: C.
        ks: numbers of top-ranked classes; those of at least C are left out, since every image is a hit there.

    Returns:
        k -> score with Wilson's interval. Chance is the larger of k / C and the share of the k largest classes, which is reached by
        naming these k for every image.

    Raises:
        ValueError: for no images.

    Source: Frome et al. (2013), DeViSE, "flat hit@k".
    """
    n = len(label_rank)
    if n == 0:
        raise ValueError("`label_rank` must hold at least 1 image, got 0; classify images first.")
    shares = np.sort(np.bincount(labels))[::-1] / n
    scores = {}
    for k in ks:
        if k < classes:
            hits = int((label_rank < k).sum())
            chance = min(1.0, max(k / classes, float(shares[:k].sum())))
            scores[k] = as_score(hits / n, wilson(hits, n), chance=chance, direction="higher")
    return scores
