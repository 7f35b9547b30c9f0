"""The confound ladder: take one thing after another away from all images alike, and see what still separates the domains."""

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

RUNGS = ("raw", "codec", "resize", "grey", "low_pass")
"""Each rung keeps what the rungs before it did."""

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
    """Measure the AUC of real vs synthetic by file facts, and at every rung by the student's embedding, the teacher's, and the pixels alone.

    Args:
        student: encoder to measure, with its images.
        teacher: its teacher over the same images, or None.
        class_weights: checked against the tables, not used.
        seed: seed of sample and folds.
        progress: called as `progress(done, total)` in rungs.
        limit: images of each domain, balanced within classes.

    Returns:
        Scores `metadata/auc` (where the table holds file facts), `embedding/auc/<rung>`, `pixels/auc/<rung>`, `teacher/embedding/auc/<rung>`,
        `excess/embedding/auc/<rung>`, and `survives/embedding/<rung>` (and its `teacher/` twin), `survives/pixels/<rung>`: what is left of AUC - 1/2, where there was
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
    measured = one_thread(_climb)(student, teacher, rows, fold, synthetic, seed, progress or (lambda done, total: None))
    scores: dict[str, Score] = {}
    if table.metadata:
        facts = {name: column[rows] for name, column in table.metadata.items()}
        area = auc_over_cells(file_fact_scores(facts, synthetic, fold, seed=seed), synthetic, fold)
        scores["metadata/auc"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)
    names = {"student": "embedding", "teacher": "teacher/embedding", "pixels": "pixels"}
    for who, areas in measured.items():
        for rung, area in areas.items():
            scores[f"{names[who]}/auc/{rung}"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)
        prefix = "teacher/survives/embedding" if who == "teacher" else f"survives/{names[who]}"
        scores |= {f"{prefix}/{rung}": score for rung, score in _survives(areas).items()}
    for rung, area in measured.get("teacher", {}).items():
        ours = measured["student"][rung]
        interval = difference_interval(ours, area)
        scores[f"excess/embedding/auc/{rung}"] = as_score(ours.value - area.value, interval, chance=0.0, bounds=(-1.0, 1.0))
    return ProbeResult(
        probe="ladder",
        subject=table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=scores,
        arrays={"rungs": np.array(RUNGS)},
        counts={**{f"images/{name}": int((table.domain[rows] == name).sum()) for name in DOMAINS}, "folds": FOLDS, "rungs": len(RUNGS)},
        params={"limit": limit, "quality": QUALITY, "crop": CROP, "shrink": SHRINK},
        seed=seed,
        versions=versions(),
    )


def climb(images: Tensor, rung: str) -> Tensor:
    """Take away what a rung and all rungs below it take away; (B, 3, H, W) in [0, 1] to the same.

    Raises:
        ValueError: for an unknown rung.
    """
    if rung not in RUNGS:
        raise ValueError(f"`rung` must be one of {list(RUNGS)}, got {rung!r}; choose one of these.")
    steps: dict[str, Callable[[Tensor], Tensor]] = {
        "raw": lambda these: these,
        "codec": lambda these: jpeg(these, quality=QUALITY),
        "resize": _resized,
        "grey": grey,
        "low_pass": low_pass,
    }
    for name in RUNGS[: RUNGS.index(rung) + 1]:
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


def _climb(
    student: ProbeInput,
    teacher: ProbeInput | None,
    rows: np.ndarray,
    fold: np.ndarray,
    synthetic: np.ndarray,
    seed: int,
    told: Callable[[int, int], None],
) -> dict[str, Areas]:
    """Measure every rung; what does not depend on the student is measured once."""
    lookers: dict[str, Callable[[Tensor], np.ndarray]] = {"student": student.embed, "pixels": lambda images: pixel_features(images.numpy())}
    plain = student.images(rows)
    told(0, len(RUNGS))
    keys = {"pixels": content("ladder", "pixels", student.raw(rows), fold, synthetic)}
    if teacher is not None:
        lookers["teacher"] = teacher.embed
        keys["teacher"] = content("ladder", teacher.table, teacher.embed(plain[:8]), student.raw(rows), fold)
    found: dict[str, Areas] = {who: {} for who in lookers}
    for number, rung in enumerate(RUNGS):
        shown = climb(plain, rung)

        def area(look: Callable[[Tensor], np.ndarray], shown: Tensor = shown) -> CrossFittedAuc:
            features = look(shown).astype(np.float64)
            return auc_over_cells(logistic_scores(features, synthetic, fold, fold).scores, synthetic, fold)

        for who, look in lookers.items():
            known = keys.get(who)
            found[who][rung] = area(look) if known is None else remembered(f"{known}/{rung}", lambda look=look: area(look))  # type: ignore[misc]
        told(number + 1, len(RUNGS))
    return found


def _survives(areas: Areas) -> dict[str, Score]:
    """Score (AUC - 1/2) / (AUC of the raw images - 1/2) over the same images and folds; nothing where the raw images do not separate."""
    raw = areas["raw"]
    if auc_interval(raw)[0] <= 0.5:
        return {}
    scores: dict[str, Score] = {}
    for rung, area in areas.items():
        if rung == "raw":
            continue
        variances = tuple(float(np.sum(part.influence**2)) + part.shared_spread**2 for part in (area, raw))
        together = float(np.sum(area.influence * raw.influence))
        alone = float(np.sqrt(np.sum(area.influence**2) * np.sum(raw.influence**2)))
        alike = together / alone if alone > 0 else 0.0
        covariance = together + alike * area.shared_spread * raw.shared_spread
        interval = ratio_interval(area.value - 0.5, raw.value - 0.5, variances=(variances[0], variances[1]), covariance=covariance)
        if interval is not None:
            scores[f"{rung}"] = as_score((area.value - 0.5) / (raw.value - 0.5), interval, chance=0.0)
    return scores
