"""Drift: how far the student's embeddings are from the teacher's on the same images, by domain and over training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import stats

from probes.compute.threads import cores, one_thread
from probes.drift.domain_shift import class_shifts, shift_cosine
from probes.drift.geometry import alignment, effective_rank, modality_gap, uniformity
from probes.embeddings import DOMAINS, EmbeddingTable
from probes.inputs import check_tables, versions
from probes.result import Direction, ProbeResult, Score
from probes.stats.folds import sample_domain
from probes.stats.intervals import LEVEL, Interval, as_score, mean_interval
from probes.stats.jackknife import BLOCKS, BlockEstimate, deal_blocks
from probes.stats.similarity import (
    RankedPairs,
    linear_cka,
    mutual_neighbours,
    procrustes_chance,
    procrustes_residual,
    representational_similarity,
)

FEWEST = 20
"""Images of a domain below which neighbours, ranks and jackknife blocks cannot be measured."""

MOST_BYTES = 2**30
"""Memory of the epochs that are measured at once, where several are."""

RSA_IMAGES = 1000
"""Images of each domain for RSA: half a million pairs give three digits."""

_DIRECTION: dict[str, Direction] = {"cosine": "higher", "cka": "higher", "procrustes": "lower", "knn_overlap": "higher", "rsa": "higher"}
_BOUNDS: dict[str, Interval] = {
    "cosine": (-1.0, 1.0),
    "cka": (-math.inf, 1.0),
    "procrustes": (0.0, 1.0),
    "knn_overlap": (0.0, 1.0),
    "rsa": (-1.0, 1.0),
    "modality_gap": (0.0, 2.0),
    "alignment": (0.0, 4.0),
    "uniformity": (-math.inf, 0.0),
    "effective_rank": (1.0, math.inf),
}


@one_thread
def drift(
    student: EmbeddingTable,
    teacher: EmbeddingTable | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    neighbours: int = 10,
    max_images: int = 4000,
    checkpoints: Mapping[int, EmbeddingTable] | None = None,
) -> ProbeResult:
    """Measure the distance from student to teacher on real and on synthetic images, and how each spreads over its sphere.

    Args:
        student: embeddings of N images of both domains.
        teacher: the teacher's embeddings of the same images; needed.
        class_weights: (D, C) for `modality_gap`, or None: then it is left out.
        seed: seed of the sample and of the jackknife's blocks.
        neighbours: k of `knn_overlap`.
        max_images: images at most, both domains together, for everything but the cosine, which takes all.
        checkpoints: epoch -> the student's table at that epoch, same images, or None.

    Returns:
        Scores `<measure>/<domain>` for cosine (when the dimensions are equal and the student has no text space of its own), cka, procrustes, knn_overlap, rsa, modality_gap, alignment,
        uniformity and effective_rank, `cosine/difference`, and `teacher/...` for the last four; `shift/angle`, `shift/angle_each_class` and
        `shift/length` of the way from real to synthetic images (as the cosine); `params["cosine"]` says why the cosine is left out; arrays `cosine (N,)`, `ids`, `domain`, and with checkpoints `epochs (E,)` and `<measure>/<domain>/by_epoch (E, 3)` value, low, high.

    Raises:
        ValueError: for a missing teacher, tables that cannot be compared, or too few images.
    """
    if teacher is None:
        raise ValueError("`teacher` must be an embedding table for `drift`, got None; embed the same images with the teacher.")
    check_tables(student, teacher, class_weights, at_least=max(FEWEST, neighbours + 2))
    rows = sample_domain(student.domain, max_images=max(max_images, 2 * max(FEWEST, neighbours + 2)), seed=seed)
    measure = _Measure(teacher, rows, class_weights=class_weights, neighbours=neighbours, seed=seed)
    scores, arrays = measure.scores(student)
    scores |= {f"teacher/{name}": score for name, score in measure.geometry_scores(teacher).items()}
    arrays |= {"ids": student.ids, "domain": student.domain}
    if checkpoints:
        arrays |= _by_epoch(measure, student, checkpoints, class_weights)
    return ProbeResult(
        probe="drift",
        subject=student.name,
        reference=teacher.name,
        scores=scores,
        arrays=arrays,
        counts={
            **{f"images/{domain}": int((student.domain == domain).sum()) for domain in DOMAINS},
            "images/sampled_per_domain": len(rows["real"]),
            "blocks": int(measure.blocks.max()) + 1,
            "epochs": len(checkpoints or {}),
        },
        params={
            "neighbours": neighbours,
            "max_images": max_images,
            "uniformity_t": 2.0,
            "alignment_pairs": "same class",
            **_cosine_params(student, teacher),
        },
        seed=seed,
        versions=versions(),
    )


def _cosine_params(student: EmbeddingTable, teacher: EmbeddingTable) -> dict[str, str]:
    """Say why the cosine does not apply; nothing where it does."""
    if student.text_space is not None:
        return {"cosine": "does not apply: the student has a text space of its own, which may be any rotation of its teacher's"}
    return {} if student.dimension == teacher.dimension else {"cosine": "does not apply: student and teacher differ in their dimension"}


class _Measure:
    """The teacher's side of every comparison, computed once for the student and all its checkpoints."""

    def __init__(
        self, teacher: EmbeddingTable, rows: dict[str, np.ndarray], *, class_weights: np.ndarray | None, neighbours: int, seed: int
    ) -> None:
        self.teacher = teacher
        self.domain, self.labels, self.rows = teacher.domain, teacher.labels, rows
        self.class_weights, self.neighbours, self.seed = class_weights, neighbours, seed
        self.blocks = deal_blocks(len(rows["real"]), seed=seed)
        self.rsa_rows = np.random.default_rng(seed).permutation(len(rows["real"]))[:RSA_IMAGES]
        self.sampled = {domain: teacher.unit(chosen) for domain, chosen in rows.items()}
        self.ranked = {
            domain: RankedPairs(x[self.rsa_rows].astype(np.float64), self.blocks[self.rsa_rows]) for domain, x in self.sampled.items()
        }

    def scores(self, student: EmbeddingTable) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
        sampled = {domain: student.unit(rows) for domain, rows in self.rows.items()}
        scores: dict[str, Score] = {}
        arrays: dict[str, np.ndarray] = {}
        if student.dimension == self.teacher.dimension and student.text_space is None:
            arrays["cosine"], sums = self._cosines(student)
            scores |= self._cosine(arrays["cosine"], sums) | self._shift(sampled)
        for domain, rows in self.rows.items():
            x, y = sampled[domain], self.sampled[domain]
            ours, theirs = x.astype(np.float64), y.astype(np.float64)
            estimates = {
                "cka": (linear_cka(ours, theirs, self.blocks), 0.0),
                "procrustes": (procrustes_residual(ours, theirs, self.blocks), procrustes_chance(ours, theirs, seed=self.seed)),
                "knn_overlap": (
                    mutual_neighbours(x, y, self.blocks, neighbours=self.neighbours),
                    self.neighbours / (len(rows) - 1),
                ),
                "rsa": (representational_similarity(ours[self.rsa_rows], self.ranked[domain], self.blocks[self.rsa_rows]), 0.0),
            }
            scores |= {f"{name}/{domain}": _score(name, estimate, chance) for name, (estimate, chance) in estimates.items()}
        return scores | self.geometry_scores(student), arrays

    def geometry_scores(self, table: EmbeddingTable) -> dict[str, Score]:
        """Compute the measures that need one encoder only."""
        scores: dict[str, Score] = {}
        weights = table.classifier(self.class_weights)
        for domain, rows in self.rows.items():
            unit = table.unit(rows)
            x = unit.astype(np.float64)
            estimates = {
                "modality_gap": None if weights is None else modality_gap(x, weights, self.blocks),
                "alignment": alignment(x, self.labels[rows], self.blocks),
                "uniformity": uniformity(unit, self.blocks),
                "effective_rank": effective_rank(x, self.blocks),
            }
            scores |= {f"{name}/{domain}": _score(name, estimate, None) for name, estimate in estimates.items() if estimate is not None}
        return scores

    def _cosines(self, student: EmbeddingTable) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Compute the cosine of every image (N,), and each domain's sums of the student's and the teacher's embeddings; reads in blocks."""
        cosine = np.empty(len(student))
        sums = {domain: (np.zeros(student.dimension), np.zeros(student.dimension)) for domain in DOMAINS}
        for (rows, x), (_, y) in zip(student.blocks(), self.teacher.blocks(), strict=True):
            cosine[rows] = np.einsum("nd,nd->n", x, y, dtype=np.float64)
            for domain, (ours, theirs) in sums.items():
                chosen = self.domain[rows] == domain
                ours += x[chosen].sum(axis=0, dtype=np.float64)
                theirs += y[chosen].sum(axis=0, dtype=np.float64)
        return cosine.clip(-1, 1), sums

    def _cosine(self, cosine: np.ndarray, sums: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Score]:
        """Score the mean cosine; chance is the mean over pairs of *different* images of the domain."""
        scores: dict[str, Score] = {}
        cosines: dict[str, np.ndarray] = {}
        for domain in DOMAINS:
            rows = self.domain == domain
            cosines[domain] = in_domain = cosine[rows]
            n = len(in_domain)
            every = float(sums[domain][0] @ sums[domain][1])
            chance = (every - float(in_domain.sum())) / (n * (n - 1))
            scores[f"cosine/{domain}"] = as_score(
                in_domain.mean(), mean_interval(in_domain), chance=chance, direction=_DIRECTION["cosine"], bounds=_BOUNDS["cosine"]
            )
        difference = cosines["synthetic"].mean() - cosines["real"].mean()
        interval = _welch(cosines["synthetic"], cosines["real"])
        scores["cosine/difference"] = as_score(difference, interval, chance=0.0, direction="neutral", bounds=(-2.0, 2.0))
        return scores

    def _shift(self, sampled: dict[str, np.ndarray]) -> dict[str, Score]:
        """Compare the way from real to synthetic images of a class in student and teacher; nothing where there is no such way."""
        rows = np.concatenate([self.rows[domain] for domain in DOMAINS])
        synthetic = np.repeat([False, True], len(self.blocks))
        ours, theirs = (np.concatenate([parts[domain] for domain in DOMAINS]).astype(np.float64) for parts in (sampled, self.sampled))
        shifts = class_shifts(ours, theirs, self.labels[rows], synthetic, np.tile(self.blocks, 2))
        if shifts is None:
            return {}
        scores: dict[str, Score] = {}
        for name, products in (("shift/angle", shifts.common), ("shift/angle_each_class", shifts.each_class)):
            cosine = shift_cosine(products)
            if cosine is not None:
                low, high = (math.degrees(math.acos(float(np.clip(end, -1, 1)))) for end in reversed(cosine.interval))
                angle = math.degrees(math.acos(cosine.value))
                scores[name] = as_score(angle, (low, high), chance=90.0, direction="lower", bounds=(0.0, 180.0))
        for name, square in (("shift/length", shifts.common[1]), ("teacher/shift/length", shifts.common[2])):
            low, high = (math.sqrt(max(end, 0.0)) for end in square.interval)
            scores[name] = as_score(math.sqrt(max(square.value, 0.0)), (low, high), chance=0.0, bounds=(0.0, 2.0))
        return scores


