"""Predict classes under edits: every encoder names a class for every edited image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.compute.memoize import content, keep, recall
from probes.edits import EDITS, Material
from probes.probe_input import ProbeInput
from probes.stats.sampling import partners

if TYPE_CHECKING:
    from torch import Tensor

Predictions = dict[str, np.ndarray]
"""Name of an edit -> (M,) class named for each image under it; -1 where an image has no partner."""

VALUES_AT_ONCE = 3_000_000
"""Numbers in one batch of images; bounds the memory whatever the size of the images."""

CONTROL = "control"
"""Prefix of an exchange with a partner of the image's own class and domain: all of the damage, nothing of another class."""

CROSSED = "crossed"
"""Prefix of an exchange that gives a real image the cue of a synthetic image of another class: as strange to it as a matched one, and misleading."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Which images are edited, how, and with which partners.

    Args:
        rows: (M,) rows of the table.
        labels: (M,) their classes.
        domain: (M,) their domains.
        names: names of edits; `control_<exchange>` and `crossed_<exchange>` beside the keys of `EDITS`.
        class_weights: (D, C).
        seed: seed of partners and of every random edit.
        masks: (N, H, W) bool over the rows of the table, true on the object, or None.
        pairs: kind of partner -> (M,) place of each image's partner within `rows`, -1 for none; only real images have a `matched` or `crossed` one.
    """

    rows: np.ndarray
    labels: np.ndarray
    domain: np.ndarray
    names: tuple[str, ...]
    class_weights: np.ndarray
    seed: int
    masks: np.ndarray | None = None
    pairs: Mapping[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        same = {"matched": (True, False), "swapped": (False, True), CONTROL: (True, True), CROSSED: (False, False)}
        pairs = {
            kind: partners(self.labels, self.domain, same_class=same_class, same_domain=same_domain, seed=self.seed)
            for kind, (same_class, same_domain) in same.items()
        }
        # What a synthetic image does with a real cue answers nothing that is asked, and would cost half of these edits. With more than two
        # classes the control is for real images alone, beside what these do with synthetic cues.
        for kind in ("matched", CROSSED, *((CONTROL,) if self.class_weights.shape[1] > 2 else ())):
            pairs[kind] = np.where(self.domain == "real", pairs[kind], -1)
        object.__setattr__(self, "pairs", pairs)

    @property
    def key(self) -> str:
        """Hash of everything the answers of one encoder depend on, but its images and weights."""
        arrays = (self.rows, self.labels, self.class_weights, np.zeros(0) if self.masks is None else self.masks)
        return content(self.seed, self.names, *arrays)


def kind_of(name: str) -> str:
    """Return the kind of an edit, `control` and `crossed` included."""
    return next((prefix for prefix in (CONTROL, CROSSED) if name.startswith(f"{prefix}_")), None) or EDITS[name].kind


def predict_under_edits(
    encoders: Sequence[ProbeInput], plan: Plan, *, progress: Callable[[int, int], None] | None = None
) -> list[Predictions]:
    """Predict the class of every image under every edit of the plan with each encoder; the unchanged images are under the name `none`.

    Args:
        encoders: the encoders; the images of the first are edited, once for all, so that all encoders get the very same ones.
        plan: images and edits.
        progress: called as `progress(done, total)` in edited images.

    Raises:
        ValueError: for embeddings that are not finite, naming the encoder and the edit.
    """
    first, count = encoders[0], len(plan.rows)
    height, width = first.size
    step = int(np.clip(VALUES_AT_ONCE // (3 * height * width), 1, 250))
    names = ("none", *plan.names)
    predictions = [{name: np.full(count, -1, dtype=np.int64) for name in names} for _ in encoders]
    weights = [_unit_classifier(encoder, plan.class_weights) for encoder in encoders]
    for start in range(0, count, step):
        places = np.arange(start, min(start + step, count))
        images = first.images(plan.rows[places])
        borrowed: dict[str, tuple[Any, Any]] = {}
        for number, name in enumerate(names):
            kept, edited = (places, images) if name == "none" else _edited(name, places, images, borrowed, first, plan)
            for encoder, predicted, classifier in zip(encoders, predictions, weights, strict=True):
                if len(kept):
                    predicted[name][kept] = _predict(encoder, edited, classifier, name)
            if progress is not None:
                progress(start * len(names) + (number + 1) * len(places), count * len(names))
    return predictions


def _unit_classifier(encoder: ProbeInput, class_weights: np.ndarray) -> np.ndarray:
    """Return the classifier weights (D, C) that an encoder is scored with, as unit columns."""
    space = encoder.table.text_space
    weights = class_weights if space is None else space.class_weights
    return weights / np.linalg.norm(weights, axis=0)


def _predict(encoder: ProbeInput, images: Tensor, weights: np.ndarray, name: str) -> np.ndarray:
    cosines = encoder.embed(images) @ weights
    if not np.isfinite(cosines).all():
        raise ValueError(
            f"embeddings of {encoder.table.name} must be finite, got NaN or infinity under the edit {name!r}; check its normalisation."
        )
    return cosines.argmax(axis=1)


def predict_beside_teacher(
    student: ProbeInput, teacher: ProbeInput, plan: Plan, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Predictions, Predictions]:
    """Predict with a student and its teacher; the teacher runs only once in a process, since the students of a run share it.

    Args:
        student: the student.
        teacher: the teacher, over the same images.
        plan: images and edits.
        progress: called as `progress(done, total)` in edited images.

    Returns:
        Predictions of the student and of the teacher.
    """
    key = content("edited", teacher.table, teacher.embed(student.images(plan.rows[:8])), plan.key, student.size)
    teacher_predictions = recall(key)
    if teacher_predictions is None:
        student_predictions, teacher_predictions = predict_under_edits([student, teacher], plan, progress=progress)
        keep(key, teacher_predictions)
        return student_predictions, teacher_predictions
    return predict_under_edits([student], plan, progress=progress)[0], teacher_predictions


def _edited(
    name: str, places: np.ndarray, images: Tensor, borrowed: dict[str, tuple[Any, Any]], source: ProbeInput, plan: Plan
) -> tuple[np.ndarray, Tensor]:
    """Apply one edit to those images of a batch that it can be applied to; partners are read once a batch and kind."""
    kind = kind_of(name)
    edit = EDITS[f"swapped_{name.removeprefix(kind + '_')}" if kind in (CONTROL, CROSSED) else name]
    keys = plan.seed * 1_000_003 + plan.rows[places]
    if not edit.partnered:
        return places, edit.apply(Material(images, keys))
    has_partner = plan.pairs[kind][places] >= 0
    if kind not in borrowed:
        rows = plan.rows[plan.pairs[kind][places[has_partner]]]
        borrowed[kind] = (source.images(rows), _masks(plan, rows))
    partner, partner_mask = borrowed[kind]
    if not has_partner.any():
        return places[has_partner], images[:0]
    mask = _masks(plan, plan.rows[places[has_partner]])
    return places[has_partner], edit.apply(Material(images[has_partner], keys[has_partner], partner, mask, partner_mask))


def _masks(plan: Plan, rows: np.ndarray) -> Tensor | None:
    if plan.masks is None:
        return None
    import torch

    return torch.from_numpy(np.ascontiguousarray(plan.masks[rows]))[:, None]
