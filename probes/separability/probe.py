"""Separability: how well real and synthetic images can be told apart in an embedding, beside the teacher's, and whether predictions use the difference."""

from __future__ import annotations

from functools import partial

import numpy as np

from probes.compute.memoize import content, remembered
from probes.compute.threads import one_thread
from probes.embeddings import EmbeddingTable
from probes.inputs import check_tables, versions
from probes.result import ProbeResult, Score
from probes.separability.content_matching import MatchedPairs, match_content
from probes.separability.distance_scores import NEIGHBOURS, REPEATS, distance_scores
from probes.separability.linear_erasure import direction_scores
from probes.separability.permutation import PermutationTest, ShuffledDomains
from probes.stats.auc import CrossFittedAuc, auc_interval, auc_over_cells, difference_interval
from probes.stats.domain_classifiers import STRENGTHS, DomainScores, file_fact_scores, logistic_scores, neighbour_scores
from probes.stats.folds import balanced_sample, stratified_folds
from probes.stats.intervals import as_score, exact_proportion, mean_interval

UNIT = (0.0, 1.0)


@one_thread
def separability(
    student: EmbeddingTable,
    teacher: EmbeddingTable | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    folds: int = 5,
    neighbours: int = 15,
    permutations: int = 200,
    max_images: int = 4000,
    groups: np.ndarray | None = None,
) -> ProbeResult:
    """Measure how well real and synthetic images are told apart, the distance of the two distributions, and whether predictions use the difference.

    Args:
        student: embeddings of N images of both domains.
        teacher: the teacher's embeddings of the same images, or None.
        class_weights: (D, C) for `direction/...`, or None: then these are left out.
        seed: seed of sample, folds and shuffles.
        folds: K, at least 2.
        neighbours: k of the kNN classifier.
        permutations: B of the permutation test.
        max_images: images of the balanced sample.
        groups: (N,) images that must stay in one fold (prompt, generator, class), or None.

    Returns:
        Scores `linear/auc`, `knn/auc`, `linear/p_value`, the same under `within_class/`; `distance/...`; `direction/...`; all of these under
        `teacher/`; `matched/linear/auc` and `matched/cosine` (with a teacher), `metadata/auc`, `excess/...`; arrays `domain_score (N,)`, `fold (N,)`
        (-1 outside the sample), `direction (D,)`, `null_auc (B,)`, `matched/rows (P, 2)`, `ids (N,)`.

    Raises:
        ValueError: for tables that cannot be compared, fewer than 2 folds, or groups that do not fit.
    """
    check_tables(student, teacher, class_weights, at_least=max(folds, 2))
    _check_settings(len(student), folds, neighbours, permutations, groups)
    plan = _Plan(student, folds=folds, seed=seed, max_images=max_images, groups=groups)
    measure = partial(_Measured, plan=plan, neighbours=neighbours, permutations=permutations, seed=seed, class_weights=class_weights)
    ours = measure(student)
    scores, arrays = ours.scores(), _arrays(student, ours, plan)
    if teacher is not None:
        settings = (class_weights, folds, neighbours, permutations, max_images, seed, groups)
        theirs = remembered(content("separability", teacher, *settings), lambda: measure(teacher))
        scores |= {f"teacher/{name}": score for name, score in theirs.scores().items()} | _excess(ours.areas, theirs.areas)
        arrays |= {"teacher/direction": theirs.linear.direction}
        arrays |= {f"teacher/{name}": array.copy() for name, array in theirs.arrays.items()}
        matched, rows = _matched(student, teacher, plan, seed)
        scores |= matched
        arrays |= rows
    if student.metadata:
        scores["metadata/auc"] = _file_facts(student, plan, seed)
    return ProbeResult(
        probe="separability",
        subject=student.name,
        reference=teacher.name if teacher is not None else None,
        scores=scores,
        arrays=arrays,
        counts=plan.counts(len(student)),
        params={"folds": folds, "neighbours": neighbours, "permutations": permutations, "max_images": max_images}
        | {"strengths": list(STRENGTHS), "grouped": groups is not None}
        | {"distance_half_samples": REPEATS, "distance_neighbours": NEIGHBOURS},
        seed=seed,
        versions=versions(),
    )


