"""Pairs of a real and a synthetic image with the same content, as the teacher sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MatchedPairs:
    """Real and synthetic images of one class whose embeddings by the teacher are close.

    Args:
        real: (P,) row of the real image of each pair.
        synthetic: (P,) row of its synthetic partner; no image is in two pairs.
        cosine: (P,) the teacher's cosine of the two.
        by_lot: mean cosine of a random real and a random synthetic image of one class.
    """

    real: np.ndarray
    synthetic: np.ndarray
    cosine: np.ndarray
    by_lot: float


def match_content(teacher: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, *, keep: float = 0.5) -> MatchedPairs:
    """Pair each real image with a synthetic one of its class, so that the sum of the teacher's cosines is greatest, and keep the closest.

    Args:
        teacher: (M, D) the teacher's embeddings, of length one.
        labels: (M,) classes.
        synthetic: (M,) bool.
        keep: share of the pairs of each class that are kept, those of greatest cosine (at least one).

    Source: optimal matching with a caliper, Rosenbaum (1989); the teacher's embedding as the covariate is ours.
    """
    from scipy.optimize import linear_sum_assignment

    matches: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    total, count = 0.0, 0
    for label in np.unique(labels):
        real, fake = (np.flatnonzero((labels == label) & (synthetic == domain)) for domain in (False, True))
        if not len(real) or not len(fake):
            continue
        cosine = teacher[real].astype(np.float64) @ teacher[fake].T
        total, count = total + float(cosine.sum()), count + cosine.size
        left, right = linear_sum_assignment(cosine, maximize=True)
        close = cosine[left, right]
        best = np.argsort(-close, kind="stable")[: max(1, round(keep * len(close)))]
        matches.append((real[left[best]], fake[right[best]], close[best]))
    first, second, close = (np.concatenate(part) for part in zip(*matches, strict=True))
    return MatchedPairs(first, second, close, total / count)
