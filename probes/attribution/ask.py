"""What is asked of both encoders alike, and one encoder's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.attribution.aggregate import MOST_CLASSES
from probes.attribution.look import Look, Subjects, look_at
from probes.attribution.methods.differentiable import AttributionTarget
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.request import Target, lens_of, target_directions
from probes.attribution.scalars import DomainLogit, domain_logit
from probes.compute.memoize import content
from probes.probe_input import ProbeInput
from probes.stats.auc import auc_interval


@dataclass(frozen=True)
class Asked:
    """A question to an encoder; the fields are those of the probe.

    Args:
        rows: (n,) rows of the table, real and synthetic in turn.
        class_weights: (D, C), or None.
        masks: (n, h, w) bool, or None.
        given: whether the masks are the user's.
    """

    rows: np.ndarray
    class_weights: np.ndarray | None
    masks: np.ndarray | None
    target: Target
    given: bool
    checked: int
    gallery: int
    methods: tuple[str, ...]
    steps: int
    window: int | None
    seed: int

    def key(self, sight: ProbeInput) -> str:
        """Hash the question and the encoder it goes to."""
        settings = (self.target, self.given, self.checked, self.gallery, self.methods, self.steps, self.window, self.seed)
        encoder = (type(sight.encode).__qualname__, sight.size)
        return content("attribution", sight.table, self.rows, self.class_weights, self.masks, settings, encoder)


@dataclass(frozen=True)
class Answer:
    """What one encoder answered.

    Args:
        look: readings and pictures.
        logit: its domain probe.
        classes: (K,) classes that have mean maps.
        layer: where Grad-CAM and attention look, JSON types, or None.
    """

    look: Look
    logit: DomainLogit
    classes: np.ndarray
    layer: dict[str, Any] | None


def ask(sight: ProbeInput, asked: Asked, told: Callable[[], None]) -> Answer:
    """Ask one encoder; it is left as it was, also after an exception of `told`."""
    rows = asked.rows
    logit = domain_logit(sight.table, seed=asked.seed)
    weights = sight.table.classifier(asked.class_weights)
    directions = {} if weights is None else {"zero_shot": target_directions(sight, rows, weights, asked.target)}
    directions["domain"] = logit.directions(rows)
    labels = sight.table.labels[rows]
    classes, count = np.unique(labels, return_counts=True)
    subjects = Subjects(
        images=sight.images(rows),
        labels=labels,
        domain=sight.table.domain[rows],
        directions=directions,
        masks=None if asked.masks is None else resized(asked.masks, sight.size),
        given=asked.given,
        classes=np.sort(classes[np.argsort(-count, kind="stable")[:MOST_CLASSES]]),
        checked=2 * asked.checked,
        gallery=2 * asked.gallery,
    )
    with undisturbed(sight.encode):
        lens = lens_of(sight, steps=asked.steps, window=asked.window)
        look = look_at(lens, subjects, asked.methods, silent=_silent(logit), seed=asked.seed, step=told)
    return Answer(look, logit, subjects.classes, _layer(lens))


def resized(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring masks (n, h, w) to the size of another encoder's images, nearest pixel."""
    down, across = (np.arange(to) * have // to for have, to in zip(masks.shape[1:], size, strict=True))
    return masks[:, down][:, :, across]


def _silent(logit: DomainLogit) -> dict[str, str]:
    low, high = auc_interval(logit.auc)
    if low > 0.5:
        return {}
    return {"domain": f"uninformative: the encoder does not tell the domains apart (AUC {logit.auc.value:.2f}, {low:.2f} to {high:.2f})"}


def _layer(lens: AttributionTarget) -> dict[str, Any] | None:
    if lens.layer is None:
        return None
    shape = lens.layer.shape
    return {"name": lens.layer.name, "side": lens.layer.side, "layout": shape.layout, "grid": list(shape.grid), "prefix": shape.prefix}
