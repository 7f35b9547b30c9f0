"""One encoder, looked at by every method it allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.aggregate import mean_maps, pictures, values_by_class
from probes.attribution.methods.differentiable import AttributionTarget
from probes.attribution.methods.integrated_gradients import mean_gradients, pixel_maps
from probes.attribution.methods.registry import available, explain
from probes.attribution.metrics.faithfulness import into_cells
from probes.attribution.metrics.parameter_randomisation import randomised
from probes.attribution.metrics.spectrum import BANDS, band_shares, used_contributions
from probes.attribution.reading import Reading, believe, values_of

if TYPE_CHECKING:
    from torch import Tensor

FINE = "integrated_gradients"
"""The method whose maps have the resolution of pixels, and whose gradients tell of frequencies."""


@dataclass(frozen=True)
class Subjects:
    """The images of one look.

    Args:
        images: (n, 3, H, W).
        labels: (n,).
        domain: (n,).
        directions: number -> (n, D).
        masks: (n, H, W) bool, or None.
        given: whether the masks are the user's.
        classes: (K,) classes that get mean maps.
        checked: images, from the first on, whose maps are tested for faithfulness.
        gallery: images, from the first on, whose maps are kept.
    """

    images: Tensor
    labels: np.ndarray
    domain: np.ndarray
    directions: dict[str, np.ndarray]
    masks: np.ndarray | None
    given: bool
    classes: np.ndarray
    checked: int
    gallery: int


@dataclass
class Look:
    """What was seen.

    Args:
        readings: `<method>/<number>` -> reading.
        status: the same keys and those of methods that the encoder does not allow -> `informative`, or why not.
        arrays: mean maps, gallery and curves under the same keys.
    """

    readings: dict[str, Reading] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def look_at(
    lens: AttributionTarget, subjects: Subjects, methods: Sequence[str], *, silent: dict[str, str], seed: int, step: Callable[[], None]
) -> Look:
    """Explain the images with each method, measure the maps and test them.

    Args:
        lens: the encoder.
        subjects: the images and what to explain of them.
        methods: names in `METHODS`.
        silent: number -> why its maps mean nothing for this encoder, whatever they look like.
        seed: seed of shuffled weights and misplaced maps.
        step: called after each of a method's two parts.
    """
    seen = Look()
    runnable = available(lens, methods)
    shuffled = randomised(lens, seed=seed) if "integrated_gradients" not in lens.unavailable else None
    for method in methods:
        if method not in runnable:
            seen.status |= {f"{method}/{number}": f"not available: {lens.unavailable[method]}" for number in subjects.directions}
            step()
            step()
            continue
        maps, used = _explain_all(lens, subjects, method)
        step()
        first = subjects.checked
        twin = None
        if shuffled is not None and method not in shuffled.unavailable:
            stacked = np.stack([directions[:first] for directions in subjects.directions.values()])
            twin = _maps(shuffled, method, subjects.images[:first], stacked)
        for row, number in enumerate(subjects.directions):
            key = f"{method}/{number}"
            values, chances = values_of(maps[row], subjects.masks, fine=method == FINE, given=subjects.given)
            if used is not None:
                values |= {f"uses_{band}": used[0][row][:, at] for at, band in enumerate(BANDS)}
                chances |= {f"uses_{band}": used[1][:, at] for at, band in enumerate(BANDS)}
            reading = _read(lens, subjects, number, maps[row], None if twin is None else twin[row], values, chances, seed)
            reading = replace(reading, status=silent.get(number, reading.status))
            seen.readings[key], seen.status[key] = reading, reading.status
            seen.arrays[f"mean_map/{key}"] = mean_maps(maps[row], subjects.labels, subjects.domain, subjects.classes)
            seen.arrays[f"gallery/{key}"] = pictures(maps[row][: subjects.gallery])
            if reading.informative:
                split = (subjects.labels, subjects.domain, subjects.classes)
                seen.arrays |= {f"by_class/{key}/{name}": values_by_class(value, *split) for name, value in values.items()}
            seen.arrays |= {f"curve/{key}/{name}": line.astype(np.float32) for name, line in reading.curves.items()}
        step()
    return seen


def _read(
    lens: AttributionTarget,
    subjects: Subjects,
    number: str,
    maps: np.ndarray,
    twin: np.ndarray | None,
    values: dict[str, np.ndarray],
    chances: dict[str, np.ndarray],
    seed: int,
) -> Reading:
    import torch

    first = subjects.checked
    direction = torch.from_numpy(subjects.directions[number][:first])
    scores, curves, status = believe(lens, subjects.images[:first], direction, maps[:first], twin, seed=seed)
    return Reading(values, chances, into_cells(maps), scores, curves, status)


def _maps(lens: AttributionTarget, method: str, images: Tensor, directions: np.ndarray) -> np.ndarray:
    """Explain in batches, (S, n, H, W)."""
    import torch

    parts = []
    for start in range(0, len(images), lens.batch):
        part = slice(start, start + lens.batch)
        parts.append(explain(lens, method, images[part], torch.from_numpy(directions[:, part])))
    return torch.cat(parts, dim=1).numpy()


def _explain_all(lens: AttributionTarget, subjects: Subjects, method: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Give maps (S, n, H, W) and, for integrated gradients, the bands used (S, n, 4) and those of the images themselves (n, 4)."""
    import torch

    directions = np.stack(list(subjects.directions.values()))
    if method != FINE:
        return _maps(lens, method, subjects.images, directions), None
    maps, used, own = [], [], []
    for start in range(0, len(subjects.images), lens.batch):
        part = slice(start, start + lens.batch)
        images = subjects.images[part]
        gradients = mean_gradients(lens, images, torch.from_numpy(directions[:, part])).nan_to_num(0.0, 0.0, 0.0)
        difference = (images - lens.absent).numpy()
        maps.append(pixel_maps(lens, images, gradients).numpy())
        used.append(np.stack([band_shares(used_contributions(difference, gradient)) for gradient in gradients.numpy()]))
        own.append(band_shares(np.abs(np.fft.fft2(difference)).sum(axis=1)))
    return np.concatenate(maps, axis=1), (np.concatenate(used, axis=1), np.concatenate(own))