def _check_settings(n: int, folds: int, neighbours: int, permutations: int, groups: np.ndarray | None) -> None:
    if folds < 2 or permutations < 1 or neighbours < 1:
        raise ValueError(
            f"`folds` must be at least 2, `permutations` and `neighbours` 1, got {folds}, {permutations}, {neighbours}; raise them."
        )
    if groups is not None and np.shape(groups) != (n,):
        raise ValueError(f"`groups` must have shape ({n},), got {np.shape(groups)}; give one group an image.")


class _Plan:
    """The sample, its folds, and which images are compared: the same for student and teacher."""

    def __init__(self, table: EmbeddingTable, *, folds: int, seed: int, max_images: int, groups: np.ndarray | None) -> None:
        self.sample = balanced_sample(table.labels, table.domain == "synthetic", max_images=max_images, seed=seed)
        self.labels = table.labels[self.sample]
        self.synthetic = table.domain[self.sample] == "synthetic"
        self.groups = groups = None if groups is None else np.asarray(groups)[self.sample]
        self.folds = folds
        self.fold = stratified_folds(2 * self.labels + self.synthetic, folds=folds, seed=seed, groups=groups)
        # a class gives a spread in every cell only with two images of each domain in each fold
        sizes = {int(c): int((self.labels == c).sum()) // 2 for c in np.unique(self.labels)}
        self.classes = [label for label, size in sizes.items() if size >= 2 * folds]
        self.cells = np.where(np.isin(self.labels, self.classes), self.labels * folds + self.fold, -1)
        cells, count = np.unique(self.cells[self.cells >= 0], return_counts=True)
        self.weights = {int(cell): n / (2 * sizes[int(cell) // folds]) for cell, n in zip(cells, count, strict=True)}

    def counts(self, available: int) -> dict[str, int]:
        return {
            "images/available": available,
            "images/real": int((~self.synthetic).sum()),
            "images/synthetic": int(self.synthetic.sum()),
            "classes": len(np.unique(self.labels)),
            "classes/within": len(self.classes),
            "folds": self.folds,
        }


class _Measured:
    """Held-out classifiers and distances of one encoder, on the sample and folds of a plan."""

    def __init__(
        self, table: EmbeddingTable, plan: _Plan, *, neighbours: int, permutations: int, seed: int, class_weights: np.ndarray | None
    ) -> None:
        embeddings = table.unit(plan.sample)
        features = embeddings.astype(np.float64)
        synthetic, fold, labels = plan.synthetic, plan.fold, plan.labels
        shuffles = ShuffledDomains(features, synthetic, fold, labels, permutations=permutations, seed=seed, groups=plan.groups)
        self.areas: dict[str, CrossFittedAuc] = {}
        self.tests: dict[str, PermutationTest] = {}
        self.linear: DomainScores = logistic_scores(features, synthetic, fold, fold)
        self.areas["linear"] = auc_over_cells(self.linear.scores, synthetic, fold)
        self.areas["knn"] = auc_over_cells(neighbour_scores(embeddings, synthetic, fold, neighbours=neighbours), synthetic, fold)
        self.tests["linear"] = shuffles.test(within_class=False)
        self.distances, self.arrays = distance_scores(embeddings, labels, synthetic, seed=seed)
        weights = table.classifier(class_weights)
        if weights is not None:
            direction, direction_arrays = direction_scores(
                embeddings, labels, synthetic, np.asarray(weights, dtype=np.float64), fold, seed=seed
            )
            self.distances, self.arrays = self.distances | direction, self.arrays | direction_arrays
        self.within: DomainScores | None = None
        if not plan.classes:
            return
        self.within = logistic_scores(features, synthetic, fold, plan.cells, labels=labels)
        self.areas["within_class/linear"] = auc_over_cells(self.within.scores, synthetic, plan.cells, plan.weights)
        near = neighbour_scores(embeddings, synthetic, fold, neighbours=neighbours, labels=labels)
        self.areas["within_class/knn"] = auc_over_cells(near, synthetic, plan.cells, plan.weights)
        self.tests["within_class/linear"] = shuffles.test(within_class=True)

    def scores(self) -> dict[str, Score]:
        """Compute each AUC and each p value with its interval; a p value's is that of the B shuffles."""
        scores = {f"{name}/auc": as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT) for name, area in self.areas.items()}
        for name, test in self.tests.items():
            interval = exact_proportion(test.as_extreme, len(test.null_auc))
            scores[f"{name}/p_value"] = as_score(test.p_value, interval, chance=0.5, bounds=UNIT)
        return scores | self.distances


def _excess(ours: dict[str, CrossFittedAuc], theirs: dict[str, CrossFittedAuc]) -> dict[str, Score]:
    """Score student minus teacher for each classifier, over the same images and folds."""
    scores: dict[str, Score] = {}
    for name, area in ours.items():
        reference = theirs[name]
        interval = difference_interval(area, reference)
        scores[f"excess/{name}/auc"] = as_score(area.value - reference.value, interval, chance=0.0, bounds=(-1.0, 1.0))
    return scores


def _file_facts(student: EmbeddingTable, plan: _Plan, seed: int) -> Score:
    facts = {name: column[plan.sample] for name, column in student.metadata.items()}
    area = auc_over_cells(file_fact_scores(facts, plan.synthetic, plan.fold, seed=seed), plan.synthetic, plan.fold)
    return as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)


def _arrays(student: EmbeddingTable, ours: _Measured, plan: _Plan) -> dict[str, np.ndarray]:
    """Score every image by models that never saw it: its fold's, or the mean of all for images outside the sample."""
    score = np.empty(len(student))
    for rows, x in student.blocks():
        score[rows] = ours.linear.score_unseen(x)
    score[plan.sample] = ours.linear.scores
    place = np.full(len(student), -1, dtype=np.int64)
    place[plan.sample] = plan.fold
    arrays: dict[str, np.ndarray] = {
        "domain_score": score.astype(np.float32),
        "fold": place,
        "direction": ours.linear.direction,
        "null_auc": ours.tests["linear"].null_auc,
        "ids": student.ids,
        "domain": student.domain,
    }
    if ours.within is not None:
        arrays["within_class/direction"] = ours.within.direction
    return arrays | ours.arrays


def _matched(student: EmbeddingTable, teacher: EmbeddingTable, plan: _Plan, seed: int) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Compare real and synthetic images of the same content as the teacher sees it; partners stay in one fold."""
    content_of = teacher.unit(plan.sample)
    pairs = match_content(content_of, plan.labels, plan.synthetic)
    if len(pairs.real) < 2 * plan.folds:
        return {}, {}
    rows = np.concatenate([pairs.real, pairs.synthetic])
    pair = np.tile(np.arange(len(pairs.real)), 2)
    fold = stratified_folds(plan.labels[pairs.real], folds=plan.folds, seed=seed)[pair]
    if len(np.unique(fold)) < plan.folds:
        return {}, {}
    areas = {
        name: {"matched/linear": auc_over_cells(logistic_scores(x[rows].astype(np.float64), synthetic, fold, fold).scores, synthetic, fold)}
        for synthetic in [plan.synthetic[rows]]
        for name, x in (("student", student.unit(plan.sample)), ("teacher", content_of))
    }
    scores = _excess(areas["student"], areas["teacher"]) | {"matched/cosine": _match_score(pairs)}
    for prefix, name in (("", "student"), ("teacher/", "teacher")):
        area = areas[name]["matched/linear"]
        scores[f"{prefix}matched/linear/auc"] = as_score(area.value, auc_interval(area), chance=0.5, bounds=UNIT)
    return scores, {"matched/rows": plan.sample[np.stack([pairs.real, pairs.synthetic], axis=1)], "matched/cosine": pairs.cosine}


def _match_score(pairs: MatchedPairs) -> Score:
    """Score how alike the partners are to the teacher; chance is what two images of one class drawn at random are."""
    return as_score(pairs.cosine.mean(), mean_interval(pairs.cosine), chance=pairs.by_lot, direction="higher", bounds=(-1.0, 1.0))