def _score(name: str, estimate: BlockEstimate, chance: float | None) -> Score:
    return as_score(estimate.value, estimate.interval, chance=chance, direction=_DIRECTION.get(name, "neutral"), bounds=_BOUNDS[name])


def _welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """Compute Welch's interval of the difference of two means of independent images."""
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    difference, variance = float(first.mean() - second.mean()), sum(parts)
    if variance == 0:
        return difference, difference
    freedom = variance**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * math.sqrt(variance)
    return difference - half, difference + half


def _by_epoch(
    measure: _Measure, student: EmbeddingTable, checkpoints: Mapping[int, EmbeddingTable], class_weights: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Measure each checkpoint over the same images, sample and blocks; in threads, one a core."""
    epochs = sorted(checkpoints)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for epoch in epochs:
        check_tables(checkpoints[epoch], student, class_weights, at_least=FEWEST)
    # what CKA holds of each block, and again while they are stacked
    room = max(1, MOST_BYTES // (2 * 8 * BLOCKS * student.dimension * measure.teacher.dimension))
    with ThreadPoolExecutor(min(cores(), len(epochs), room)) as pool:
        for epoch_scores in pool.map(lambda epoch: measure.scores(checkpoints[epoch])[0], epochs):
            for name, score in epoch_scores.items():
                rows.setdefault(name, []).append((score.value, score.low, score.high))
    return {"epochs": np.array(epochs, dtype=np.int64)} | {f"{name}/by_epoch": np.array(values) for name, values in rows.items()}
