"""The attribution probe: maps of two numbers by several methods, over many images, beside the teacher and beside meaningless maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from probes.attribution.aggregate import MOST_CLASSES, SMALLEST, agreement_scores, excess_scores, pictures, scores_by_domain
from probes.attribution.faithfulness import CELLS, FRACTIONS
from probes.attribution.foreground import Foreground, discover
from probes.attribution.look import Look, Subjects, look_at
from probes.attribution.methods import METHODS, Lens, check_method
from probes.attribution.request import STEPS, Target, lens_of, target_directions
from probes.attribution.sample import draw
from probes.attribution.scalars import DomainLogit, domain_logit
from probes.attribution.undisturbed import undisturbed
from probes.auc import auc_interval
from probes.embeddings import DOMAINS
from probes.inputs import check_tables, versions
from probes.intervals import as_score
from probes.result import ProbeResult, Score
from probes.sight import Sight

Progress = Callable[[int, int], None]

AT_LEAST = 10
"""Images of each domain that the five folds of the domain probe need."""


def attribution(
    student: Sight,
    teacher: Sight | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    methods: Sequence[str] | None = None,
    masks: np.ndarray | Literal["discover"] | None = "discover",
    target: Target = "true",
    limit: int = 72,
    checked: int = 24,
    gallery: int = 24,
    steps: int = STEPS,
    window: int | None = None,
) -> ProbeResult:
    """Attribute the zero-shot logit and the domain logit to pixels, and say where, in which frequencies, and whether to believe it.

    Args:
        student: the encoder with N images of both domains.
        teacher: the teacher with the same images, or None.
        class_weights: (D, C), or None: then only the domain logit is attributed.
        seed: seed of every random draw.
        progress: called as `progress(done, total)`; an exception it raises stops the probe and leaves the encoders as they were.
        methods: keys of `METHODS`, or None for all that the encoders allow.
        masks: objects of the table's images, (N, H, W) bool; "discover" finds them in the teacher's features; None for no masks.
        target: class of the zero-shot logit, the label's (`true`) or the encoder's own (`predicted`).
        limit: images of each domain that are explained.
        checked: images of each domain whose maps are tested for faithfulness.
        gallery: images of each domain whose maps are kept.
        steps: points of integrated gradients.
        window: side of the window of occlusion in pixels, or None for a quarter of the smaller side.

    Returns:
        Scores `<method>/<number>/...`: deletion, insertion, faithfulness, over_random and over_randomised_weights of every method; and of
        those that beat both baselines border_energy, centre_energy, map_<band>, uses_<band>, object_energy and (with given masks)
        pointing and overlap, by domain and as `difference`, teacher_agreement by domain; the same under `teacher/`, and `excess/...`.
        `domain/auc`, `masks/content_kept`. `params["status"]` says of each `<method>/<number>` whether it is informative. Arrays:
        `gallery/...` (G, h, w), `mean_map/...` (K, 2, h, w), `curve/...`, with `gallery/ids`, `mean_map/classes`, `curve/fractions`.

    Raises:
        ValueError: for tables that cannot be compared, masks of another size, an unknown method, or settings out of range.
    """
    pair = {"": student} if teacher is None else {"": student, "teacher/": teacher}
    check_tables(student.table, None if teacher is None else teacher.table, class_weights, at_least=AT_LEAST)
    wanted = [check_method(name) for name in (METHODS if methods is None else methods)]
    _check_settings(limit, checked, gallery)
    wanted_masks = _check_masks(masks, student)
    table = student.table
    rows = draw(table.labels, table.domain, limit=limit, seed=seed)
    told = _Steps(progress, 2 * len(pair) * len(wanted) + 1)
    probes = {prefix: domain_logit(sight.table, seed=seed) for prefix, sight in pair.items()}
    found = _masks_of(wanted_masks, student, teacher, rows, steps=steps, seed=seed)
    told()
    looks: dict[str, Look] = {}
    about: dict[str, Any] = {}
    for prefix, sight in pair.items():
        subjects = _subjects(sight, rows, probes[prefix], class_weights, target, found, not isinstance(wanted_masks, str), (checked, gallery))
        silent = _silent(probes[prefix])
        with undisturbed(sight.encode):
            lens = lens_of(sight, steps=steps, window=window)
            looks[prefix] = look_at(lens, subjects, wanted, silent=silent, seed=seed, step=told)
        about[prefix] = _about(lens, looks[prefix])
    return ProbeResult(
        probe="attribution",
        subject=table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=_scores(looks, probes, found, table.domain[rows]),
        arrays=_arrays(looks, student, rows, gallery, found, subjects.classes),
        counts=_counts(looks, rows, table.domain, checked, gallery, len(table)),
        params={"target": target, "limit": limit, "checked": checked, "gallery": gallery, "steps": steps, "cells": CELLS}
        | {"absent": "mean colour of the images", "masks": found.said, "methods": wanted}
        | {"status": about[""]["status"], "student": about[""]["layer"]}
        | ({"teacher_status": about["teacher/"]["status"], "teacher": about["teacher/"]["layer"]} if teacher is not None else {}),
        seed=seed,
        versions=versions(),
    )


class _Steps:
    """Counts finished parts and tells the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _check_settings(limit: int, checked: int, gallery: int) -> None:
    if limit < SMALLEST or checked < SMALLEST:
        raise ValueError(f"`limit` and `checked` must be at least {SMALLEST}, got {limit} and {checked}; explain more images.")
    if gallery < 0:
        raise ValueError(f"`gallery` must be at least 0, got {gallery}; use 0 to keep no maps.")


