"""The attribution probe: maps of two logits by several methods, over many images, beside the teacher and beside maps without meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from probes.attribution.aggregate import SMALLEST, agreement_scores, excess_scores, pictures, scores_by_domain
from probes.attribution.attribution_maps import STEPS, Target, baseline_colour, prepare_encoder
from probes.attribution.encoder_attributions import AttributionSettings, EncoderAttributions, attribute_encoder, resized
from probes.attribution.method_attributions import MethodAttributions
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.methods.registry import METHODS, check_method
from probes.attribution.metrics.faithfulness import CELLS, FRACTIONS
from probes.attribution.metrics.object_masks import Foreground, discover
from probes.attribution.sample import draw
from probes.compute.memoize import remembered
from probes.embeddings import DOMAINS
from probes.inputs import check_sights, versions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult, Score
from probes.stats.auc import auc_interval
from probes.stats.intervals import as_score

Progress = Callable[[int, int], None]

AT_LEAST = 10
"""Images of each domain that the five folds of the domain probe need."""


def attribution(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    methods: Sequence[str] | None = None,
    masks: np.ndarray | Literal["discover"] | None = "discover",
    target: Target = "true",
    limit: int = 64,
    checked: int = 24,
    gallery: int = 24,
    steps: int = STEPS,
    window: int | None = None,
    tolerance: float | None = None,
) -> ProbeResult:
    """Attribute the zero-shot logit and the domain logit to pixels; measure where, in which frequencies, and how faithful the maps are.

    Args:
        student: the encoder with N images of both domains.
        teacher: the teacher with the same images, or None.
        class_weights: (D, C), or None: then only the domain logit is attributed.
        seed: seed of every random draw.
        progress: called as `progress(done, total)`; an exception it raises stops the probe and leaves the encoders as they were.
        methods: keys of `METHODS` or `captum:NAME`, or None for those of `METHODS` that the encoders allow.
        masks: objects of the table's images, (N, H, W) bool; "discover" finds them in the teacher's features; None for no masks.
        target: class of the zero-shot logit, the label's (`true`) or the encoder's own (`predicted`).
        limit: images of each domain that are explained.
        checked: images of each domain whose maps are tested for faithfulness.
        gallery: images of each domain whose maps are kept.
        steps: points of integrated gradients.
        window: side of the window of occlusion in pixels, or None for a quarter of the smaller side.
        tolerance: completeness error, as a share of f(image) - f(baseline), at which integrated gradients stop before `steps`; None for
            never. With it there are scores `integrated_gradients/<number>/completeness_error` and counts `integrated_gradients/...`.

    Returns:
        Scores `<method>/<number>/...`: deletion, insertion, faithfulness, over_random and over_randomised_weights of every method; and of
        those that beat both baselines border_energy, centre_energy, map_<band>, uses_<band>, object_energy and (with given masks)
        pointing and overlap, by domain and as `difference`, teacher_agreement by domain; the same under `teacher/`, and `excess/...`.
        `domain/auc`, `masks/content_kept`. `params["status"]` says of each `<method>/<number>` whether it is informative. Arrays:
        `gallery/...` (G, h, w), `mean_map/...` (K, 2, h, w), `by_class/...` (K, 2, 3), `curve/...`, with `gallery/ids`, `mean_map/classes`, `curve/fractions`; `lens/domain (D,)` and `lens/absent (3,)`, with which
        any other image can be explained (`probes.attribution.single_image`).

    Raises:
        ValueError: for tables that cannot be compared, masks of another size, an unknown method, or settings out of range.
    """
    table = student.table
    check_sights(student, teacher, class_weights, at_least=AT_LEAST)
    wanted = [check_method(name) for name in (METHODS if methods is None else methods)]
    _check_settings(limit, checked, gallery)
    wanted_masks = _check_masks(masks, student)
    rows = draw(table.labels, table.domain, limit=limit, seed=seed)
    report_progress = _Steps(progress, 1 + 2 * len(wanted) * (1 if teacher is None else 2))
    foreground = _select_masks(wanted_masks, student, teacher, rows, steps=steps, seed=seed)
    report_progress()
    user_masks = not isinstance(wanted_masks, str)
    settings = AttributionSettings(
        rows, class_weights, foreground.masks, target, user_masks, checked, gallery, tuple(wanted), steps, window, seed, tolerance
    )
    sides = {"": attribute_encoder(student, settings, report_progress)}
    if teacher is not None:
        sides["teacher/"] = remembered(settings.key(teacher), lambda: attribute_encoder(teacher, settings, report_progress))
        report_progress.reach_the_end()
    return ProbeResult(
        probe="attribution",
        subject=table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=_scores(sides, foreground, table.domain[rows]),
        arrays=_arrays(sides, student, rows, gallery, foreground),
        counts=_counts(sides[""].by_method, rows, table.domain, checked, gallery, len(table)),
        params={"target": target, "limit": limit, "checked": checked, "gallery": gallery, "steps": steps, "cells": CELLS}
        | ({} if tolerance is None else {"tolerance": tolerance})
        | {"absent": "mean colour of the images", "masks": foreground.reason, "methods": wanted}
        | {"status": sides[""].by_method.status, "layer": sides[""].layer}
        | ({"teacher_status": sides["teacher/"].by_method.status, "teacher_layer": sides["teacher/"].layer} if teacher is not None else {}),
        seed=seed,
        versions=versions(),
    )


class _Steps:
    """Count finished parts and report them to the caller."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def reach_the_end(self) -> None:
        """Count the parts that were remembered from an earlier student."""
        while self.done < self.total:
            self()


