"""Attribution of a single image without a table, from the directions of a stored result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.attribution_maps import STEPS
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.methods.registry import attribute, check_method, prepare
from probes.attribution.scalars import predicted_classes, zero_shot_directions

if TYPE_CHECKING:
    from probes.probe_input import Encode


def attribute_image(
    encode: Encode,
    pixels: np.ndarray,
    *,
    method: str,
    baseline: np.ndarray,
    class_weights: np.ndarray | None = None,
    label: int | None = None,
    domain: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Attribute the zero-shot and the domain logit of one image to its pixels.

    Args:
        encode: the encoder.
        pixels: (3, H, W) uint8.
        method: key in `METHODS`, or `captum:NAME`.
        baseline: (3,) colour in [0, 1] of a pixel without information, `lens/absent` of a stored result.
        class_weights: (D, C), or None: then no zero-shot logit.
        label: class of the zero-shot logit; None for the one that the encoder predicts.
        domain: (D,) direction to synthetic, `lens/domain` of a stored result, or None: then no domain logit.

    Returns:
        Maps `zero_shot` and `domain` (H, W) float32, signed, under the names of what was passed; and numbers: `zero_shot` and `domain`, the attributed
        cosines, `predicted`, the class with the largest cosine, and `explained`, the class that the map is of.

    Raises:
        ValueError: for an unknown method, one this encoder does not allow, or arrays that do not fit the encoder.
    """
    import torch

    check_method(method)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"`pixels` must be uint8 of shape (3, H, W), got {pixels.dtype} {pixels.shape}; convert the image to RGB.")
    images = torch.from_numpy(np.ascontiguousarray(pixels)[None].repeat(2, axis=0)).float() / 255
    colour = torch.from_numpy(np.asarray(baseline, dtype=np.float32)).view(3, 1, 1)
    with undisturbed(encode):
        encoder = prepare(encode, images, baseline=colour, steps=STEPS)
        unit = encoder.embed(images[:1])[0].numpy()
        directions, classes = _directions(unit, class_weights, label, domain)
        stacked = torch.from_numpy(np.stack(list(directions.values())))[:, None]
        attributions = attribute(encoder, method, images[:1], stacked)[:, 0].numpy()
    maps = {name: attributions[row].astype(np.float32) for row, name in enumerate(directions)}
    return maps, classes | {name: float(unit @ direction) for name, direction in directions.items()}


def _directions(
    unit: np.ndarray, class_weights: np.ndarray | None, label: int | None, domain: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    if class_weights is None and domain is None:
        raise ValueError("`class_weights` and `domain` must not both be None, got no number to explain; give one of them.")
    directions, classes = {}, {}
    for name, array in (("class_weights", class_weights), ("domain", domain)):
        if array is not None and array.shape[0] != len(unit):
            raise ValueError(
                f"`{name}` must have {len(unit)} rows like the encoder's embedding, got {array.shape[0]}; diagnose the run again."
            )
    if class_weights is not None:
        predicted = int(predicted_classes(unit[None], class_weights)[0])
        explained = predicted if label is None else label
        if not 0 <= explained < class_weights.shape[1]:
            raise ValueError(f"`label` must be from 0 to {class_weights.shape[1] - 1}, got {explained}; name a class of the run.")
        directions["zero_shot"] = zero_shot_directions(np.array([explained]), class_weights)[0]
        classes = {"predicted": float(predicted), "explained": float(explained)}
    if domain is not None:
        directions["domain"] = np.asarray(domain, dtype=np.float32)
    return directions, classes
