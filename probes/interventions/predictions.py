"""Show encoders edited images and write down which class each of them names."""

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
        found = {
            kind: partners(self.labels, self.domain, same_class=same_class, same_domain=same_domain, seed=self.seed)
            for kind, (same_class, same_domain) in same.items()
        }
        # What a synthetic image does with a real cue answers nothing that is asked, and would cost half of these edits. With more than two
        # classes the control is for real images alone, beside what these do with synthetic cues.
        for kind in ("matched", CROSSED, *((CONTROL,) if self.class_weights.shape[1] > 2 else ())):
            found[kind] = np.where(self.domain == "real", found[kind], -1)
        object.__setattr__(self, "pairs", found)

    @property
    def key(self) -> str:
        """Hash of everything the answers of one encoder depend on, but its images and weights."""
        arrays = (self.rows, self.labels, self.class_weights, np.zeros(0) if self.masks is None else self.masks)
        return content(self.seed, self.names, *arrays)


def kind_of(name: str) -> str:
    """Give the kind of an edit, `control` and `crossed` included."""
    return next((prefix for prefix in (CONTROL, CROSSED) if name.startswith(f"{prefix}_")), None) or EDITS[name].kind


def predict_under_edits(
    sights: Sequence[ProbeInput], plan: Plan, *, progress: Callable[[int, int], None] | None = None
) -> list[Predictions]:
    """Give the class that each encoder names for every image under every edit of the plan; the images unchanged under the name `none`.

    Args:
        sights: the encoders; the images of the first are edited, once for all, so that they see the very same ones.
        plan: images and edits.
        progress: called as `progress(done, total)` in edited images.

    Raises:
        ValueError: for embeddings that are not finite, naming the encoder and the edit.
    """
    shown, count = sights[0], len(plan.rows)
    height, width = shown.size
    step = int(np.clip(VALUES_AT_ONCE // (3 * height * width), 1, 250))
    names = ("none", *plan.names)
    answers = [{name: np.full(count, -1, dtype=np.int64) for name in names} for _ in sights]
    weights = [_unit_classifier(sight, plan.class_weights) for sight in sights]
    for start in range(0, count, step):
        places = np.arange(start, min(start + step, count))
        images = shown.images(plan.rows[places])
        borrowed: dict[str, tuple[Any, Any]] = {}
        for number, name in enumerate(names):
            kept, edited = (places, images) if name == "none" else _edited(name, places, images, borrowed, shown, plan)
            for sight, said, classifier in zip(sights, answers, weights, strict=True):
                if len(kept):
                    said[name][kept] = _named(sight, edited, classifier, name)
            if progress is not None:
                progress(start * len(names) + (number + 1) * len(places), count * len(names))
    return answers


def _unit_classifier(sight: ProbeInput, class_weights: np.ndarray) -> np.ndarray:
    weights = class_weights if sight.table.text_space is None else sight.table.text_space.class_weights
    return weights / np.linalg.norm(weights, axis=0)


def _named(sight: ProbeInput, images: Tensor, weights: np.ndarray, name: str) -> np.ndarray:
    cosines = sight.embed(images) @ weights
    if not np.isfinite(cosines).all():
        raise ValueError(
            f"embeddings of {sight.table.name} must be finite, got NaN or infinity under the edit {name!r}; check its normalisation."
        )
    return cosines.argmax(axis=1)


def predict_beside_teacher(
    student: ProbeInput, teacher: ProbeInput, plan: Plan, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Predictions, Predictions]:
    """Ask a student and its teacher; the teacher only once in a process, since the students of a run share it."""
    key = content("edited", teacher.table, teacher.embed(student.images(plan.rows[:8])), plan.key, student.size)
    theirs = recall(key)
    if theirs is None:
        ours, theirs = predict_under_edits([student, teacher], plan, progress=progress)
        keep(key, theirs)
        return ours, theirs
    return predict_under_edits([student], plan, progress=progress)[0], theirs


def _edited(
    name: str, places: np.ndarray, images: Tensor, borrowed: dict[str, tuple[Any, Any]], shown: ProbeInput, plan: Plan
) -> tuple[np.ndarray, Tensor]:
    """Apply one edit to those images of a batch that it can be applied to; partners are read once a batch and kind."""
    kind = kind_of(name)
    edit = EDITS[f"swapped_{name.removeprefix(kind + '_')}" if kind in (CONTROL, CROSSED) else name]
    keys = plan.seed * 1_000_003 + plan.rows[places]
    if not edit.partnered:
        return places, edit.apply(Material(images, keys))
    has = plan.pairs[kind][places] >= 0
    if kind not in borrowed:
        rows = plan.rows[plan.pairs[kind][places[has]]]
        borrowed[kind] = (shown.images(rows), _masks(plan, rows))
    partner, partner_mask = borrowed[kind]
    if not has.any():
        return places[has], images[:0]
    mask = _masks(plan, plan.rows[places[has]])
    return places[has], edit.apply(Material(images[has], keys[has], partner, mask, partner_mask))


def _masks(plan: Plan, rows: np.ndarray) -> Tensor | None:
    if plan.masks is None:
        return None
    import torch

    return torch.from_numpy(np.ascontiguousarray(plan.masks[rows]))[:, None]
