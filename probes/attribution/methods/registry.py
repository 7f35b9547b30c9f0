"""The methods by name, and what an encoder must have for each of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING

from probes.attribution.methods.attention import attention_flow, over_patches, recorded_attention
from probes.attribution.methods.captum_methods import PREFIX, captum_attribution, captum_method, near_captum_names
from probes.attribution.methods.differentiable import MAX_BATCH, NO_LAYER, AttributionTarget, UnavailableMethodError
from probes.attribution.methods.grad_cam import grad_cam
from probes.attribution.methods.integrated_gradients import integrated_gradients
from probes.attribution.methods.occlusion import occlusion
from probes.attribution.methods.spatial_layers import SpatialLayer, last_spatial_layer, trace

if TYPE_CHECKING:
    from torch import Tensor, nn

    from probes.probe_input import Encode

_NUMBERS_AT_ONCE = 2**27
"""Activations held at once while gradients are taken: half a gigabyte of float32."""
_NUMBERS_IN_CACHE = 2**24
"""Activations of a pass whose gradients are taken, what modules hand on unchanged counted again: as much as a last cache of 32 MiB about holds;
on a small residual network (measured) 32 images in a pass take 0.7 times as long as 128."""


Method = Callable[[AttributionTarget, "Tensor", "Tensor"], "Tensor"]
"""`method(encoder, images (B, 3, H, W), directions (S, B, D)) -> maps (S, B, H, W)`, signed."""

METHODS: dict[str, Method] = {
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "occlusion": occlusion,
    "attention": attention_flow,
}

_NO_MODULE = "the encoder must be a torch.nn.Module for gradients, got another callable; pass the module, or use occlusion."
_NO_GRADIENTS = "the encoder must pass gradients from its embedding to the pixels, got none; take out what cuts them, or use occlusion."
_NO_ATTENTION = (
    "the encoder must let all patches of an image attend to each other through torch's scaled_dot_product_attention, got none that do; "
    "use grad_cam."
)


def check_method(name: str) -> str:
    """Return the name of a method unchanged.

    Raises:
        ValueError: for an unknown method, with the nearest ones.
    """
    if name.startswith(PREFIX):
        captum_method(name)
    elif name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=2) or near_captum_names(name) or sorted(METHODS)
        raise ValueError(
            f"`method` must be one of {sorted(METHODS)} or {PREFIX}NAME with a method of captum.attr, got {name!r}; choose {' or '.join(near)}."
        )
    return name


def prepare(
    encode: Encode, images: Tensor, *, baseline: Tensor, steps: int, window: int | None = None, tolerance: float | None = None
) -> AttributionTarget:
    """Prepare an encoder for attribution: find out which methods it allows, and where its last feature map is. Modes and random states are the caller's (see `undisturbed`).

    Args:
        encode: the encoder, in eval mode.
        images: a few images (B, 3, H, W) float in [0, 1] to run through it; two are enough.
        baseline: (3, 1, 1) colour in [0, 1] that stands for a pixel without information.
        steps: points of integrated gradients.
        window: side of the covered window, or None for a quarter of the smaller side.
        tolerance: see `AttributionTarget`.
    """
    from torch import nn

    window = window or max(1, min(images.shape[-2:]) // 4)
    if not isinstance(encode, nn.Module):
        why = dict.fromkeys(("integrated_gradients", "grad_cam", "attention"), _NO_MODULE)
        return AttributionTarget(encode, baseline, None, why, MAX_BATCH // 4, steps, window)
    traced = trace(encode, images)
    batch = max(1, min(MAX_BATCH, _NUMBERS_AT_ONCE // max(traced.numbers, 1)))
    if not traced.differentiable:
        why = dict.fromkeys(("integrated_gradients", "grad_cam", "attention"), _NO_GRADIENTS)
        return AttributionTarget(encode, baseline, None, why, batch, steps, window)
    layer = last_spatial_layer(encode, traced)
    why = {} if layer is not None else {"grad_cam": NO_LAYER}
    if layer is None or not _has_attention(encode, images, layer):
        why["attention"] = _NO_ATTENTION
    points = min(batch, max(steps, _NUMBERS_IN_CACHE // max(traced.numbers, 1)))
    return AttributionTarget(encode, baseline, layer, why, batch, steps, window, points, tolerance)


def _has_attention(encode: nn.Module, images: Tensor, layer: SpatialLayer) -> bool:
    if layer.shape.layout != "tokens":
        return False
    with recorded_attention() as attention:
        encode(images.clone().requires_grad_())
    return bool(over_patches(attention, layer.shape.prefix + layer.shape.grid[0] * layer.shape.grid[1]))


def attribute(encoder: AttributionTarget, method: str, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute with a method by its name; what is not finite becomes zero.

    Args:
        encoder: from `prepare`.
        method: key in `METHODS`, or `captum:NAME`.
        images: (B, 3, H, W) float in [0, 1].
        directions: (S, B, D), directions whose cosine with the embedding is attributed.

    Returns:
        (S, B, H, W) float32, signed.

    Raises:
        UnavailableMethodError: when this encoder does not allow the method, with what to do.
        ValueError: for an unknown method.
    """
    if method in encoder.unavailable:
        raise UnavailableMethodError(method, encoder.unavailable[method])
    if check_method(method).startswith(PREFIX):
        maps = captum_attribution(encoder, method, images, directions)
    else:
        maps = METHODS[method](encoder, images, directions)
    return maps.nan_to_num(0.0, 0.0, 0.0)