def _check_settings(limit: int, checked: int, gallery: int) -> None:
    if limit < SMALLEST or checked < SMALLEST:
        raise ValueError(f"`limit` and `checked` must be at least {SMALLEST}, got {limit} and {checked}; explain more images.")
    if gallery < 0:
        raise ValueError(f"`gallery` must be at least 0, got {gallery}; use 0 to keep no maps.")


def _check_masks(masks: np.ndarray | str | None, student: ProbeInput) -> np.ndarray | str | None:
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


def _select_masks(
    masks: np.ndarray | str | None, student: ProbeInput, teacher: ProbeInput | None, rows: np.ndarray, *, steps: int, seed: int
) -> Foreground:
    if masks is None:
        return Foreground(None, "no masks: none were asked for")
    if not isinstance(masks, str):
        return Foreground(masks[rows].astype(bool), "given")
    if teacher is None:
        return Foreground(None, "no masks: there is no teacher to discover them with")
    with undisturbed(teacher.encode):
        return discover(prepare_encoder(teacher, steps=steps), teacher.images(rows), seed=seed)


def _scores(sides: dict[str, EncoderAttributions], foreground: Foreground, domain: np.ndarray) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for prefix, side in sides.items():
        scores[f"{prefix}domain/auc"] = as_score(side.logit.auc.value, auc_interval(side.logit.auc), chance=0.5, bounds=(0.0, 1.0))
        for key, evaluation in side.by_method.evaluations.items():
            scores |= {f"{prefix}{key}/{name}": score for name, score in evaluation.scores.items()}
            if evaluation.informative:
                scores |= {f"{prefix}{name}": score for name, score in scores_by_domain(key, evaluation, domain).items()}
    for key, evaluation in sides[""].by_method.evaluations.items():
        twin = sides["teacher/"].by_method.evaluations.get(key) if "teacher/" in sides else None
        if twin is not None and evaluation.informative and twin.informative:
            scores |= excess_scores(key, evaluation, twin, domain)
            direction: Literal["higher", "neutral"] = "higher" if key.endswith("zero_shot") else "neutral"
            scores |= agreement_scores(key, evaluation, twin, domain, direction=direction)
    if foreground.quality is not None:
        scores["masks/content_kept"] = foreground.quality
    return scores


def _arrays(
    sides: dict[str, EncoderAttributions], student: ProbeInput, rows: np.ndarray, gallery: int, foreground: Foreground
) -> dict[str, np.ndarray]:
    arrays = {f"{prefix}{name}": array for prefix, side in sides.items() for name, array in side.by_method.arrays.items()}
    gallery_rows = rows[: 2 * gallery]
    arrays |= {
        "gallery/ids": student.table.ids[gallery_rows],
        "gallery/domain": student.table.domain[gallery_rows],
        "gallery/labels": student.table.labels[gallery_rows],
    }
    arrays |= {"mean_map/classes": sides[""].classes, "curve/fractions": np.array([0.0, *FRACTIONS, 1.0])}
    arrays["lens/absent"] = baseline_colour(student).numpy().reshape(3)
    arrays |= {f"{prefix}lens/domain": side.logit.normals.mean(axis=0).astype(np.float32) for prefix, side in sides.items()}
    if foreground.masks is not None:
        arrays["gallery/masks"] = pictures(resized(foreground.masks[: 2 * gallery], student.size))
    return arrays


def _counts(
    by_method: MethodAttributions, rows: np.ndarray, domain: np.ndarray, checked: int, gallery: int, available: int
) -> dict[str, int]:
    explained = {f"images/{side}": int((domain[rows] == side).sum()) for side in DOMAINS}
    each = min(explained.values())
    return {
        "images/available": available,
        **explained,
        "images/checked_per_domain": min(checked, each),
        "images/gallery_per_domain": min(gallery, each),
        "readings": len(by_method.evaluations),
        "readings/informative": sum(evaluation.informative for evaluation in by_method.evaluations.values()),
    } | by_method.counts
