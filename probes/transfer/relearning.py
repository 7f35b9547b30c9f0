"""Scores of a student whose backbone stays as it is: few-shot probes, and a refit of the map to the teacher."""

from __future__ import annotations

import numpy as np

from probes.embeddings import DOMAINS, EmbeddingTable, give_back
from probes.result import Score
from probes.stats.folds import stratified_folds
from probes.stats.intervals import Interval, as_score, paired_proportions, wilson
from probes.stats.ratio import ratio_interval
from probes.stats.ridge import Moments, answers_of, ridge_of, spectrum_of
from probes.transfer.few_shot import SHOTS, few_shot_accuracy
from probes.transfer.zero_shot import rows_at_once

UNIT = (0.0, 1.0)
ACROSS = -1
"""Stands for the map of all synthetic images, where 0 to 3 stand for those of the halves."""
FEWEST = 4
"""Images of each class needed for two halves of which each can be fitted and tested."""


def few_shot_scores(table: EmbeddingTable, *, max_images: int, seed: int) -> tuple[dict[str, Score], dict[str, int]]:
    """Score `few_shot/<k>/<domain>` for 1, 4 and 16 images a class; classes too small for k leave it out (count 0)."""
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    for domain in DOMAINS:
        rows = sampled(table.domain == domain, max_images=max_images, seed=seed)
        x, labels = table.unit(rows), table.labels[rows]
        for shots in SHOTS:
            accuracy = few_shot_accuracy(x, labels, shots=shots, seed=seed)
            counts[f"few_shot/{shots}/{domain}"] = 0 if accuracy is None else accuracy[2]
            if accuracy is not None:
                chance = 1 / len(np.unique(labels))
                scores[f"few_shot/{shots}/{domain}"] = as_score(accuracy[0], accuracy[1], chance=chance, direction="higher", bounds=UNIT)
    return scores, counts


def sampled(mask: np.ndarray, *, max_images: int, seed: int) -> np.ndarray:
    """Return the rows of a mask, or `max_images` of them drawn at random, sorted.

    Args:
        mask: (N,) bool.
        max_images: rows at most.
        seed: seed of the draw.
    """
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= max_images else np.sort(np.random.default_rng(seed).choice(rows, max_images, replace=False))


def refit_scores(
    student: EmbeddingTable,
    teacher: EmbeddingTable | None,
    class_weights: np.ndarray,
    *,
    correct: np.ndarray,
    teacher_correct: np.ndarray | None,
    seed: int,
) -> tuple[dict[str, Score], dict[str, int]]:
    """Score `refit/<target>/<domain>`, what it gains over zero-shot, and the share of the distance to the teacher it closes.

    The tables are read twice, in blocks: once for the sums that decide the maps, once for the answers.

    Args:
        student: the student's table, from whose embeddings the map starts.
        teacher: the teacher's table, or None: then only the classes are aimed at.
        class_weights: (D, C).
        correct: (N,) bool, which zero-shot predictions of the student are right.
        teacher_correct: (N,) bool, the teacher's, or None.
        seed: seed of the halves.

    Returns:
        Scores, and counts of the images that were tested (0 where a class has fewer than four images).
    """
    weights = class_weights / np.linalg.norm(class_weights, axis=0)
    targets = ("to_classes",) if teacher is None else ("to_classes", "to_teacher")
    usable, half = {}, np.zeros(len(student), dtype=np.int64)
    for domain in DOMAINS:
        rows = student.domain == domain
        labels = student.labels[rows]
        usable[domain] = bool(np.unique(labels, return_counts=True)[1].min() >= FEWEST)
        half[rows] = stratified_folds(labels, folds=2, seed=seed)
    part = 2 * (student.domain == "synthetic") + half  # (N,) domain and half
    right = _refit_correct(student, teacher, weights, part)
    scores: dict[str, Score] = {}
    for domain in DOMAINS:
        rows = student.domain == domain
        for target in targets if usable[domain] else ():
            refit = right[f"{target}/halves"][rows]
            scores |= _beside_zero_shot(f"{target}/{domain}", refit, correct[rows], classes=weights.shape[1], crossed=True)
            if teacher_correct is not None:
                share = _share_closed(refit, correct[rows], teacher_correct[rows])
                scores |= {} if share is None else {f"refit_share/{target}/{domain}": share}
    real = student.domain == "real"
    for target in targets:
        across = right[f"{target}/across"][real]
        scores |= _beside_zero_shot(f"{target}/synthetic_to_real", across, correct[real], classes=weights.shape[1], crossed=False)
    return scores, {f"refit/{domain}": int((student.domain == domain).sum()) if usable[domain] else 0 for domain in DOMAINS}


