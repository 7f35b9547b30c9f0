"""One image at a time, without a table: what a stored result lets us ask of any other picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.methods.registry import check_method, explain, focus
from probes.attribution.request import STEPS
from probes.attribution.scalars import predicted_classes, zero_shot_directions

if TYPE_CHECKING:
    from probes.probe_input import Encode


def explain_one(
    encode: Encode,
    pixels: np.ndarray,
    *,
    method: str,
    absent: np.ndarray,
    class_weights: np.ndarray | None = None,
    label: int | None = None,
    domain: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Attribute the zero-shot and the domain logit of one image to its pixels.

    Args:
        encode: the encoder.
        pixels: (3, H, W) uint8.
        method: key in `METHODS`.
        absent: (3,) colour in [0, 1] that stands for "nothing here", `lens/absent` of a stored result.
        class_weights: (D, C), or None: then no zero-shot logit.
        label: class of the zero-shot logit; None for the one that the encoder predicts.
        domain: (D,) direction to synthetic, `lens/domain` of a stored result, or None: then no domain logit.

    Returns:
        Maps `zero_shot` and `domain` (H, W) float32, signed, by what was given; and numbers: `zero_shot` and `domain`, the attributed
        cosines, `predicted`, the class with the largest cosine, and `explained`, the class that the map is of.

    Raises:
        ValueError: for an unknown method, one this encoder does not allow, or arrays that do not fit the encoder.
    """
    import torch

    check_method(method)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"`pixels` must be uint8 of shape (3, H, W), got {pixels.dtype} {pixels.shape}; convert the image to RGB.")
    images = torch.from_numpy(np.ascontiguousarray(pixels)[None].repeat(2, axis=0)).float() / 255
    nothing = torch.from_numpy(np.asarray(absent, dtype=np.float32)).view(3, 1, 1)
    with undisturbed(encode):
        lens = focus(encode, images, absent=nothing, steps=STEPS)
        unit = lens.embed(images[:1])[0].numpy()
        directions, said = _directions(unit, class_weights, label, domain)
        stacked = torch.from_numpy(np.stack(list(directions.values())))[:, None]
        found = explain(lens, method, images[:1], stacked)[:, 0].numpy()
    maps = {name: found[row].astype(np.float32) for row, name in enumerate(directions)}
    return maps, said | {name: float(unit @ direction) for name, direction in directions.items()}


def _directions(
    unit: np.ndarray, class_weights: np.ndarray | None, label: int | None, domain: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    if class_weights is None and domain is None:
        raise ValueError("`class_weights` and `domain` must not both be None, got no number to explain; give one of them.")
    directions, said = {}, {}
    for name, given in (("class_weights", class_weights), ("domain", domain)):
        if given is not None and given.shape[0] != len(unit):
            raise ValueError(
                f"`{name}` must have {len(unit)} rows like the encoder's embedding, got {given.shape[0]}; diagnose the run again."
            )
    if class_weights is not None:
        predicted = int(predicted_classes(unit[None], class_weights)[0])
        asked = predicted if label is None else label
        if not 0 <= asked < class_weights.shape[1]:
            raise ValueError(f"`label` must be from 0 to {class_weights.shape[1] - 1}, got {asked}; name a class of the run.")
        directions["zero_shot"] = zero_shot_directions(np.array([asked]), class_weights)[0]
        said = {"predicted": float(predicted), "explained": float(asked)}
    if domain is not None:
        directions["domain"] = np.asarray(domain, dtype=np.float32)
    return directions, said
