"""Discovery: directions, groups of images and words in which synthetic images differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from probes.compute.threads import one_thread
from probes.discovery.components import component_scores
from probes.discovery.concepts import Vocabulary, name_scores, read_images
from probes.discovery.error_slices import slice_scores
from probes.discovery.vocabulary import BUILT_IN, read_vocabulary
from probes.embeddings import DOMAINS, EmbeddingTable
from probes.inputs import check_sights, versions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult
from probes.stats.sampling import sample_rows

LEAST_IMAGES = 8
"""Images of a class in each domain below which its components say nothing: half of them are only looked at."""


@one_thread
def discovery(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 2000,
    vocabulary: Mapping[str, Sequence[str]] | Path | str | None = None,
    components: int = 10,
    slices: int = 8,
    permutations: int = 500,
) -> ProbeResult:
    """Find directions, groups of images and words in which synthetic images differ for this student.

    Args:
        student: encoder to measure, with its images.
        teacher: its teacher over the same images, or None. Words need its image embeddings and a text tower (`embed_text`).
        class_weights: (D, C) zero-shot classifier weights; needed.
        seed: seed of samples, halves, mixture, made-up words and shuffles.
        progress: called as `progress(done, total)` in steps.
        limit: images of each domain, spread over the classes.
        vocabulary: kind -> words, a file of words (see `probes.discovery.vocabulary.read_vocabulary`), or None for the built-in list.
        components: components that are reported, chosen on one half of the images and scored on the other.
        slices: groups of real images.
        permutations: shuffles behind each p-value.

    Returns:
        Scores and arrays as `docs/probes/discovery.md` lists them.

    Raises:
        ValueError: for tables that cannot be compared, missing `class_weights`, fewer than two classes, too few images of every class.
    """
    if class_weights is None:
        raise ValueError(
            "`class_weights` must be a (D, C) array for `discovery`, got None; embed the class prompts with the teacher's text tower, or give --class-weights W.npy."
        )
    weights = np.asarray(class_weights, dtype=np.float64)
    check_sights(student, teacher, weights, at_least=LEAST_IMAGES)
    if components < 1 or slices < 2 or permutations < 19 or limit < LEAST_IMAGES:
        raise ValueError(
            f"`components`, `slices`, `permutations`, `limit` must be at least 1, 2, 19, {LEAST_IMAGES}, got {components}, {slices}, "
            f"{permutations}, {limit}; raise them."
        )
    words = vocabulary if isinstance(vocabulary, Mapping) else BUILT_IN if vocabulary is None else read_vocabulary(vocabulary)
    report_progress = progress or (lambda done, total: None)
    rows = _rows(student.table, limit=limit, seed=seed)
    images = read_images(student, teacher, rows, weights / np.linalg.norm(weights, axis=0), least=LEAST_IMAGES)
    report_progress(0, 4)
    known_words = Vocabulary.of(student, teacher, images, words, seed=seed)
    report_progress(1, 4)
    names = name_scores(images, known_words, permutations=permutations, seed=seed)
    report_progress(2, 4)
    parts = component_scores(images, known_words, count=components, permutations=permutations, seed=seed)
    report_progress(3, 4)
    groups = slice_scores(images, known_words, count=slices, permutations=permutations, seed=seed)
    report_progress(4, 4)
    return ProbeResult(
        probe="discovery",
        subject=student.table.name,
        reference=None if teacher is None else teacher.table.name,
        scores={**names.scores, **parts.scores, **groups.scores},
        arrays={**names.arrays, **parts.arrays, **groups.arrays},
        counts={
            **{f"images/{domain}": int((images.domain == domain).sum()) for domain in DOMAINS},
            "classes": len(images.classes),
            **known_words.counts,
            "names": len(names.arrays["name/word"]),
        },
        params={
            "limit": limit,
            "components": components,
            "slices": slices,
            "permutations": permutations,
            "naming": known_words.about,
            "names": names.descriptions,
            "component_names": parts.descriptions,
            "slice_names": groups.descriptions,
        },
        seed=seed,
        versions=versions(),
    )


def _rows(table: EmbeddingTable, *, limit: int, seed: int) -> np.ndarray:
    """Choose images; of many classes only as many as `limit` leaves twice `LEAST_IMAGES` for."""
    count = np.array([np.bincount(table.labels[table.domain == name], minlength=table.labels.max() + 1) for name in DOMAINS]).min(axis=0)
    able = np.random.default_rng(seed).permutation(np.flatnonzero(count >= LEAST_IMAGES))[: max(2, limit // (2 * LEAST_IMAGES))]
    kept = np.flatnonzero(np.isin(table.labels, able)) if len(able) > 1 else np.arange(len(table))  # refused by `read_images`
    return kept[sample_rows(table.labels[kept], table.domain[kept], limit=limit, seed=seed)]