def _refit_correct(student: EmbeddingTable, teacher: EmbeddingTable | None, weights: np.ndarray, part: np.ndarray) -> dict[str, np.ndarray]:
    """Return which images are classified right by the map of the other half of their domain, and by that of all synthetic images.

    Args:
        student: maps from.
        teacher: maps to, beside the classes, or None.
        weights: (D, C), columns of length one.
        part: (N,) 2 for synthetic images plus 0 or 1 for the half.

    Returns:
        `<target>/halves` and `<target>/across`, (N,) bool.
    """
    classes = weights.shape[1]
    sums: dict[int, Moments] = {}
    for rows, x in student.blocks(rows_at_once(classes)):
        one_hot = np.zeros((len(x), classes))
        one_hot[np.arange(len(x)), student.labels[rows]] = 1
        targets = one_hot if teacher is None else np.concatenate([one_hot, teacher.unit(rows)], axis=1)
        if teacher is not None:
            give_back(teacher.embeddings)
        x = x.astype(np.float64)
        if not sums:
            sums = {
                number: Moments.empty(x.mean(axis=0), np.concatenate([np.zeros(classes), targets[:, classes:].mean(axis=0)]))
                for number in range(4)
            }
        for number, moments in sums.items():
            chosen = part[rows] == number
            if chosen.any():
                moments.add(x[chosen], targets[chosen])
    kinds = {"to_classes": (slice(0, classes), weights.T)} | ({} if teacher is None else {"to_teacher": (slice(classes, None), None)})
    correct = {f"{target}/{fit}": np.zeros(len(student), dtype=bool) for target in kinds for fit in ("halves", "across")}
    fitted_on = {number: sums[number ^ 1] for number in range(4) if sums[number ^ 1].n} | {ACROSS: sums[2] + sums[3]}
    spectra = {number: spectrum_of(moments) for number, moments in fitted_on.items()}
    maps = {
        (target, number): answers_of(ridge_of(moments.columns(columns), decode=decode, spectrum=spectra[number]), weights)
        for target, (columns, decode) in kinds.items()
        for number, moments in fitted_on.items()
    }
    for rows, x in student.blocks(rows_at_once(classes)):
        labels, here = student.labels[rows], part[rows]
        x = x.astype(np.float64)  # once for all maps
        for (target, number), (matrix, offset) in maps.items():
            name, chosen = (f"{target}/across", slice(None)) if number == ACROSS else (f"{target}/halves", here == number)
            correct[name][rows][chosen] = (x[chosen] @ matrix + offset).argmax(axis=1) == labels[chosen]
    return correct


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
    """Compute (refit - zero-shot) / (teacher - zero-shot) over the same images; None where the student is not below its teacher."""
    gain, distance = right.astype(float) - before, teacher.astype(float) - before
    n = len(gain)
    spread = np.cov(gain, distance) / n
    first, second = float(gain.mean()), float(distance.mean())
    interval = ratio_interval(first, second, variances=(float(spread[0, 0]), float(spread[1, 1])), covariance=float(spread[0, 1]))
    if interval is None or second <= 0:
        return None
    return as_score(first / second, interval, chance=0.0, direction="neutral")
