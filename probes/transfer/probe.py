"""Transfer: how well the student classifies by the teacher's text, on synthetic and on real images, beside the teacher."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from probes.compute.memoize import content, remembered
from probes.compute.threads import one_thread
from probes.embeddings import DOMAINS, EmbeddingTable
from probes.inputs import check_tables, versions
from probes.result import ProbeResult, Score
from probes.stats.intervals import as_score, paired_proportions, smallest_proportion, subtract, wilson
from probes.transfer.calibration import BINS, calibration_error
from probes.transfer.group_accuracy import mean_class_accuracy
from probes.transfer.group_scores import Parts, check_groups, group_scores
from probes.transfer.linear_probe import cross_fitted_predictions, linear_predictions
from probes.transfer.relearning import few_shot_scores, refit_scores, sampled
from probes.transfer.zero_shot import ZeroShot, classify, hit_at_k

UNIT = (0.0, 1.0)


@one_thread
def transfer(
    student: EmbeddingTable,
    teacher: EmbeddingTable | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    logit_scale: float = 100.0,
    folds: int = 5,
    max_images: int = 4000,
    groups: np.ndarray | None = None,
) -> ProbeResult:
    """Measure zero-shot accuracy on both domains, their gap, accuracy after refits and probes, and the teacher's on the same images.

    No training image is used: probes and refits are fitted on one part of the held-out images and tested on the other.

    Args:
        student: embeddings of N images of both domains.
        teacher: the teacher's embeddings of the same images, or None.
        class_weights: (D, C) zero-shot classifier weights of the teacher's texts; needed, unless the student has a text space of its own
            (`EmbeddingTable.text_space`) and no teacher is given.
        seed: seed of folds, halves, draws and samples.
        logit_scale: multiplier of the cosines before the softmax; only the calibration error depends on it.
        folds: folds of the linear probe.
        max_images: images of each domain that the linear and few-shot probes see at most.
        groups: (N,) group of each image, such as its background or an attribute, text or whole numbers, "" where it is not known; or None.

    Returns:
        Scores `zero_shot/*`, `hit/<k>/*`, `gap`, `mean_class/*`, `worst_class/*`, `ece/*`, `linear_probe/*`, `few_shot/*`, with `groups` also
        `worst_group/*`, `mean_group/*` and `spurious_mauc/*`, their `teacher/...` twins, `excess_gap`, `below_teacher/*`, `refit/*`,
        `refit_gain/*`, `refit_share/*`; of a student with a text space of its own, which `zero_shot/*` is measured in,
        `teacher_space/zero_shot/*` too where the dimensions are equal; arrays `correct`, `prediction`, `class_accuracy/*`, `ids`, `labels`, `domain`, and with `groups`
        those of `group_scores`.

    Raises:
        ValueError: for tables that cannot be compared, missing `class_weights`, a logit scale that is not positive, or `groups` that do not
            fit the table.
    """
    if class_weights is None and teacher is None and student.text_space is not None:
        class_weights = student.text_space.class_weights
    if class_weights is None:
        raise ValueError(
            "`class_weights` must be a (D, C) array for `transfer`, got None; embed the class prompts with the teacher's text tower, or give --class-weights W.npy."
        )
    if not (math.isfinite(logit_scale) and logit_scale > 0):
        raise ValueError(f"`logit_scale` must be positive, got {logit_scale}; take the teacher's own.")
    class_weights = np.asarray(class_weights, dtype=np.float64)
    check_tables(student, teacher, class_weights, at_least=max(2, folds))
    groups = check_groups(groups, len(student))
    measure = partial(
        _one_encoder, class_weights=class_weights, logit_scale=logit_scale, folds=folds, max_images=max_images, seed=seed, groups=groups
    )
    space = student.text_space
    if space is None:
        scores, arrays, counts = measure(student)
    else:
        scores, arrays, counts = measure(student, class_weights=space.class_weights, logit_scale=space.logit_scale)
        scores |= _in_teacher_space(student, class_weights)
    teacher_correct = None
    if teacher is not None:
        key = content("transfer", teacher, class_weights, logit_scale, folds, max_images, seed, groups)
        teacher_scores, teacher_arrays, _ = remembered(key, lambda: measure(teacher))
        teacher_correct = teacher_arrays["correct"]
        scores |= _beside_teacher(arrays["correct"], teacher_correct, student.domain)
        scores |= {f"teacher/{name}": score for name, score in teacher_scores.items()}
        arrays |= {f"teacher/{name}": array.copy() for name, array in teacher_arrays.items()}
    refit, refit_counts = refit_scores(
        student, teacher, class_weights, correct=arrays["correct"], teacher_correct=teacher_correct, seed=seed
    )
    scores |= refit
    counts |= refit_counts
    arrays |= {"ids": student.ids, "labels": student.labels, "domain": student.domain}
    counts |= {f"images/{domain}": int((student.domain == domain).sum()) for domain in DOMAINS}
    return ProbeResult(
        probe="transfer",
        subject=student.name,
        reference=teacher.name if teacher is not None else None,
        scores=scores,
        arrays=arrays,
        counts={**counts, "classes": class_weights.shape[1]},
        params={"logit_scale": logit_scale, "ece_bins": BINS, "folds": folds, "max_images": max_images, **_own_params(student)},
        seed=seed,
        versions=versions(),
    )


def _in_teacher_space(student: EmbeddingTable, class_weights: np.ndarray) -> dict[str, Score]:
    """Score `teacher_space/zero_shot/<domain>` of a student with its own text space; nothing where the teacher's texts have another dimension."""
    if student.dimension != class_weights.shape[0] or student.text_space is None or student.text_space.matches(class_weights):
        return {}
    answers = classify(student, class_weights / np.linalg.norm(class_weights, axis=0), logit_scale=1.0)
    scores, _ = _zero_shot(student, answers, classes=class_weights.shape[1], seed=0)
    return {f"teacher_space/zero_shot/{domain}": scores[f"zero_shot/{domain}"] for domain in DOMAINS}


