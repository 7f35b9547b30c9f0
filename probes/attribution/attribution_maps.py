"""Attribution maps on demand: one method, one number, some rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from probes.attribution.methods.differentiable import AttributionTarget
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.methods.registry import attribute, check_method, prepare
from probes.attribution.scalars import SCALARS, domain_logit, predicted_classes, zero_shot_directions

if TYPE_CHECKING:
    from torch import Tensor

    from probes.probe_input import ProbeInput

Target = Literal["true", "predicted"]
STEPS = 16
_COLOUR_FROM = 256


def baseline_colour(probe_input: ProbeInput) -> Tensor:
    """Compute the baseline, the mean colour of up to 256 images spread over the table, (3, 1, 1) in [0, 1]."""
    import torch

    rows = np.unique(np.linspace(0, len(probe_input) - 1, min(len(probe_input), _COLOUR_FROM)).astype(int))
    mean = np.mean([probe_input.raw(rows[at : at + 1]).mean(axis=(0, 2, 3)) for at in range(len(rows))], axis=0)
    return torch.from_numpy(mean / 255).float().view(3, 1, 1)


def prepare_encoder(
    probe_input: ProbeInput, *, steps: int = STEPS, window: int | None = None, tolerance: float | None = None
) -> AttributionTarget:
    """Prepare an encoder for attribution with images of its own; the caller keeps it `undisturbed`.

    Args:
        probe_input: the encoder with its images.
        steps: points of integrated gradients, at least 2.
        window: side of the window of occlusion in pixels, or None for a quarter of the smaller side.
        tolerance: completeness error, as a share, at which integrated gradients stop before `steps`; None for never.

    Raises:
        ValueError: for steps, a window or a tolerance that cannot be used.
    """
    if steps < 2:
        raise ValueError(f"`steps` must be at least 2, got {steps}; 16 is enough for most encoders.")
    if window is not None and not 1 <= window <= min(probe_input.size):
        raise ValueError(f"`window` must be from 1 to {min(probe_input.size)} pixels, got {window}; take about a quarter of the side.")
    if tolerance is not None and not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` must be above 0 and below 1, got {tolerance}; 0.05 lets 5 % of the difference be missing.")
    rows = np.unique([0, len(probe_input) - 1])
    baseline = baseline_colour(probe_input)
    return prepare(probe_input.encode, probe_input.images(rows), baseline=baseline, steps=steps, window=window, tolerance=tolerance)


def check_scalar(of: str, class_weights: np.ndarray | None) -> None:
    """Raise for an unknown number, or for a zero-shot logit without class weights.

    Raises:
        ValueError: naming the remedy.
    """
    if of not in SCALARS:
        raise ValueError(f"`of` must be one of {list(SCALARS)}, got {of!r}; choose one.")
    if of == "zero_shot" and class_weights is None:
        raise ValueError("`class_weights` must be a (D, C) array for the zero-shot logit, got None; pass them, or ask of='domain'.")


def target_directions(probe_input: ProbeInput, rows: np.ndarray, class_weights: np.ndarray, target: Target) -> np.ndarray:
    """Return the zero-shot directions of rows, for the true or the predicted class, (n, D).

    Args:
        probe_input: the encoder with its images.
        rows: (n,) rows of the table.
        class_weights: (D, C).
        target: `true` for the label's class, `predicted` for the one that the encoder predicts.

    Raises:
        ValueError: for another target.
    """
    if target not in ("true", "predicted"):
        raise ValueError(f"`target` must be 'true' or 'predicted', got {target!r}; choose one.")
    space = probe_input.table.text_space
    weights = class_weights if space is None else space.class_weights
    classes = probe_input.table.labels[rows] if target == "true" else predicted_classes(probe_input.table.embeddings[rows], weights)
    return zero_shot_directions(classes, weights)


def maps(
    probe_input: ProbeInput,
    rows: np.ndarray,
    *,
    method: str = "integrated_gradients",
    of: str = "zero_shot",
    class_weights: np.ndarray | None = None,
    target: Target = "true",
    seed: int = 0,
    steps: int = STEPS,
    window: int | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """Attribute one number of some images to their pixels.

    Args:
        probe_input: the encoder with its images.
        rows: (n,) rows of the table.
        method: key in `METHODS`, or `captum:NAME` (see `probes.attribution.methods.captum_methods`).
        of: `zero_shot` (the class's cosine minus the mean of the other classes') or `domain` (how synthetic the image looks to this
            encoder, by a linear probe that did not see it).
        class_weights: (D, C), needed for `zero_shot`.
        target: class of the zero-shot logit: the label's, or the one the encoder predicts.
        seed: seed of the domain probe.
        steps: points of integrated gradients.
        window: side of the window of occlusion, or None for a quarter of the smaller side.
        tolerance: completeness error, as a share, at which integrated gradients stop before `steps`; None for never.

    Returns:
        (n, H, W) float32, signed, at the size of the images: positive where a pixel raises the number.

    Raises:
        ValueError: for an unknown method or number, rows that are not in the table, or an encoder that does not allow the method.
    """
    import torch

    check_method(method)
    check_scalar(of, class_weights)
    rows = np.atleast_1d(np.asarray(rows))
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (len(rows) and not 0 <= rows.min() <= rows.max() < len(probe_input)):
        raise ValueError(
            f"`rows` must be row numbers from 0 to {len(probe_input) - 1}, got {rows[:3].tolist()}; look them up in the table."
        )
    if not len(rows):
        return np.zeros((0, *probe_input.size), dtype=np.float32)
    if of == "zero_shot" and class_weights is not None:
        directions = target_directions(probe_input, rows, class_weights, target)
    else:
        directions = domain_logit(probe_input.table, seed=seed).directions(rows)
    with undisturbed(probe_input.encode):
        encoder = prepare_encoder(probe_input, steps=steps, window=window, tolerance=tolerance)
        batches = []
        for start in range(0, len(rows), encoder.batch):
            part = slice(start, start + encoder.batch)
            batches.append(attribute(encoder, method, probe_input.images(rows[part]), torch.from_numpy(directions[part])[None])[0])
        return torch.cat(batches).numpy()
