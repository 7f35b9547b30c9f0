"""The corruptions probe: the accuracy that common corruptions cost the student, and what they cost beyond its teacher's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from probes.compute.memoize import content, remembered
from probes.corruptions.kinds import CORRUPTIONS, corrupt
from probes.corruptions.severity import SEVERITIES, corruption_settings
from probes.embeddings import DOMAINS
from probes.inputs import check_sights, versions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult, Score
from probes.stats import paired
from probes.stats.intervals import as_score, wilson
from probes.stats.sampling import sample_rows

VALUES_AT_ONCE = 3_000_000
"""Numbers in one batch of images; bounds the memory whatever the size of the images."""

SMALLEST_SIDE = 8

LEAST_IMAGES = 4
"""Images of each domain from which on a corruption can show anything: where it costs the student every image and its teacher none, the 95 % interval of
the excess lies above 0 with 4 images, and not with 3."""

Progress = Callable[[int, int], None]


def corruptions(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limit: int = 150,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
) -> ProbeResult:
    """Measure zero-shot accuracy under 15 common corruptions at 5 severities, beside the teacher on the same corrupted images.

    Args:
        student: encoder to measure, with its images.
        teacher: its teacher over the same images, or None; then there is no `excess/...`.
        class_weights: (D, C) zero-shot classifier weights; needed.
        seed: seed of the sample and of every corruption.
        progress: called as `progress(done, total)` in corrupted images shown.
        limit: images of each domain, spread over the classes.
        kinds: names in `CORRUPTIONS`.

    Returns:
        Scores `clean/<domain>`, `<kind>/<domain>` (mean over severities), `mean/<domain>`, `drop/<domain>` (clean minus mean), their
        `teacher/...` twins, `excess/<kind>/<domain>` and `excess/mean/<domain>` (drop minus the teacher's, paired); arrays
        `accuracy/<domain>` (kinds, 5), `kinds`, `ids`.

    Raises:
        ValueError: for tables that cannot be compared, missing `class_weights`, unknown kinds, or images below 8 pixels.
    """
    if class_weights is None:
        raise ValueError(
            "`class_weights` must be a (D, C) array for `corruptions`, got None; embed the class prompts with the teacher's text tower, or give --class-weights W.npy."
        )
    check_sights(student, teacher, class_weights, at_least=LEAST_IMAGES)
    side = min(student.size)
    if side < SMALLEST_SIDE:
        raise ValueError(
            f"`pixels` must be at least {SMALLEST_SIDE} pixels high and wide for corruptions, got {student.size}; use larger images."
        )
    if limit < LEAST_IMAGES:
        raise ValueError(
            f"`limit` must be at least {LEAST_IMAGES} images of each domain, got {limit}; with fewer no corruption can show anything."
        )
    sources = {corruption_settings(kind, 1, side).source for kind in kinds}  # also refuses unknown kinds
    rows = sample_rows(student.table.labels, student.table.domain, limit=limit, seed=seed)
    weights = np.asarray(class_weights, dtype=np.float64)
    per_encoder = len(rows) * (1 + len(kinds) * len(SEVERITIES))
    total = per_encoder * (1 if teacher is None else 2)
    report_progress = progress or (lambda done, total: None)
    ours = _correct(student, student, rows, weights, tuple(kinds), seed, lambda done: report_progress(done, total))
    domain = student.table.domain[rows]
    scores, arrays = _encoder_scores(ours, domain, tuple(kinds), 1 / weights.shape[1])
    if teacher is not None:

        def measure_teacher() -> np.ndarray:
            return _correct(teacher, student, rows, weights, tuple(kinds), seed, lambda done: report_progress(per_encoder + done, total))

        sample_embeddings = teacher.embed(student.images(rows[:8]))
        theirs = remembered(
            content("corruptions", teacher.table, sample_embeddings, rows, class_weights, tuple(kinds), student.size, seed), measure_teacher
        )
        report_progress(total, total)
        teacher_scores, teacher_arrays = _encoder_scores(theirs, domain, tuple(kinds), 1 / weights.shape[1])
        scores |= {f"teacher/{name}": score for name, score in teacher_scores.items()} | _excess(ours, theirs, domain, tuple(kinds))
        arrays |= {f"teacher/{name}": array for name, array in teacher_arrays.items()}
    return ProbeResult(
        probe="corruptions",
        subject=student.table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=scores,
        arrays=arrays | {"kinds": np.array(kinds), "ids": student.table.ids[rows], "domain": domain},
        counts={**{f"images/{name}": int((domain == name).sum()) for name in DOMAINS}, "kinds": len(kinds), "severities": len(SEVERITIES)},
        params={"limit": limit, "kinds": list(kinds), "side": side, "severities_from": sorted(sources)},
        seed=seed,
        versions=versions(),
    )


def _correct(
    encoder: ProbeInput,
    images_of: ProbeInput,
    rows: np.ndarray,
    weights: np.ndarray,
    kinds: tuple[str, ...],
    seed: int,
    report_done: Callable[[int], None],
) -> np.ndarray:
    """Return which predictions are right, (M, 1 + kinds * 5) bool, the clean images first."""
    import torch

    height, width = images_of.size
    space = encoder.table.text_space
    weights = weights if space is None else space.class_weights
    weights = weights / np.linalg.norm(weights, axis=0)
    step = int(np.clip(VALUES_AT_ONCE // (3 * height * width), 1, 250))
    labels = images_of.table.labels[rows]
    cells = [(kind, severity) for kind in kinds for severity in SEVERITIES]
    right = np.zeros((len(rows), 1 + len(cells)), dtype=bool)
    done = 0
    for start in range(0, len(rows), step):
        here = slice(start, min(start + step, len(rows)))
        clean = images_of.images(rows[here]).numpy()
        for column in range(right.shape[1]):
            images = clean if column == 0 else corrupt(clean, *cells[column - 1], keys=seed * 1_000_003 + rows[here])
            predictions = (encoder.embed(torch.from_numpy(images)) @ weights).argmax(axis=1)
            right[here, column] = predictions == labels[here]
            done += len(clean)
            report_done(done)
    return right


def _means(right: np.ndarray, kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Compute each image's share of right predictions, (M,), for every kind and for all of them."""
    changed = right[:, 1:].reshape(len(right), len(kinds), len(SEVERITIES)).astype(np.float64)
    return {kind: changed[:, number].mean(axis=1) for number, kind in enumerate(kinds)} | {"mean": changed.mean(axis=(1, 2))}


def _encoder_scores(
    right: np.ndarray, domain: np.ndarray, kinds: tuple[str, ...], chance: float
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Score one encoder alone."""
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in DOMAINS:
        rows = domain == name
        clean = right[rows, 0]
        scores[f"clean/{name}"] = as_score(
            clean.mean(), wilson(clean.sum(), len(clean)), chance=chance, direction="higher", bounds=(0.0, 1.0)
        )
        means = _means(right[rows], kinds)
        for kind, share in means.items():
            # one image each right and wrong is added, so that 50 right predictions do not look certain
            padded = np.append(share, [0.0, 1.0])
            interval = paired.around((float(padded.mean()), float(padded.std()) / np.sqrt(len(padded))))
            scores[f"{kind}/{name}"] = as_score(share.mean(), interval, chance=chance, direction="higher", bounds=(0.0, 1.0))
        lost = clean - means["mean"]
        scores[f"drop/{name}"] = as_score(
            lost.mean(), paired.around(paired.middle_and_error(lost)), chance=0.0, direction="lower", bounds=(-1.0, 1.0)
        )
        arrays[f"accuracy/{name}"] = right[rows, 1:].mean(axis=0).reshape(len(kinds), len(SEVERITIES))
    return scores, arrays


def _excess(ours: np.ndarray, theirs: np.ndarray, domain: np.ndarray, kinds: tuple[str, ...]) -> dict[str, Score]:
    """Score the student's drop minus the teacher's on the same images."""
    scores: dict[str, Score] = {}
    for name in DOMAINS:
        rows = domain == name
        lost, teacher_lost = (
            {kind: right[rows, 0] - share for kind, share in _means(right[rows], kinds).items()} for right in (ours, theirs)
        )
        for kind in lost:
            excess = lost[kind] - teacher_lost[kind]
            scores[f"excess/{kind}/{name}"] = as_score(
                excess.mean(), paired.around(paired.middle_and_error(excess)), chance=0.0, direction="lower", bounds=(-2.0, 2.0)
            )
    return scores
