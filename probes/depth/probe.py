"""The depth probe: how well domains and classes can be read at several depths of the network, beside the teacher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from probes.compute.memoize import content, remembered
from probes.compute.threads import one_thread
from probes.depth.stages import features_at, stage_names
from probes.embeddings import DOMAINS
from probes.inputs import check_sights, versions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult, Score
from probes.stats.auc import auc_interval, auc_over_cells
from probes.stats.domain_classifiers import logistic_scores
from probes.stats.folds import balanced_sample, stratified_folds
from probes.stats.intervals import as_score, paired_proportions, wilson
from probes.stats.ridge import refit_predictions

WIDEST = 128
"""Coordinates kept at each depth: the principal ones of the standardised features, found without labels or domains."""

FOLDS = 5
FEWEST = 2 * FOLDS
"""Images of each domain and class that the folds need."""

Measured = tuple[dict[str, Score], dict[str, np.ndarray]]


def depth(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 1000,
    stages: int = 6,
) -> ProbeResult:
    """Measure at up to six depths and at the embedding how well domains are told apart, and how well a linear map finds the class's text.

    Args:
        student: encoder to measure; it has to be a torch module.
        teacher: its teacher over the same images, or None; one that is no module is left out.
        class_weights: (D, C) zero-shot classifier weights, or None: then there are no `refit/...` scores.
        seed: seed of sample and folds.
        progress: called as `progress(done, total)` in encoders.
        limit: images of each domain, balanced within classes.
        stages: depths at most, besides the embedding.

    Returns:
        Scores `auc/at_<k>`, `within_class/auc/at_<k>`, `refit/to_classes/at_<k>/<domain>`, k = 1 for the first stage, and the same `.../at_end` for the
        embedding, with `teacher/...` twins; `refit_gain/before_projection/<domain>`: the last stage before the embedding minus zero-shot; arrays
        `stages` and `teacher/stages` (names).

    Raises:
        ValueError: for tables that cannot be compared, an encoder without modules, or too few images.
    """
    check_sights(student, teacher, class_weights, at_least=FEWEST)
    if student.module is None:
        raise ValueError(
            "`student` must be a torch module for `depth`, got another callable; pass the module whose layers are to be looked at."
        )
    table, report_progress = student.table, progress or (lambda done, total: None)
    rows = balanced_sample(table.labels, table.domain == "synthetic", max_images=2 * limit, seed=seed)
    encoders = 1 + (teacher is not None and teacher.module is not None)
    report_progress(0, encoders)
    measure = one_thread(_measured)
    scores, arrays = measure(student, student, rows, class_weights, seed, stages)
    report_progress(1, encoders)
    if encoders > 1 and teacher is not None:
        sample_embeddings = teacher.embed(student.images(rows[:8]))
        key = content("depth", teacher.table, sample_embeddings, rows, class_weights, student.size, seed, stages)
        teacher_scores, teacher_arrays = remembered(key, lambda: measure(teacher, student, rows, class_weights, seed, stages))
        scores |= {f"teacher/{name}": score for name, score in teacher_scores.items()}
        arrays |= {f"teacher/{name}": array.copy() for name, array in teacher_arrays.items()}
        report_progress(2, encoders)
    return ProbeResult(
        probe="depth",
        subject=table.name,
        reference=teacher.table.name if encoders > 1 and teacher is not None else None,
        scores=scores,
        arrays=arrays,
        counts={
            **{f"images/{name}": int((table.domain[rows] == name).sum()) for name in DOMAINS},
            "stages": len(arrays["stages"]),
            "folds": FOLDS,
        },
        params={"limit": limit, "stages": stages, "widest": WIDEST, "pooling": "mean and standard deviation of each channel"},
        seed=seed,
        versions=versions(),
    )


def _measured(
    encoder: ProbeInput, images_of: ProbeInput, rows: np.ndarray, class_weights: np.ndarray | None, seed: int, stages: int
) -> Measured:
    """Measure one encoder at every depth on some rows."""
    module = encoder.module
    if module is None:
        return {}, {}
    class_weights = encoder.table.classifier(class_weights)
    features_by_stage = _features(encoder, images_of, rows, stages)
    labels, synthetic = images_of.table.labels[rows], images_of.table.domain[rows] == "synthetic"
    fold = stratified_folds(2 * labels + synthetic, folds=FOLDS, seed=seed)
    depths = {f"at_{number}": features for number, features in enumerate(features_by_stage.values(), start=1)}
    depths["at_end"] = encoder.table.unit(rows)
    scores: dict[str, Score] = {}
    for place, features in depths.items():
        reduced = principal(features)
        scores |= _separability(place, reduced, labels, synthetic, fold)
        if class_weights is not None:
            scores |= _readable(place, reduced, labels, synthetic, class_weights, seed)
    if class_weights is not None and features_by_stage:
        weights = class_weights / np.linalg.norm(class_weights, axis=0)
        before = (depths["at_end"] @ weights).argmax(axis=1) == labels
        last = _right(list(features_by_stage.values())[-1], labels, synthetic, weights, seed)
        for name, mask in (("real", ~synthetic), ("synthetic", synthetic)):
            gain = float(last[mask].mean() - before[mask].mean())
            scores[f"refit_gain/before_projection/{name}"] = as_score(
                gain, paired_proportions(last[mask], before[mask]), chance=0.0, bounds=(-1.0, 1.0)
            )
    return scores, {"stages": np.array(list(features_by_stage), dtype=str)}


def _features(encoder: ProbeInput, images_of: ProbeInput, rows: np.ndarray, stages: int) -> dict[str, np.ndarray]:
    """Compute the pooled features of every stage that is not the embedding itself."""
    module = encoder.module
    if module is None:
        return {}
    images = images_of.images(rows)
    features_by_stage = features_at(module, stage_names(module, images[:1], most=stages + 1), images)
    unit = encoder.table.unit(rows)

    def is_embedding(features: np.ndarray) -> bool:
        length = np.linalg.norm(features, axis=1, keepdims=True)
        return features.shape == unit.shape and bool((length > 0).all()) and np.allclose(features / length, unit, atol=1e-4)

    varies = {
        name: features for name, features in features_by_stage.items() if np.ptp(features, axis=0).max() > 0 and np.isfinite(features).all()
    }
    return {name: features for name, features in varies.items() if not is_embedding(features)}


def principal(features: np.ndarray, *, most: int = WIDEST) -> np.ndarray:
    """Standardise features (N, F) and keep the coordinates of most variance, (N, at most `most`); constant features are dropped."""
    x = features.astype(np.float64)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0))[:, spread > 1e-8 * max(float(spread.max()), 1e-30)] / spread[spread > 1e-8 * max(float(spread.max()), 1e-30)]
    if x.shape[1] <= most:
        return x
    values, vectors = np.linalg.eigh(x.T @ x)
    return x @ vectors[:, np.argsort(-values, kind="stable")[:most]]


def _separability(place: str, x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, fold: np.ndarray) -> dict[str, Score]:
    """Score the held-out AUC of a linear classifier of the domain, pooled and within class."""
    scores: dict[str, Score] = {}
    cells = {"": (fold, None), "within_class/": (labels * FOLDS + fold, labels)}
    for prefix, (cell, within) in cells.items():
        area = auc_over_cells(logistic_scores(x, synthetic, fold, cell, labels=within).scores, synthetic, cell)
        scores[f"{prefix}auc/{place}"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=(0.0, 1.0))
    return scores


def _readable(
    place: str, x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, class_weights: np.ndarray, seed: int
) -> dict[str, Score]:
    """Score the zero-shot accuracy after the best linear map from this depth to the class texts, fitted on the other half."""
    weights = class_weights / np.linalg.norm(class_weights, axis=0)
    right = _right(x, labels, synthetic, weights, seed)
    scores: dict[str, Score] = {}
    for name, mask in (("real", ~synthetic), ("synthetic", synthetic)):
        accuracy, n, chance = float(right[mask].mean()), int(mask.sum()), 1 / weights.shape[1]
        # halves share images as folds do: see the linear probe of `transfer`
        shared = 1 + min(1.0, (1 - accuracy) / max(1 - chance, 1e-9))
        interval = wilson(right[mask].sum() / shared, n / shared)
        scores[f"refit/to_classes/{place}/{name}"] = as_score(accuracy, interval, chance=chance, direction="higher")
    return scores


def _right(x: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    """Return which images are classified right after a refit within their domain, (M,) bool."""
    right = np.zeros(len(labels), dtype=bool)
    for mask in (~synthetic, synthetic):
        right[mask] = refit_predictions(x[mask], weights.T[labels[mask]], labels[mask], weights, seed=seed) == labels[mask]
    return right
