"""Slices of real images that the student gets wrong together, with the teacher's errors on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np

from probes.discovery.components import LEAST_ALIKE, TOP
from probes.discovery.concept_shift import best_word
from probes.discovery.concepts import Found, Seen, Vocabulary
from probes.discovery.slicing import error_slices
from probes.stats.intervals import as_score, paired_proportions, wilson


def found_slices(seen: Seen, known: Vocabulary, *, count: int, permutations: int, seed: int) -> Found:
    """Group the real images by embedding and error, and give each group's error rate on the half that had no part in it."""
    rows = np.flatnonzero(~seen.synthetic)
    count = min(count, len(rows) // 8)
    wrong = seen.predicted(seen.student)[rows] != seen.truth[rows]
    found = error_slices(seen.student[rows], wrong, count=count, seed=seed)
    scores = {}
    said: list[dict[str, Any]] = []
    for group in range(count):
        inside = np.flatnonzero(~found.fitted & (found.member == group))
        if len(inside) < 2:
            continue
        errors = int(wrong[inside].sum())
        scores[f"slice/{group}/error/real"] = as_score(errors / len(inside), wilson(errors, len(inside)), direction="lower")
        if seen.teacher is not None:
            its = (seen.predicted_by_teacher(seen.teacher)[rows] != seen.truth[rows])[inside]
            scores[f"teacher/slice/{group}/error/real"] = as_score(its.mean(), wilson(int(its.sum()), len(inside)), direction="lower")
            excess = paired_proportions(wrong[inside], its)
            scores[f"excess/slice/{group}/error/real"] = as_score(
                wrong[inside].mean() - its.mean(), excess, chance=0.0, direction="lower", bounds=(-1.0, 1.0)
            )
        said.append(_described(group, found.member == group, rows, inside, seen, known, permutations=permutations, seed=seed))
    top = [np.resize(seen.ids[rows[np.flatnonzero(~found.fitted & (found.member == entry["slice"]))[:TOP]]], TOP) for entry in said]
    arrays = {
        "slice/ids": seen.ids[rows],
        "slice/member": found.member,
        "slice/held_out": ~found.fitted,
        "slice/number": np.array([entry["slice"] for entry in said], dtype=np.int64),
        "slice/word": np.array([entry["word"] for entry in said], dtype=str),
        "slice/top_images": np.array(top, dtype=str).reshape(len(said), -1),
    }
    return Found(scores, arrays, said)


def _described(
    group: int, member: np.ndarray, rows: np.ndarray, inside: np.ndarray, seen: Seen, known: Vocabulary, *, permutations: int, seed: int
) -> dict[str, Any]:
    """Say what a slice holds: its images, its most frequent class, and a word where one goes along with being in it, within classes."""
    labels = seen.labels[rows]
    classes = np.bincount(labels[inside], minlength=len(seen.classes))
    entry: dict[str, Any] = {"slice": group, "images": len(inside), "class": seen.class_names[int(classes.argmax())], "word": ""}
    entry["class_share"] = round(float(classes.max() / len(inside)), 3)
    if known.words:
        usable = known.tried[rows]
        place, score, p = best_word(
            member[usable].astype(float), known.gain[rows][usable], labels[usable], permutations=permutations, seed=seed
        )
        entry |= {"score": round(score, 4), "p": p} | ({"word": known.words[place]} if p < 0.05 and score >= LEAST_ALIKE else {})
    return entry
