"""Attributions of one encoder by every method that it allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.aggregate import mean_maps, pictures, values_by_class
from probes.attribution.map_evaluation import MapEvaluation, map_values, measure_faithfulness
from probes.attribution.methods.differentiable import AttributionTarget, UnavailableMethodError
from probes.attribution.methods.integrated_gradients import mean_gradients, pixel_maps, quadrature
from probes.attribution.methods.registry import attribute
from probes.attribution.metrics.faithfulness import into_cells
from probes.attribution.metrics.parameter_randomisation import randomised
from probes.attribution.metrics.spectrum import BANDS, band_shares, used_contributions
from probes.result import Score
from probes.stats.intervals import as_score, mean_interval

if TYPE_CHECKING:
    from torch import Tensor

FINE = "integrated_gradients"
"""The method whose maps have the resolution of pixels, and whose gradients give frequencies."""


@dataclass(frozen=True)
class ImageSample:
    """The images that are attributed, and the targets.

    Args:
        images: (n, 3, H, W).
        labels: (n,).
        domain: (n,).
        directions: number -> (n, D).
        masks: (n, H, W) bool, or None.
        user_masks: whether the masks come from the user.
        classes: (K,) classes that get mean maps.
        checked: images, from the first on, whose maps are tested for faithfulness.
        gallery: images, from the first on, whose maps are kept.
    """

    images: Tensor
    labels: np.ndarray
    domain: np.ndarray
    directions: dict[str, np.ndarray]
    masks: np.ndarray | None
    user_masks: bool
    classes: np.ndarray
    checked: int
    gallery: int


@dataclass
class MethodAttributions:
    """Attributions of one encoder, by method and number.

    Args:
        evaluations: `<method>/<number>` -> evaluation of the maps.
        status: the same keys and those of methods that the encoder does not allow -> `informative`, or why not.
        arrays: mean maps, gallery and curves under the same keys.
        counts: with adaptive integrated gradients, their forward passes, and the images that reached the tolerance.
    """

    evaluations: dict[str, MapEvaluation] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def attribute_with_methods(
    encoder: AttributionTarget,
    sample: ImageSample,
    methods: Sequence[str],
    *,
    uninformative: dict[str, str],
    seed: int,
    step: Callable[[], None],
) -> MethodAttributions:
    """Attribute the images with each method, measure the maps and test their faithfulness.

    Args:
        encoder: the encoder.
        sample: the images and the targets.
        methods: names in `METHODS`, or `captum:NAME`.
        uninformative: number -> why its maps mean nothing for this encoder.
        seed: seed of shuffled weights and misplaced maps.
        step: called after each of a method's two parts.
    """
    results = MethodAttributions()
    shuffled = randomised(encoder, seed=seed) if "integrated_gradients" not in encoder.unavailable else None
    for method in methods:
        try:
            attributed = _attribute_all(encoder, sample, method)
        except UnavailableMethodError as refusal:
            results.status |= {f"{method}/{number}": f"not available: {refusal.reason}" for number in sample.directions}
            step()
            step()
            continue
        step()
        maps, used, error = attributed.maps, attributed.used, attributed.error
        results.counts |= attributed.counts
        first = sample.checked
        twin = None
        if shuffled is not None and method not in shuffled.unavailable:
            stacked = np.stack([directions[:first] for directions in sample.directions.values()])
            twin = _maps(shuffled, method, sample.images[:first], stacked)
        for row, number in enumerate(sample.directions):
            key = f"{method}/{number}"
            values, chances = map_values(maps[row], sample.masks, fine=method == FINE, user_masks=sample.user_masks)
            if used is not None:
                values |= {f"uses_{band}": used[0][row][:, at] for at, band in enumerate(BANDS)}
                chances |= {f"uses_{band}": used[1][:, at] for at, band in enumerate(BANDS)}
            evaluation = _read(encoder, sample, number, maps[row], None if twin is None else twin[row], values, chances, seed)
            if error is not None:
                evaluation.scores["completeness_error"] = _completeness(error[row])
            evaluation = replace(evaluation, status=uninformative.get(number, evaluation.status))
            results.evaluations[key], results.status[key] = evaluation, evaluation.status
            results.arrays[f"mean_map/{key}"] = mean_maps(maps[row], sample.labels, sample.domain, sample.classes)
            results.arrays[f"gallery/{key}"] = pictures(maps[row][: sample.gallery])
            if evaluation.informative:
                split = (sample.labels, sample.domain, sample.classes)
                results.arrays |= {f"by_class/{key}/{name}": values_by_class(value, *split) for name, value in values.items()}
            results.arrays |= {f"curve/{key}/{name}": line.astype(np.float32) for name, line in evaluation.curves.items()}
        step()
    return results


def _read(
    encoder: AttributionTarget,
    sample: ImageSample,
    number: str,
    maps: np.ndarray,
    twin: np.ndarray | None,
    values: dict[str, np.ndarray],
    chances: dict[str, np.ndarray],
    seed: int,
) -> MapEvaluation:
    import torch

    first = sample.checked
    direction = torch.from_numpy(sample.directions[number][:first])
    scores, curves, status = measure_faithfulness(encoder, sample.images[:first], direction, maps[:first], twin, seed=seed)
    return MapEvaluation(values, chances, into_cells(maps), scores, curves, status)


def _completeness(error: np.ndarray) -> Score:
    """Average the completeness error of the images, (n,); an image counts at most 1, since one whose f hardly changes would outweigh all."""
    shares = np.minimum(error.astype(np.float64), 1.0)
    return as_score(float(shares.mean()), mean_interval(shares), direction="lower", bounds=(0.0, 1.0))


def _maps(encoder: AttributionTarget, method: str, images: Tensor, directions: np.ndarray) -> np.ndarray:
    """Attribute in batches, (S, n, H, W)."""
    import torch

    parts = []
    for start in range(0, len(images), encoder.batch):
        part = slice(start, start + encoder.batch)
        parts.append(attribute(encoder, method, images[part], torch.from_numpy(directions[:, part])))
    return torch.cat(parts, dim=1).numpy()


@dataclass(frozen=True)
class _Attributed:
    """Maps (S, n, H, W) and, of integrated gradients, what else their gradients say.

    Args:
        maps: (S, n, H, W).
        used: bands used (S, n, 4) and those of the images themselves (n, 4), or None.
        error: (S, n) completeness error of adaptive steps, or None.
        counts: forward passes and settled images of adaptive steps.
    """

    maps: np.ndarray
    used: tuple[np.ndarray, np.ndarray] | None = None
    error: np.ndarray | None = None
    counts: dict[str, int] = field(default_factory=dict)


def _attribute_all(encoder: AttributionTarget, sample: ImageSample, method: str) -> _Attributed:
    """Attribute all images.

    Raises:
        UnavailableMethodError: where the encoder does not allow the method.
    """
    import torch

    if method in encoder.unavailable:
        raise UnavailableMethodError(method, encoder.unavailable[method])
    directions = np.stack(list(sample.directions.values()))
    if method != FINE:
        return _Attributed(_maps(encoder, method, sample.images, directions))
    maps, used, present, passes, error = [], [], [], [], []
    for start in range(0, len(sample.images), encoder.batch):
        part = slice(start, start + encoder.batch)
        images, direction = sample.images[part], torch.from_numpy(directions[:, part])
        if encoder.tolerance is None:
            gradients = mean_gradients(encoder, images, direction)
        else:
            adaptive = quadrature(encoder, images, direction)
            gradients = adaptive.gradients
            passes.append(adaptive.passes.numpy())
            error.append(adaptive.error.nan_to_num(1.0, 1.0).numpy())
        gradients = gradients.nan_to_num(0.0, 0.0, 0.0)
        difference = (images - encoder.baseline).numpy()
        maps.append(pixel_maps(encoder, images, gradients).numpy())
        used.append(np.stack([band_shares(used_contributions(difference, gradient)) for gradient in gradients.numpy()]))
        present.append(band_shares(np.abs(np.fft.fft2(difference)).sum(axis=1)))
    bands = np.concatenate(used, axis=1), np.concatenate(present)
    if encoder.tolerance is None:
        return _Attributed(np.concatenate(maps, axis=1), bands)
    errors = np.concatenate(error, axis=1)
    counts = {
        f"{method}/passes": int(np.concatenate(passes).sum()),
        f"{method}/settled": int((errors <= encoder.tolerance).all(axis=0).sum()),
    }
    return _Attributed(np.concatenate(maps, axis=1), bands, errors, counts)
