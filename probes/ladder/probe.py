"""Confound controls: remove one possible confound after another from all images alike, and measure what still separates the domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from probes.compute.memoize import content, remembered
from probes.compute.threads import one_thread
from probes.edits.colour import grey
from probes.edits.scales import low_pass
from probes.edits.traces import jpeg
from probes.embeddings import DOMAINS
from probes.inputs import check_sights, versions
from probes.ladder.pixel_features import pixel_features
from probes.probe_input import ProbeInput
from probes.result import ProbeResult, Score
from probes.stats.auc import CrossFittedAuc, auc_interval, auc_over_cells, difference_interval
from probes.stats.domain_classifiers import file_fact_scores, logistic_scores
from probes.stats.folds import balanced_sample, stratified_folds
from probes.stats.intervals import as_score
from probes.stats.ratio import ratio_interval

if TYPE_CHECKING:
    from torch import Tensor

CONTROLS = ("raw", "codec", "resize", "grey", "low_pass")
"""Confound controls in order; each includes those before it."""

QUALITY = 70
"""JPEG quality of the common codec, on the coarse side of what image sets are stored at."""

CROP, SHRINK = 7 / 8, 3 / 4
"""Share of the side that is kept, and size through which it passes: every image loses its own borders and its own pixel grid."""

FOLDS = 5
FEWEST = 2 * FOLDS
SMALLEST_SIDE = 8
UNIT = (0.0, 1.0)

Areas = dict[str, CrossFittedAuc]


def ladder(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 600,
) -> ProbeResult:
    """Measure the AUC of real vs synthetic from file facts, and under every confound control from the student's embedding, the teacher's, and pixels.

    Args:
        student: encoder to measure, with its images.
        teacher: its teacher over the same images, or None.
        class_weights: checked against the tables, not used.
        seed: seed of sample and folds.
        progress: called as `progress(done, total)` in controls.
        limit: images of each domain, balanced within classes.

    Returns:
        Scores `metadata/auc` (where the table holds file facts), `embedding/auc/<control>`, `pixels/auc/<control>`, `teacher/embedding/auc/<control>`,
        `excess/embedding/auc/<control>`, and `survives/embedding/<control>` (and its `teacher/` twin), `survives/pixels/<control>`: what is left of AUC - 1/2, where there was
        any; array `rungs`.

    Raises:
        ValueError: for tables that cannot be compared, too few images, or images below 8 pixels.
    """
    check_sights(student, teacher, class_weights, at_least=FEWEST)
    if min(student.size) < SMALLEST_SIDE:
        raise ValueError(
            f"`pixels` must be at least {SMALLEST_SIDE} pixels high and wide for `ladder`, got {student.size}; use larger images."
        )
    table = student.table
    rows = balanced_sample(table.labels, table.domain == "synthetic", max_images=2 * limit, seed=seed)
    synthetic = table.domain[rows] == "synthetic"
    fold = stratified_folds(2 * table.labels[rows] + synthetic, folds=FOLDS, seed=seed)
    measured = one_thread(_measure_controls)(student, teacher, rows, fold, synthetic, seed, progress or (lambda done, total: None))
    scores: dict[str, Score] = {}
    if table.metadata:
        facts = {name: column[rows] for name, column in table.metadata.items()}
        area = auc_over_cells(file_fact_scores(facts, synthetic, fold, seed=seed), synthetic, fold)
        scores["metadata/auc"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)
    names = {"student": "embedding", "teacher": "teacher/embedding", "pixels": "pixels"}
    for who, areas in measured.items():
        for control, area in areas.items():
            scores[f"{names[who]}/auc/{control}"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)
        prefix = "teacher/survives/embedding" if who == "teacher" else f"survives/{names[who]}"
        scores |= {f"{prefix}/{control}": score for control, score in _survives(areas).items()}
    for control, area in measured.get("teacher", {}).items():
        ours = measured["student"][control]
        interval = difference_interval(ours, area)
        scores[f"excess/embedding/auc/{control}"] = as_score(ours.value - area.value, interval, chance=0.0, bounds=(-1.0, 1.0))
    return ProbeResult(
        probe="ladder",
        subject=table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=scores,
        arrays={"rungs": np.array(CONTROLS)},
        counts={**{f"images/{name}": int((table.domain[rows] == name).sum()) for name in DOMAINS}, "folds": FOLDS, "rungs": len(CONTROLS)},
        params={"limit": limit, "quality": QUALITY, "crop": CROP, "shrink": SHRINK},
        seed=seed,
        versions=versions(),
    )


def apply_controls(images: Tensor, control: str) -> Tensor:
    """Apply a confound control and all controls before it.

    Args:
        images: (B, 3, H, W) float in [0, 1].
        control: one of `CONTROLS`.

    Returns:
        Images of the same shape and range.

    Raises:
        ValueError: for an unknown control.
    """
    if control not in CONTROLS:
        raise ValueError(f"`control` must be one of {list(CONTROLS)}, got {control!r}; choose one of these.")
    steps: dict[str, Callable[[Tensor], Tensor]] = {
        "raw": lambda batch: batch,
        "codec": lambda batch: jpeg(batch, quality=QUALITY),
        "resize": _resized,
        "grey": grey,
        "low_pass": low_pass,
    }
    for name in CONTROLS[: CONTROLS.index(control) + 1]:
        images = steps[name](images)
    return images


def _resized(images: Tensor) -> Tensor:
    """Cut to the centre, shrink and enlarge back, bilinear."""
    from torch.nn import functional as F

    height, width = images.shape[-2:]
    top, left = round(height * (1 - CROP) / 2), round(width * (1 - CROP) / 2)
    middle = images[..., top : height - top, left : width - left]
    small = F.interpolate(middle, size=(round(height * SHRINK), round(width * SHRINK)), mode="bilinear", antialias=True)
    return F.interpolate(small, size=(height, width), mode="bilinear").clamp(0, 1)


def _measure_controls(
    student: ProbeInput,
    teacher: ProbeInput | None,
    rows: np.ndarray,
    fold: np.ndarray,
    synthetic: np.ndarray,
    seed: int,
    report_progress: Callable[[int, int], None],
) -> dict[str, Areas]:
    """Measure every control; what does not depend on the student is measured once."""
    features_of: dict[str, Callable[[Tensor], np.ndarray]] = {
        "student": student.embed,
        "pixels": lambda images: pixel_features(images.numpy()),
    }
    plain = student.images(rows)
    report_progress(0, len(CONTROLS))
    keys = {"pixels": content("ladder", "pixels", student.raw(rows), fold, synthetic)}
    if teacher is not None:
        features_of["teacher"] = teacher.embed
        keys["teacher"] = content("ladder", teacher.table, teacher.embed(plain[:8]), student.raw(rows), fold)
    areas: dict[str, Areas] = {who: {} for who in features_of}
    for number, control in enumerate(CONTROLS):
        controlled = apply_controls(plain, control)

        def area(extract: Callable[[Tensor], np.ndarray], images: Tensor = controlled) -> CrossFittedAuc:
            features = extract(images).astype(np.float64)
            return auc_over_cells(logistic_scores(features, synthetic, fold, fold).scores, synthetic, fold)

        for who, extract in features_of.items():
            key = keys.get(who)
            areas[who][control] = area(extract) if key is None else remembered(f"{key}/{control}", lambda extract=extract: area(extract))  # type: ignore[misc]
        report_progress(number + 1, len(CONTROLS))
    return areas


def _survives(areas: Areas) -> dict[str, Score]:
    """Score (AUC - 1/2) / (AUC of the raw images - 1/2) over the same images and folds; nothing where the raw images do not separate."""
    raw = areas["raw"]
    if auc_interval(raw)[0] <= 0.5:
        return {}
    scores: dict[str, Score] = {}
    for control, area in areas.items():
        if control == "raw":
            continue
        variances = tuple(float(np.sum(part.influence**2)) + part.shared_spread**2 for part in (area, raw))
        together = float(np.sum(area.influence * raw.influence))
        alone = float(np.sqrt(np.sum(area.influence**2) * np.sum(raw.influence**2)))
        alike = together / alone if alone > 0 else 0.0
        covariance = together + alike * area.shared_spread * raw.shared_spread
        interval = ratio_interval(area.value - 0.5, raw.value - 0.5, variances=(variances[0], variances[1]), covariance=covariance)
        if interval is not None:
            scores[f"{control}"] = as_score((area.value - 0.5) / (raw.value - 0.5), interval, chance=0.0)
    return scores