def _check_masks(masks: np.ndarray | str | None, student: Sight) -> np.ndarray | str | None:
    if masks is None or (isinstance(masks, str) and masks == "discover"):
        return masks
    if isinstance(masks, str):
        raise ValueError(f"`masks` must be an array, 'discover' or None, got {masks!r}; choose one.")
    masks = np.asanyarray(masks)
    shape = (len(student), *student.size)
    if masks.shape != shape:
        raise ValueError(
            f"`masks` must have shape {shape}, one mask of the images' size for each row of the table, got {masks.shape}; "
            "resize them, or give masks for the same images."
        )
    if masks.dtype != bool and not np.isin(np.unique(masks[:64]), (0, 1)).all():
        raise ValueError(f"`masks` must be bool or 0 and 1, got {masks.dtype} with other values; threshold them.")
    return masks


def _masks_of(
    masks: np.ndarray | str | None, student: Sight, teacher: Sight | None, rows: np.ndarray, *, steps: int, seed: int
) -> Foreground:
    if masks is None:
        return Foreground(None, "no masks: none were asked for")
    if not isinstance(masks, str):
        return Foreground(masks[rows].astype(bool), "given")
    if teacher is None:
        return Foreground(None, "no masks: there is no teacher to discover them with")
    with undisturbed(teacher.encode):
        return discover(lens_of(teacher, steps=steps), teacher.images(rows), seed=seed)


def _subjects(
    sight: Sight,
    rows: np.ndarray,
    probe: DomainLogit,
    class_weights: np.ndarray | None,
    target: Target,
    found: Foreground,
    given: bool,
    first: tuple[int, int],
) -> Subjects:
    directions = {} if class_weights is None else {"zero_shot": target_directions(sight, rows, class_weights, target)}
    directions["domain"] = probe.directions(rows)
    labels = sight.table.labels[rows]
    classes, count = np.unique(labels, return_counts=True)
    masks = None if found.masks is None else _resized(found.masks, sight.size)
    return Subjects(
        images=sight.images(rows),
        labels=labels,
        domain=sight.table.domain[rows],
        directions=directions,
        masks=masks,
        given=given,
        classes=np.sort(classes[np.argsort(-count, kind="stable")[:MOST_CLASSES]]),
        checked=2 * first[0],
        gallery=2 * first[1],
    )


def _resized(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring masks to the size of another encoder's images, nearest pixel."""
    down, across = (np.arange(to) * have // to for have, to in zip(masks.shape[1:], size, strict=True))
    return masks[:, down][:, :, across]


def _silent(probe: DomainLogit) -> dict[str, str]:
    low, high = auc_interval(probe.auc)
    if low > 0.5:
        return {}
    return {"domain": f"uninformative: the encoder does not tell the domains apart (AUC {probe.auc.value:.2f}, {low:.2f} to {high:.2f})"}


def _about(lens: Lens, look: Look) -> dict[str, Any]:
    layer = None
    if lens.layer is not None:
        shape = lens.layer.shape
        layer = {
            "layer": lens.layer.name,
            "side": lens.layer.side,
            "layout": shape.layout,
            "grid": list(shape.grid),
            "prefix": shape.prefix,
        }
    return {"status": look.status, "layer": layer}


def _scores(looks: dict[str, Look], probes: dict[str, DomainLogit], found: Foreground, domain: np.ndarray) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for prefix, look in looks.items():
        scores[f"{prefix}domain/auc"] = as_score(probes[prefix].auc.value, auc_interval(probes[prefix].auc), chance=0.5, bounds=(0.0, 1.0))
        for key, reading in look.readings.items():
            scores |= {f"{prefix}{key}/{name}": score for name, score in reading.scores.items()}
            if reading.informative:
                scores |= {f"{prefix}{name}": score for name, score in scores_by_domain(key, reading, domain).items()}
    for key, reading in looks[""].readings.items():
        other = looks["teacher/"].readings.get(key) if "teacher/" in looks else None
        if other is not None and reading.informative and other.informative:
            scores |= excess_scores(key, reading, other, domain)
            direction: Literal["higher", "neutral"] = "higher" if key.endswith("zero_shot") else "neutral"
            scores |= agreement_scores(key, reading, other, domain, direction=direction)
    if found.quality is not None:
        scores["masks/content_kept"] = found.quality
    return scores


def _arrays(
    looks: dict[str, Look], student: Sight, rows: np.ndarray, gallery: int, found: Foreground, classes: np.ndarray
) -> dict[str, np.ndarray]:
    arrays = {f"{prefix}{name}": array for prefix, look in looks.items() for name, array in look.arrays.items()}
    shown = rows[: 2 * gallery]
    arrays |= {
        "gallery/ids": student.table.ids[shown],
        "gallery/domain": student.table.domain[shown],
        "gallery/labels": student.table.labels[shown],
    }
    arrays |= {"mean_map/classes": classes, "curve/fractions": np.array([0.0, *FRACTIONS, 1.0])}
    if found.masks is not None:
        arrays["gallery/masks"] = pictures(found.masks[: 2 * gallery])
    return arrays


def _counts(looks: dict[str, Look], rows: np.ndarray, domain: np.ndarray, checked: int, gallery: int, available: int) -> dict[str, int]:
    explained = {f"images/{side}": int((domain[rows] == side).sum()) for side in DOMAINS}
    each = min(explained.values())
    return {
        "images/available": available,
        **explained,
        "images/checked_per_domain": min(checked, each),
        "images/gallery_per_domain": min(gallery, each),
        "readings": len(looks[""].readings),
        "readings/informative": sum(reading.informative for reading in looks[""].readings.values()),
    }
