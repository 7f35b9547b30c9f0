"""Slices of real images that the student gets wrong together, with the teacher's errors on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np

from probes.discovery.components import LEAST_ALIKE, TOP
from probes.discovery.concept_shift import best_word
from probes.discovery.concepts import DiscoveryImages, DiscoveryScores, Vocabulary
from probes.discovery.slicing import error_slices
from probes.stats.intervals import as_score, paired_proportions, wilson


def slice_scores(images: DiscoveryImages, known_words: Vocabulary, *, count: int, permutations: int, seed: int) -> DiscoveryScores:
    """Group the real images by embedding and error, and measure each group's error rate on the half that had no part in it.

    Args:
        images: the images.
        known_words: the known words and how well they fit.
        count: groups.
        permutations: shuffles behind each p-value.
        seed: seed of halves, mixture and shuffles.
    """
    rows = np.flatnonzero(~images.synthetic)
    count = min(count, len(rows) // 8)
    wrong = images.predicted(images.student)[rows] != images.truth[rows]
    slices = error_slices(images.student[rows], wrong, count=count, seed=seed)
    scores = {}
    descriptions: list[dict[str, Any]] = []
    for group in range(count):
        inside = np.flatnonzero(~slices.fitted & (slices.member == group))
        if len(inside) < 2:
            continue
        errors = int(wrong[inside].sum())
        scores[f"slice/{group}/error/real"] = as_score(errors / len(inside), wilson(errors, len(inside)), direction="lower")
        if images.teacher is not None:
            its = (images.predicted_by_teacher(images.teacher)[rows] != images.truth[rows])[inside]
            scores[f"teacher/slice/{group}/error/real"] = as_score(its.mean(), wilson(int(its.sum()), len(inside)), direction="lower")
            excess = paired_proportions(wrong[inside], its)
            scores[f"excess/slice/{group}/error/real"] = as_score(
                wrong[inside].mean() - its.mean(), excess, chance=0.0, direction="lower", bounds=(-1.0, 1.0)
            )
        descriptions.append(
            _described(group, slices.member == group, rows, inside, images, known_words, permutations=permutations, seed=seed)
        )
    top = [
        np.resize(images.ids[rows[np.flatnonzero(~slices.fitted & (slices.member == entry["slice"]))[:TOP]]], TOP) for entry in descriptions
    ]
    arrays = {
        "slice/ids": images.ids[rows],
        "slice/member": slices.member,
        "slice/held_out": ~slices.fitted,
        "slice/number": np.array([entry["slice"] for entry in descriptions], dtype=np.int64),
        "slice/word": np.array([entry["word"] for entry in descriptions], dtype=str),
        "slice/top_images": np.array(top, dtype=str).reshape(len(descriptions), -1),
    }
    return DiscoveryScores(scores, arrays, descriptions)


def _described(
    group: int,
    member: np.ndarray,
    rows: np.ndarray,
    inside: np.ndarray,
    images: DiscoveryImages,
    known_words: Vocabulary,
    *,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Describe a slice: its images, its most frequent class, and a word where one goes along with being in it, within classes."""
    labels = images.labels[rows]
    classes = np.bincount(labels[inside], minlength=len(images.classes))
    entry: dict[str, Any] = {"slice": group, "images": len(inside), "class": images.class_names[int(classes.argmax())], "word": ""}
    entry["class_share"] = round(float(classes.max() / len(inside)), 3)
    if known_words.words:
        usable = known_words.tried[rows]
        place, score, p = best_word(
            member[usable].astype(float), known_words.gain[rows][usable], labels[usable], permutations=permutations, seed=seed
        )
        entry |= {"score": round(score, 4), "p": p} | ({"word": known_words.words[place]} if p < 0.05 and score >= LEAST_ALIKE else {})
    return entry
