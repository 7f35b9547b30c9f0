"""From per-image values to scores by domain, against the teacher, and to small pictures of many images."""

from __future__ import annotations

import numpy as np

from probes.attribution.map_evaluation import MapEvaluation, rank_correlation
from probes.attribution.metrics.faithfulness import into_cells
from probes.embeddings import DOMAINS
from probes.result import Direction, Score
from probes.stats.intervals import Interval, as_score, mean_interval, subtract

SMALLEST = 8
"""Images of a domain below which a mean over them is not shown."""
PICTURE_SIDE = 64
MEAN_SIDE = 32
MOST_CLASSES = 100
_UNIT: Interval = (0.0, 1.0)


def scores_by_domain(key: str, evaluation: MapEvaluation, domain: np.ndarray) -> dict[str, Score]:
    """Return `<key>/<value>/<domain>` and `<key>/<value>/difference`, synthetic minus real.

    Args:
        key: `<method>/<number>`.
        evaluation: per-image values.
        domain: (n,).
    """
    scores: dict[str, Score] = {}
    for name, values in evaluation.values.items():
        means: dict[str, tuple[float, Interval]] = {}
        for side in DOMAINS:
            kept = (domain == side) & np.isfinite(values)
            if kept.sum() < SMALLEST:
                continue
            means[side] = float(values[kept].mean()), mean_interval(values[kept])
            chance = float(evaluation.chances[name][kept].mean()) if name in evaluation.chances else None
            scores[f"{key}/{name}/{side}"] = as_score(*means[side], chance=chance, bounds=_UNIT)
        if len(means) == 2:
            difference = means["synthetic"][0] - means["real"][0]
            interval = subtract(means["synthetic"], means["real"])
            scores[f"{key}/{name}/difference"] = as_score(difference, interval, chance=0.0, bounds=(-1.0, 1.0))
    return scores


def excess_scores(key: str, student: MapEvaluation, teacher: MapEvaluation, domain: np.ndarray) -> dict[str, Score]:
    """Return `excess/<key>/<value>/<domain>`, student minus teacher on the same images."""
    scores: dict[str, Score] = {}
    for name in student.values:
        if name not in teacher.values:
            continue
        apart = student.values[name] - teacher.values[name]
        for side in DOMAINS:
            kept = apart[(domain == side) & np.isfinite(apart)]
            if len(kept) >= SMALLEST:
                scores[f"excess/{key}/{name}/{side}"] = as_score(kept.mean(), mean_interval(kept), chance=0.0, bounds=(-1.0, 1.0))
    return scores


def agreement_scores(
    key: str, student: MapEvaluation, teacher: MapEvaluation, domain: np.ndarray, *, direction: Direction
) -> dict[str, Score]:
    """Return `<key>/teacher_agreement/<domain>`: rank correlation of student's and teacher's map of an image.

    Chance is that with the teacher's map of another image of the domain: what both owe to where objects usually are.
    """
    scores: dict[str, Score] = {}
    for side in DOMAINS:
        rows = np.flatnonzero(domain == side)
        same = rank_correlation(student.cells[rows], teacher.cells[rows])
        other = np.concatenate([rank_correlation(student.cells[rows], teacher.cells[np.roll(rows, shift)]) for shift in (1, 2, 3)])
        same, other = same[np.isfinite(same)], other[np.isfinite(other)]
        if len(same) >= SMALLEST:
            scores[f"{key}/teacher_agreement/{side}"] = as_score(
                same.mean(), mean_interval(same), chance=float(other.mean()), direction=direction, bounds=(-1.0, 1.0)
            )
    return scores


def values_by_class(values: np.ndarray, labels: np.ndarray, domain: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Average a share by class and domain.

    Args:
        values: (n,) in [0, 1], NaN where there is none.
        labels: (n,).
        domain: (n,).
        classes: (K,) class indices.

    Returns:
        (K, 2, 3) float32: value, low and high, real first; from 0 to 1 where fewer than two images say anything.
    """
    out = np.tile(np.array([0.5, 0.0, 1.0], dtype=np.float32), (len(classes), 2, 1))
    for row, label in enumerate(classes):
        for column, side in enumerate(DOMAINS):
            chosen = values[(labels == label) & (domain == side) & np.isfinite(values)]
            if len(chosen) > 1:
                score = as_score(chosen.mean(), mean_interval(chosen), bounds=_UNIT)
                out[row, column] = score.value, score.low, score.high
    return out


def shrink(maps: np.ndarray, most: int) -> np.ndarray:
    """Average maps (n, H, W) over equal cells until no side is longer than `most`."""
    return maps if max(maps.shape[1:]) <= most else into_cells(maps, most)


def mean_maps(maps: np.ndarray, labels: np.ndarray, domain: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Average maps by class and domain, each map divided by its mean size first, so that every image counts alike.

    Args:
        maps: (n, H, W), signed.
        labels: (n,).
        domain: (n,).
        classes: (K,) class indices to show.

    Returns:
        (K, 2, h, w) float16, real first, at most 32 cells a side; zeros where there is no image.
    """
    small = shrink(maps, MEAN_SIDE).astype(np.float64)
    size = np.abs(small).mean(axis=(1, 2), keepdims=True)
    even = np.divide(small, size, out=np.zeros_like(small), where=size > 0)
    out = np.zeros((len(classes), 2, *small.shape[1:]), dtype=np.float16)
    for row, label in enumerate(classes):
        for column, side in enumerate(DOMAINS):
            chosen = even[(labels == label) & (domain == side)]
            if len(chosen):
                out[row, column] = chosen.mean(axis=0)
    return out


def pictures(maps: np.ndarray) -> np.ndarray:
    """Return maps for the gallery: at most 64 pixels a side, each divided by its largest magnitude, float16 in [-1, 1]."""
    small = shrink(maps, PICTURE_SIDE).astype(np.float64)
    largest = np.abs(small).max(axis=(1, 2), keepdims=True)
    return np.divide(small, largest, out=np.zeros_like(small), where=largest > 0).astype(np.float16)
