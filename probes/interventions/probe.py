"""Interventions: change one thing in an image, keep everything else, and measure who still knows the class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from probes.edits import EDITS, EXCHANGES, FAMILIES
from probes.embeddings import DOMAINS
from probes.inputs import check_sights, versions
from probes.interventions.gap_shares import gap_shares
from probes.interventions.predictions import CONTROL, CROSSED, Plan, Predictions, kind_of, predict_beside_teacher, predict_under_edits
from probes.probe_input import ProbeInput
from probes.result import ProbeResult, Score
from probes.stats import paired
from probes.stats.intervals import as_score, paired_proportions, wilson
from probes.stats.sampling import sample_rows

LEAST_IMAGES = 8
"""Images of each domain from which on the strongest effect there is can stand after the correction for all edits: an exchanged cue that the student
follows on every synthetic image, and neither its teacher nor real images on any, has p = 0.0007 with 8 images and 0.003 with 7; Holm over all numbers that are
tested asks for 0.05 divided by their count."""

SMALLEST_SIDE = 8
"""The finest patch shuffle needs a pixel for each patch."""

UNIT = (-1.0, 1.0)

_EXCESS = {"accuracy": "excess", "drop": "excess_drop", "follows": "excess_follows"}
_DECISIVE = {"removes": "drop", "isolates": "accuracy", "swapped": "follows"}
"""Kind of edit -> what shows that an encoder relies on the cue; a cue matched to the other domain is read by `gap_closed`."""


def interventions(
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 600,
    edits: Sequence[str] | None = None,
    masks: np.ndarray | None = None,
    draws: int = 1000,
) -> ProbeResult:
    """Measure zero-shot accuracy under every edit, beside the teacher under the same edit, and what that says of each cue.

    Args:
        student: encoder to measure, with its images.
        teacher: its teacher over the same images, or None; without one there are no `excess`, `reliance` and `gap_closed` scores.
        class_weights: (D, C) zero-shot classifier weights; needed.
        seed: seed of the sample, the partners, the random edits and the bootstrap.
        progress: called as `progress(done, total)` in edited images.
        limit: images of each domain, spread over the classes.
        edits: names in `probes.edits.EDITS`; by default all, those that need masks only where masks are given.
        masks: (N, H, W) bool over the rows of the student's table, true on the object, or None.
        draws: draws of the bootstrap behind `gap_closed`.

    Returns:
        Scores by edit and domain, see `docs/probes/interventions.md`; arrays `edits`, `correct`, `prediction` and their `teacher/`
        twins, `ids`, `labels`, `domain`.

    Raises:
        ValueError: for tables that cannot be compared, missing `class_weights`, unknown edits, masks that do not fit, images too small.
    """
    if class_weights is None:
        raise ValueError(
            "`class_weights` must be a (D, C) array for `interventions`, got None; embed the class prompts with the teacher's text tower, or give --class-weights W.npy."
        )
    class_weights = np.asarray(class_weights, dtype=np.float64)
    check_sights(student, teacher, class_weights, at_least=LEAST_IMAGES)
    names = _chosen(student, edits, masks, limit)
    table = student.table
    rows = sample_rows(table.labels, table.domain, limit=limit, seed=seed)
    labels, domain = table.labels[rows], table.domain[rows]
    classes = class_weights.shape[1]
    plan = Plan(rows, labels, domain, (*names, *_control_names(names, classes, judged=teacher is not None)), class_weights, seed, masks)
    teacher_predictions: Predictions | None = None
    if teacher is None:
        (student_predictions,) = predict_under_edits([student], plan, progress=progress)
    else:
        student_predictions, teacher_predictions = predict_beside_teacher(student, teacher, plan, progress=progress)

    edit_scores = _EditScores(plan, names, classes)
    scores = edit_scores.of_one(student_predictions)
    if teacher_predictions is not None:
        scores |= {f"teacher/{name}": score for name, score in edit_scores.of_one(teacher_predictions).items()}
        scores |= edit_scores.beside(student_predictions, teacher_predictions)
        correct, teacher_correct = (
            {name: predictions[name] == labels for name in ("none", *names)} for predictions in (student_predictions, teacher_predictions)
        )
        kinds = {name: EDITS[name].kind for name in names}
        scores |= gap_shares(correct, teacher_correct, kinds, domain, chance=1 / classes, seed=seed, draws=draws)
    arrays = {"edits": np.array(["none", *names]), "ids": table.ids[rows], "labels": labels, "domain": domain}
    for prefix, predictions in (("", student_predictions), ("teacher/", teacher_predictions)):
        if predictions is not None:
            arrays[f"{prefix}prediction"] = np.stack([predictions[name] for name in ("none", *names)]).astype(np.int16)
            arrays[f"{prefix}correct"] = arrays[f"{prefix}prediction"] == labels
    return ProbeResult(
        probe="interventions",
        subject=table.name,
        reference=None if teacher is None else teacher.table.name,
        scores=scores,
        arrays=arrays,
        counts={"classes": classes, "edits": len(names), **{f"images/{name}": int((domain == name).sum()) for name in DOMAINS}},
        params={
            "limit": limit,
            "draws": draws,
            "kinds": {name: EDITS[name].kind for name in names},
            "families": {name: EDITS[name].family for name in names},
            "family_words": {name: family.title for name, family in FAMILIES.items()},
            "correction": "Holm over all adjusted_p",
        },
        seed=seed,
        versions=versions(),
    )


def _control_names(names: Sequence[str], classes: int, *, judged: bool) -> list[str]:
    """List the control exchanges that the others are compared with.

    A real image has no cue of its own that competes with the part that a synthetic border or window brings, so what these decide there tells no place.
    """
    matched, swapped = ([name.removeprefix(f"{kind}_") for name in names if EDITS[name].kind == kind] for kind in ("matched", "swapped"))
    both = [name for name in matched if judged and name in swapped and not FAMILIES[EDITS[f"matched_{name}"].family].is_place]
    controls = swapped if classes == 2 else both
    return [*(f"{CONTROL}_{exchange}" for exchange in controls), *(f"{CROSSED}_{exchange}" for exchange in both)]


def _chosen(student: ProbeInput, edits: Sequence[str] | None, masks: np.ndarray | None, limit: int) -> tuple[str, ...]:
    if min(student.size) < SMALLEST_SIDE:
        raise ValueError(f"images must be at least {SMALLEST_SIDE} pixels a side for `interventions`, got {student.size}; enlarge them.")
    if limit < LEAST_IMAGES:
        raise ValueError(
            f"`limit` must be at least {LEAST_IMAGES} images of each domain, got {limit}; with fewer no edit can show anything."
        )
    masked = {name for name, edit in EDITS.items() if edit.masked}
    if masks is not None:
        expected = (len(student), *student.size)
        if masks.shape != expected:
            raise ValueError(f"`masks` must have shape {expected} like the images, got {masks.shape}; resize them, one for each row.")
        if masks.dtype != bool:
            raise ValueError(f"`masks` must be bool, true on the object, got {masks.dtype}; threshold them, as in `masks > 0`.")
    if edits is None:
        return tuple(name for name in EDITS if masks is not None or name not in masked)
    unknown = sorted(set(edits) - set(EDITS))
    if unknown:
        raise ValueError(f"`edits` must be among {sorted(EDITS)}, got {unknown[0]!r}; choose from these.")
    if masks is None and masked & set(edits):
        raise ValueError(
            f"`masks` must be given for {sorted(masked & set(edits))[0]!r}, got None; leave out {sorted(name for name, exchange in EXCHANGES.items() if exchange.masked)} or give masks."
        )
    return tuple(dict.fromkeys(edits))


class _EditScores:
    """Scores from predictions."""

    def __init__(self, plan: Plan, names: Sequence[str], classes: int) -> None:
        self.labels, self.domain, self.names, self.classes = plan.labels, plan.domain, tuple(names), classes
        pair = plan.pairs["swapped"]
        self.partner_label = np.where(pair >= 0, plan.labels[pair], -1)

    def of_one(self, predictions: Predictions) -> dict[str, Score]:
        """Score one encoder: accuracy and drop under each edit, and how often a swapped cue is followed."""
        scores: dict[str, Score] = {}
        before = predictions["none"] == self.labels
        for name in ("none", *self.names):
            for domain, rows in self._rows(name, predictions):
                right = predictions[name][rows] == self.labels[rows]
                share = wilson(int(right.sum()), len(right))
                scores[f"accuracy/{name}/{domain}"] = as_score(right.mean(), share, chance=1 / self.classes, direction="higher")
                if name == "none":
                    continue
                lost = paired_proportions(before[rows], right)
                scores[f"drop/{name}/{domain}"] = as_score(before[rows].mean() - right.mean(), lost, chance=0.0, bounds=UNIT)
                if kind_of(name) == "swapped" and self.classes > 1:
                    scores[f"follows/{name}/{domain}"] = _mean(self.followed(predictions, name)[rows])
        return scores

    def beside(self, student: Predictions, teacher: Predictions) -> dict[str, Score]:
        """Score the student minus its teacher over the same images, and test the reliance on every cue once.

        Args:
            student: the student's predictions.
            teacher: the teacher's, over the same images.

        Returns:
            Name of a score -> score.
        """
        scores: dict[str, Score] = {}
        p_values: dict[str, float] = {}
        for name in ("none", *self.names):
            rows = dict(self._rows(name, student))
            used = [self._uses(predictions, name) for predictions in (student, teacher)]
            for what in used[0]:
                values = used[0][what] - used[1][what]
                for domain, where in rows.items():
                    scores[f"{_EXCESS[what]}/{name}/{domain}"] = _mean(values[where])
            exchange = name.removeprefix("matched_")
            if "real" in rows and exchange != name and f"{CROSSED}_{exchange}" in student:
                beyond = self._tied(student, teacher, exchange)
                if min(map(len, beyond)) > 1:
                    interval, p_values[name] = paired.smaller_of(*(paired.middle_and_error(values, reach=2.0) for values in beyond))
                    value = min(values.mean() for values in beyond)
                    scores[f"reliance/{name}"] = as_score(value, interval, chance=0.0, direction="lower", bounds=(-2.0, 2.0))
            if len(rows) < len(DOMAINS):
                continue
            real, synthetic = rows["real"], rows["synthetic"]
            excess = used[0]["accuracy"] - used[1]["accuracy"]
            scores[f"excess_domain/{name}"] = as_score(
                excess[synthetic].mean() - excess[real].mean(),
                paired.around(paired.difference(excess[synthetic], excess[real])),
                chance=0.0,
                direction="lower",
                bounds=(-2.0, 2.0),
            )
            if name != "none" and kind_of(name) in _DECISIVE and _DECISIVE[kind_of(name)] in used[0]:
                of_student, of_teacher = (part[_DECISIVE[kind_of(name)]] for part in used)
                beyond_teacher, beyond_real = (of_student - of_teacher)[synthetic], (of_student[synthetic], of_student[real])
                value = min(beyond_teacher.mean(), of_student[synthetic].mean() - of_student[real].mean())
                interval, p_values[name] = paired.smaller_of(paired.middle_and_error(beyond_teacher), paired.difference(*beyond_real))
                scores[f"reliance/{name}"] = as_score(value, interval, chance=0.0, direction="lower", bounds=(-2.0, 2.0))
        for name, p in zip(p_values, paired.holm(np.array(list(p_values.values()))), strict=True):
            scores[f"adjusted_p/{name}"] = Score(float(p), float(p), float(p))
        return scores

    def _tied(self, student: Predictions, teacher: Predictions, exchange: str) -> tuple[np.ndarray, np.ndarray]:
        """Compute for each real image how much better a synthetic cue of its own class serves it than one of another class.

        Returns:
            Twice (R,): beyond what that is for the teacher, and beyond what it is with cues of real images.
        """
        names = [f"{kind}_{exchange}" for kind in ("matched", CROSSED, CONTROL, "swapped")]
        rows = np.flatnonzero((self.domain == "real") & np.all([student[name] >= 0 for name in names], axis=0))
        own_class, other_class, own_class_real, other_class_real = (
            (student[name][rows] == self.labels[rows]).astype(float) for name in names
        )
        teacher_own, teacher_other = ((teacher[name][rows] == self.labels[rows]).astype(float) for name in names[:2])
        return own_class - other_class - (teacher_own - teacher_other), own_class - other_class - (own_class_real - other_class_real)

    def _uses(self, predictions: Predictions, name: str) -> dict[str, np.ndarray]:
        """Compute for each image what one encoder shows under an edit: right or not, what it lost, how far it followed the partner; (M,) each."""
        right = (predictions[name] == self.labels).astype(float)
        if name == "none":
            return {"accuracy": right}
        measures = {"accuracy": right, "drop": (predictions["none"] == self.labels) - right}
        if kind_of(name) == "swapped" and self.classes > 1:
            measures["follows"] = self.followed(predictions, name)
        return measures

    def followed(self, predictions: Predictions, name: str) -> np.ndarray:
        """Compute for each image how far the encoder went over to the partner's class, beyond what damage alone explains; mean 0 by chance.

        With C > 2 classes: 1 for the partner's class, -1 / (C - 2) for any other wrong class. With two, every error is the partner's
        class: there the same exchange with a partner of the image's own class is subtracted.

        Args:
            predictions: of one encoder.
            name: a `swapped_` edit.

        Returns:
            (M,) in [-1, 1].
        """
        gone = predictions[name] == self.partner_label
        if self.classes == 2:
            control = predictions[f"{CONTROL}_{name.removeprefix('swapped_')}"]
            return np.where(control < 0, 0.0, gone.astype(float) - (control == self.partner_label))
        elsewhere = ~gone & (predictions[name] != self.labels)
        return gone - elsewhere / (self.classes - 2)

    def _rows(self, name: str, predictions: Predictions) -> list[tuple[str, np.ndarray]]:
        """List the images of each domain that the edit could be applied to, at least two."""
        usable = predictions[name] >= 0
        by_domain = [(domain, np.flatnonzero(usable & (self.domain == domain))) for domain in DOMAINS]
        return [(domain, rows) for domain, rows in by_domain if len(rows) > 1]


def _mean(values: np.ndarray) -> Score:
    interval = paired.around(paired.middle_and_error(values))
    return as_score(values.mean(), interval, chance=0.0, direction="lower", bounds=(-2.0, 2.0))
