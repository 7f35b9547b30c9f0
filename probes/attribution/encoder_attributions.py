"""Attributions of one encoder with the settings that student and teacher share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.attribution.aggregate import MOST_CLASSES
from probes.attribution.attribution_maps import Target, prepare_encoder, target_directions
from probes.attribution.method_attributions import ImageSample, MethodAttributions, attribute_with_methods
from probes.attribution.methods.differentiable import AttributionTarget
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.scalars import DomainLogit, domain_logit
from probes.compute.memoize import content
from probes.probe_input import ProbeInput
from probes.stats.auc import auc_interval


@dataclass(frozen=True)
class AttributionSettings:
    """Settings of the attribution of one encoder; the fields without a word are those of the probe.

    Args:
        rows: (n,) rows of the table, real and synthetic in turn.
        class_weights: (D, C), or None.
        masks: (n, h, w) bool, or None.
        user_masks: whether the masks come from the user.
    """

    rows: np.ndarray
    class_weights: np.ndarray | None
    masks: np.ndarray | None
    target: Target
    user_masks: bool
    checked: int
    gallery: int
    methods: tuple[str, ...]
    steps: int
    window: int | None
    seed: int
    tolerance: float | None = None

    def key(self, probe_input: ProbeInput) -> str:
        """Hash the settings and the encoder that they are for."""
        settings = (
            self.target,
            self.user_masks,
            self.checked,
            self.gallery,
            self.methods,
            self.steps,
            self.window,
            self.seed,
            self.tolerance,
        )
        encoder = (type(probe_input.encode).__qualname__, probe_input.size)
        return content("attribution", probe_input.table, self.rows, self.class_weights, self.masks, settings, encoder)


@dataclass(frozen=True)
class EncoderAttributions:
    """Attributions of one encoder.

    Args:
        by_method: evaluations and pictures by method.
        logit: its domain probe.
        classes: (K,) classes that have mean maps.
        layer: the feature map of Grad-CAM and attention, JSON types, or None.
    """

    by_method: MethodAttributions
    logit: DomainLogit
    classes: np.ndarray
    layer: dict[str, Any] | None


def attribute_encoder(probe_input: ProbeInput, settings: AttributionSettings, report_progress: Callable[[], None]) -> EncoderAttributions:
    """Attribute both logits of the sampled images with one encoder; it is left as it was, also after an exception of `report_progress`.

    Args:
        probe_input: the encoder with its images.
        settings: rows, targets and methods.
        report_progress: called after each of a method's two parts.
    """
    rows = settings.rows
    logit = domain_logit(probe_input.table, seed=settings.seed)
    weights = probe_input.table.classifier(settings.class_weights)
    directions = {} if weights is None else {"zero_shot": target_directions(probe_input, rows, weights, settings.target)}
    directions["domain"] = logit.directions(rows)
    labels = probe_input.table.labels[rows]
    classes, count = np.unique(labels, return_counts=True)
    sample = ImageSample(
        images=probe_input.images(rows),
        labels=labels,
        domain=probe_input.table.domain[rows],
        directions=directions,
        masks=None if settings.masks is None else resized(settings.masks, probe_input.size),
        user_masks=settings.user_masks,
        classes=np.sort(classes[np.argsort(-count, kind="stable")[:MOST_CLASSES]]),
        checked=2 * settings.checked,
        gallery=2 * settings.gallery,
    )
    with undisturbed(probe_input.encode):
        encoder = prepare_encoder(probe_input, steps=settings.steps, window=settings.window, tolerance=settings.tolerance)
        by_method = attribute_with_methods(
            encoder, sample, settings.methods, uninformative=_uninformative(logit), seed=settings.seed, step=report_progress
        )
    return EncoderAttributions(by_method, logit, sample.classes, _layer(encoder))


def resized(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize masks to the size of another encoder's images, nearest pixel.

    Args:
        masks: (n, h, w).
        size: (H, W).
    """
    down, across = (np.arange(to) * have // to for have, to in zip(masks.shape[1:], size, strict=True))
    return masks[:, down][:, :, across]


def _uninformative(logit: DomainLogit) -> dict[str, str]:
    low, high = auc_interval(logit.auc)
    if low > 0.5:
        return {}
    return {"domain": f"uninformative: the encoder does not tell the domains apart (AUC {logit.auc.value:.2f}, {low:.2f} to {high:.2f})"}


def _layer(encoder: AttributionTarget) -> dict[str, Any] | None:
    if encoder.layer is None:
        return None
    shape = encoder.layer.shape
    return {
        "name": encoder.layer.name,
        "side": encoder.layer.side,
        "layout": shape.layout,
        "grid": list(shape.grid),
        "prefix": shape.prefix,
    }
