"""Components of the class logits in which synthetic and real images differ, for the student and for its teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from probes.discovery.concept_shift import best_word
from probes.discovery.concepts import DiscoveryImages, DiscoveryScores, Vocabulary, plain
from probes.discovery.neural_pca import Components, neural_pca
from probes.result import Score
from probes.stats import paired
from probes.stats.auc import auc_interval, auc_over_cells, difference_interval
from probes.stats.intervals import as_score

EACH = 4
"""Components of each class that are candidates."""

TOP = 8
"""Images of each component whose ids are kept."""

LEAST_ALIKE = 0.3
"""A word explains less than a tenth of a component that correlates with it less than this, and is no name for it."""


def component_scores(images: DiscoveryImages, known_words: Vocabulary, *, count: int, permutations: int, seed: int) -> DiscoveryScores:
    """Find the components with the largest effect of the domain on the class logit, and score them on images that had no part in it.

    One half of each class and domain finds components and chooses the `count` with the largest shift of their contribution to the logit
    between the domains; the other half scores them.
    """
    finding = _half(images, seed)
    candidates: list[tuple[float, int, int, Components]] = []
    for label in range(len(images.classes)):
        rows = np.flatnonzero(finding & (images.labels == label))
        size = min(EACH, len(rows) - 1, images.student.shape[1])
        pca = neural_pca(images.student[rows], images.weights[:, images.classes[label]], count=size)
        added = pca.contributions(images.student[rows])
        shift = added[images.synthetic[rows]].mean(axis=0) - added[~images.synthetic[rows]].mean(axis=0)
        candidates += [(abs(float(shift[place])), label, place, pca) for place in range(size)]
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1], candidate[2]))
    scores: dict[str, Score] = {}
    arrays: dict[str, list[Any]] = {name: [] for name in ("class", "index", "word", "word_score", "word_p", "top_images")}
    descriptions: list[dict[str, Any]] = []
    unit = _unit(images)
    teacher = images.teacher if images.teacher_weights is None else None  # a direction of the student's own space is none of the teacher's
    for _, label, place, pca in candidates[:count]:
        rows = np.flatnonzero(~finding & (images.labels == label))
        added = pca.contributions(images.student[rows])[:, place]
        stem = f"component/{plain(images.class_names[label])}/{place}"
        synthetic = images.synthetic[rows]
        scores |= _scored(stem, added, None if teacher is None else pca.contributions(teacher[rows])[:, place], synthetic, unit)
        word = _word(added, rows, images, known_words, permutations=permutations, seed=seed)
        for name, value in zip(
            arrays, (images.class_names[label], place, *word, images.ids[rows[_extreme(added, synthetic)]]), strict=True
        ):
            arrays[name].append(value)
        descriptions.append({"class": images.class_names[label], "index": place, "word": word[0], "score": word[1], "p": word[2]})
    return DiscoveryScores(scores, {f"component/{name}": np.array(values) for name, values in arrays.items()}, descriptions)


def _half(images: DiscoveryImages, seed: int) -> np.ndarray:
    """Mark one half of the images of each class and domain."""
    rng = np.random.default_rng(seed)
    finding = np.zeros(len(images.labels), dtype=bool)
    for label in range(len(images.classes)):
        for domain in (False, True):
            rows = rng.permutation(np.flatnonzero((images.labels == label) & (images.synthetic == domain)))
            finding[rows[: len(rows) // 2]] = True
    return finding


def _unit(images: DiscoveryImages) -> float:
    """Return what the right class has over the mean of the others, by the student on synthetic images; at least 0.001."""
    cosines = images.student[images.synthetic] @ images.weights
    right = cosines[np.arange(len(cosines)), images.truth[images.synthetic]]
    return max(float((right - (cosines.sum(axis=1) - right) / (cosines.shape[1] - 1)).mean()), 1e-3)


def _scored(stem: str, student: np.ndarray, teacher: np.ndarray | None, synthetic: np.ndarray, unit: float) -> dict[str, Score]:
    cells = np.zeros(len(synthetic), dtype=np.int64)
    ours = auc_over_cells(student, synthetic, cells)
    scores = {f"{stem}/auc": as_score(ours.value, auc_interval(ours), chance=0.5)}
    scores[f"{stem}/effect"] = _effect(student, synthetic, unit)
    if teacher is not None:
        its = auc_over_cells(teacher, synthetic, cells)
        scores[f"teacher/{stem}/auc"] = as_score(its.value, auc_interval(its), chance=0.5)
        scores[f"teacher/{stem}/effect"] = _effect(teacher, synthetic, unit)
        scores[f"excess/{stem}/auc"] = as_score(ours.value - its.value, difference_interval(ours, its), chance=0.0, bounds=(-1.0, 1.0))
        scores[f"excess/{stem}/effect"] = _effect(student - teacher, synthetic, unit)
    return scores


def _effect(values: np.ndarray, synthetic: np.ndarray, unit: float) -> Score:
    """Compute the shift synthetic minus real of what the component adds to the logit, in units of what the class itself has over others."""
    first, second = values[synthetic] / unit, values[~synthetic] / unit
    error = float(np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second)))
    value = float(first.mean() - second.mean())
    return as_score(value, paired.around((value, error)), chance=0.0)


def _extreme(added: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Take the images at the end of the component where the synthetic ones are."""
    towards = 1.0 if added[synthetic].mean() >= added[~synthetic].mean() else -1.0
    order = np.argsort(-towards * added, kind="stable")[:TOP]
    return np.resize(order, TOP)


def _word(
    added: np.ndarray, rows: np.ndarray, images: DiscoveryImages, known_words: Vocabulary, *, permutations: int, seed: int
) -> tuple[str, float, float]:
    """Name the synthetic end of a component, or give an empty name with the best correlation and its p."""
    if not known_words.words or not known_words.tried[rows].all():
        return "", 0.0, 1.0
    synthetic = images.synthetic[rows]
    towards = 1.0 if added[synthetic].mean() >= added[~synthetic].mean() else -1.0
    place, score, p = best_word(towards * added, known_words.gain[rows], np.zeros(len(rows)), permutations=permutations, seed=seed)
    return (known_words.words[place] if p < 0.05 and score >= LEAST_ALIKE else "", round(score, 4), p)
