"""Scores of what a student can be retaught without touching its backbone: few-shot probes, and a refit of the map to the teacher."""

from __future__ import annotations

import numpy as np

from probes.embeddings import DOMAINS, EmbeddingTable
from probes.few_shot import SHOTS, few_shot_accuracy
from probes.intervals import Interval, as_score, paired_proportions, wilson
from probes.ratio import ratio_interval
from probes.refit import mapped_answers, refit_predictions, ridge_map
from probes.result import Score

UNIT = (0.0, 1.0)
FEWEST = 4
"""Images of each class needed for two halves of which each can be fitted and tested."""


def few_shot_scores(table: EmbeddingTable, *, max_images: int, seed: int) -> tuple[dict[str, Score], dict[str, int]]:
    """Score `few_shot/<k>/<domain>` for 1, 4 and 16 images a class; classes too small for k leave it out (count 0)."""
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    x = table.unit()
    for domain in DOMAINS:
        rows = sampled(table.domain == domain, max_images=max_images, seed=seed)
        labels = table.labels[rows]
        for shots in SHOTS:
            found = few_shot_accuracy(x[rows], labels, shots=shots, seed=seed)
            counts[f"few_shot/{shots}/{domain}"] = 0 if found is None else found[2]
            if found is not None:
                chance = 1 / len(np.unique(labels))
                scores[f"few_shot/{shots}/{domain}"] = as_score(found[0], found[1], chance=chance, direction="higher", bounds=UNIT)
    return scores, counts


def sampled(mask: np.ndarray, *, max_images: int, seed: int) -> np.ndarray:
    """Give the rows of a mask, or `max_images` of them by lot, sorted."""
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= max_images else np.sort(np.random.default_rng(seed).choice(rows, max_images, replace=False))


def refit_scores(
    x: np.ndarray,
    student: EmbeddingTable,
    teacher: EmbeddingTable | None,
    class_weights: np.ndarray,
    *,
    correct: np.ndarray,
    teacher_correct: np.ndarray | None,
    seed: int,
) -> tuple[dict[str, Score], dict[str, int]]:
    """Score `refit/<target>/<domain>`, what it gains over zero-shot, and the share of the distance to the teacher it closes.

    Args:
        x: (N, F) what the map starts from: the student's embeddings, or the features before its projection.
        student: the student's table; its labels and domains are used.
        teacher: the teacher's table, or None: then only the classes are aimed at.
        class_weights: (D, C).
        correct: (N,) bool, the student's zero-shot answers.
        teacher_correct: (N,) bool, the teacher's, or None.
        seed: seed of the halves.

    Returns:
        Scores, and counts of the images that were answered (0 where a class has fewer than four images).
    """
    weights = class_weights / np.linalg.norm(class_weights, axis=0)
    targets = {"to_classes": weights.T[student.labels]} | ({} if teacher is None else {"to_teacher": teacher.unit()})
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    real, made = (student.domain == domain for domain in DOMAINS)
    for domain in DOMAINS:
        rows = student.domain == domain
        labels = student.labels[rows]
        usable = np.unique(labels, return_counts=True)[1].min() >= FEWEST
        counts[f"refit/{domain}"] = int(rows.sum()) if usable else 0
        for target, aims in targets.items():
            if not usable:
                continue
            right = refit_predictions(x[rows], aims[rows], labels, weights, seed=seed) == labels
            scores |= _beside_zero_shot(f"{target}/{domain}", right, correct[rows], classes=weights.shape[1], crossed=True)
            if teacher_correct is not None:
                share = _share_closed(right, correct[rows], teacher_correct[rows])
                scores |= {} if share is None else {f"refit_share/{target}/{domain}": share}
    for target, aims in targets.items():
        answers = mapped_answers(x[real], *ridge_map(x[made], aims[made]), weights) == student.labels[real]
        scores |= _beside_zero_shot(f"{target}/synthetic_to_real", answers, correct[real], classes=weights.shape[1], crossed=False)
    return scores, counts


def _beside_zero_shot(name: str, right: np.ndarray, before: np.ndarray, *, classes: int, crossed: bool) -> dict[str, Score]:
    """Score the accuracy after the refit and its gain over the same images."""
    n, accuracy = len(right), float(right.mean())
    # halves share images as folds do (see the linear probe): without signal the variance doubles, with signal it fades
    shared = 1 + min(1.0, (1 - accuracy) / (1 - 1 / classes)) if crossed and classes > 1 else 1.0
    gain = accuracy - float(before.mean())
    return {
        f"refit/{name}": as_score(accuracy, wilson(right.sum() / shared, n / shared), chance=1 / classes, direction="higher"),
        f"refit_gain/{name}": as_score(
            gain, _widened(paired_proportions(right, before), gain, shared**0.5), chance=0.0, direction="neutral", bounds=(-1.0, 1.0)
        ),
    }


def _widened(interval: Interval, middle: float, factor: float) -> Interval:
    return middle - factor * (middle - interval[0]), middle + factor * (interval[1] - middle)


def _share_closed(right: np.ndarray, before: np.ndarray, teacher: np.ndarray) -> Score | None:
    """Give (refit - zero-shot) / (teacher - zero-shot) over the same images; None where the student is not below its teacher."""
    gain, distance = right.astype(float) - before, teacher.astype(float) - before
    n = len(gain)
    spread = np.cov(gain, distance) / n
    first, second = float(gain.mean()), float(distance.mean())
    interval = ratio_interval(first, second, variances=(float(spread[0, 0]), float(spread[1, 1])), covariance=float(spread[0, 1]))
    if interval is None or second <= 0:
        return None
    return as_score(first / second, interval, chance=0.0, direction="neutral")