def _own_params(student: EmbeddingTable) -> dict[str, Any]:
    space = student.text_space
    return {} if space is None else {"text_space": "own", "own_logit_scale": space.logit_scale, "own_logit_bias": space.logit_bias}


def _one_encoder(
    table: EmbeddingTable,
    *,
    class_weights: np.ndarray,
    logit_scale: float,
    folds: int,
    max_images: int,
    seed: int,
    groups: np.ndarray | None,
) -> Parts:
    """Measure what needs one encoder only."""
    unit_weights = class_weights / np.linalg.norm(class_weights, axis=0)
    answers = classify(table, unit_weights, logit_scale=logit_scale)
    scores, arrays = _zero_shot(table, answers, classes=class_weights.shape[1], seed=seed)
    linear, counts = _linear_probe(table, folds=folds, max_images=max_images, seed=seed)
    few_shot, few_shot_counts = few_shot_scores(table, max_images=max_images, seed=seed)
    scores |= linear | few_shot
    counts |= few_shot_counts
    if groups is not None:
        by_group, group_arrays, group_counts = group_scores(table, answers, unit_weights, groups, logit_scale=logit_scale)
        scores |= by_group
        arrays |= group_arrays
        counts |= group_counts
    return scores, arrays, counts


def _zero_shot(table: EmbeddingTable, answers: ZeroShot, *, classes: int, seed: int) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Score accuracy, hit@k, accuracy by class and calibration of each domain, and the gap between the domains."""
    confidence, correct = answers.confidence, answers.prediction == table.labels
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {
        "correct": correct,
        "prediction": answers.prediction,
        "confidence": confidence.astype(np.float32),
    }
    for domain in DOMAINS:
        rows = table.domain == domain
        right, n = int(correct[rows].sum()), int(rows.sum())
        images = np.bincount(table.labels[rows], minlength=classes)  # (C,)
        # Naming the largest class for every image is right on its share.
        chance = max(1 / classes, images.max() / n)
        scores[f"zero_shot/{domain}"] = as_score(right / n, wilson(right, n), chance=chance, direction="higher")
        for k, score in hit_at_k(answers.label_rank[rows], table.labels[rows], classes=classes).items():
            scores[f"hit/{k}/{domain}"] = score
        hits = np.bincount(table.labels[rows & correct], minlength=classes)  # (C,)
        arrays[f"class_accuracy/{domain}"] = np.divide(hits, images, out=np.full(classes, np.nan), where=images > 0)
        arrays[f"class_count/{domain}"] = images
        scores[f"mean_class/{domain}"] = mean_class_accuracy(hits, images)
        worst = smallest_proportion(hits[images > 0], images[images > 0])
        scores[f"worst_class/{domain}"] = as_score(
            np.nanmin(arrays[f"class_accuracy/{domain}"]), worst, chance=1 / classes, direction="higher", bounds=UNIT
        )
        error, interval = calibration_error(confidence[rows], correct[rows], seed=seed)
        scores[f"ece/{domain}"] = as_score(error, interval, chance=None, direction="lower", bounds=UNIT)
    synthetic, real = (scores[f"zero_shot/{domain}"] for domain in ("synthetic", "real"))
    gap = subtract((synthetic.value, (synthetic.low, synthetic.high)), (real.value, (real.low, real.high)))
    scores["gap"] = as_score(synthetic.value - real.value, gap, chance=0.0, direction="lower", bounds=(-1.0, 1.0))
    return scores, arrays


def _beside_teacher(correct: np.ndarray, teacher_correct: np.ndarray, domain: np.ndarray) -> dict[str, Score]:
    """Compare the two encoders over the same images; the domains hold different images and are independent."""
    scores: dict[str, Score] = {}
    parts = {}
    for name in DOMAINS:
        rows = domain == name
        below = float(teacher_correct[rows].mean() - correct[rows].mean())
        interval = paired_proportions(teacher_correct[rows], correct[rows])
        scores[f"below_teacher/{name}"] = as_score(below, interval, chance=0.0, direction="lower", bounds=(-1.0, 1.0))
        parts[name] = (below, (scores[f"below_teacher/{name}"].low, scores[f"below_teacher/{name}"].high))
    # (student - teacher) on synthetic minus (student - teacher) on real = below on real minus below on synthetic
    excess = parts["real"][0] - parts["synthetic"][0]
    scores["excess_gap"] = as_score(excess, subtract(parts["real"], parts["synthetic"]), chance=0.0, direction="lower", bounds=(-2.0, 2.0))
    return scores


def _linear_probe(table: EmbeddingTable, *, folds: int, max_images: int, seed: int) -> tuple[dict[str, Score], dict[str, int]]:
    """Fit within each domain; a domain whose classes are smaller than the folds is left out and its count says 0."""
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    rows = {domain: sampled(table.domain == domain, max_images=max_images, seed=seed) for domain in DOMAINS}
    sizes = {domain: np.unique(table.labels[sample], return_counts=True)[1] for domain, sample in rows.items()}
    chance = {domain: float(size.max() / size.sum()) for domain, size in sizes.items()}
    for domain in DOMAINS:
        usable = len(sizes[domain]) > 1 and sizes[domain].min() >= folds
        counts[f"linear_probe/{domain}"] = len(rows[domain]) if usable else 0
        if not usable:
            continue
        labels = table.labels[rows[domain]]
        right = int((cross_fitted_predictions(table.unit(rows[domain]), labels, folds=folds, seed=seed) == labels).sum())
        accuracy = right / len(labels)
        # Folds share training images: without signal each pair of images counts twice, which doubles the variance; with signal it fades.
        shared = 1 + min(1.0, (1 - accuracy) / (1 - chance[domain]))
        interval = wilson(right / shared, len(labels) / shared)
        scores[f"linear_probe/{domain}"] = as_score(accuracy, interval, chance=chance[domain], direction="higher")
    if counts["linear_probe/synthetic"]:
        synthetic, real = rows["synthetic"], rows["real"]
        right = int((linear_predictions(table.unit(synthetic), table.labels[synthetic], table.unit(real)) == table.labels[real]).sum())
        scores["linear_probe/synthetic_to_real"] = as_score(
            right / len(real), wilson(right, len(real)), chance=chance["real"], direction="higher"
        )
    return scores, counts
