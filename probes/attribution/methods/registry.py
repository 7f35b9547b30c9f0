"""The methods by name, and what an encoder must have for each of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from probes.attribution.methods.attention import attention_flow, over_patches, recorded_attention
from probes.attribution.methods.differentiable import MAX_BATCH, NO_LAYER, AttributionTarget
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
"""`method(lens, images (B, 3, H, W), directions (S, B, D)) -> maps (S, B, H, W)`, signed."""

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
    """Give the name back.

    Raises:
        ValueError: for an unknown method, with the nearest ones.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=2) or sorted(METHODS)
        raise ValueError(f"`method` must be one of {sorted(METHODS)}, got {name!r}; choose {' or '.join(near)}.")
    return name


def focus(encode: Encode, images: Tensor, *, absent: Tensor, steps: int, window: int | None = None) -> AttributionTarget:
    """Look into an encoder and find out which methods it allows. Modes and random states are the caller's (see `undisturbed`).

    Args:
        encode: the encoder, in eval mode.
        images: a few images (B, 3, H, W) to run through it; two are enough.
        absent: (3, 1, 1) colour that stands for "nothing here".
        steps: points of integrated gradients.
        window: side of the covered window, or None for a quarter of the smaller side.
    """
    from torch import nn

    window = window or max(1, min(images.shape[-2:]) // 4)
    if not isinstance(encode, nn.Module):
        why = dict.fromkeys(("integrated_gradients", "grad_cam", "attention"), _NO_MODULE)
        return AttributionTarget(encode, absent, None, why, MAX_BATCH // 4, steps, window)
    seen = trace(encode, images)
    batch = max(1, min(MAX_BATCH, _NUMBERS_AT_ONCE // max(seen.numbers, 1)))
    if not seen.differentiable:
        why = dict.fromkeys(("integrated_gradients", "grad_cam", "attention"), _NO_GRADIENTS)
        return AttributionTarget(encode, absent, None, why, batch, steps, window)
    layer = last_spatial_layer(encode, seen)
    why = {} if layer is not None else {"grad_cam": NO_LAYER}
    if layer is None or not _has_attention(encode, images, layer):
        why["attention"] = _NO_ATTENTION
    points = min(batch, max(steps, _NUMBERS_IN_CACHE // max(seen.numbers, 1)))
    return AttributionTarget(encode, absent, layer, why, batch, steps, window, points)


def _has_attention(encode: nn.Module, images: Tensor, layer: SpatialLayer) -> bool:
    if layer.shape.layout != "tokens":
        return False
    with recorded_attention() as kept:
        encode(images.clone().requires_grad_())
    return bool(over_patches(kept, layer.shape.prefix + layer.shape.grid[0] * layer.shape.grid[1]))


def explain(lens: AttributionTarget, method: str, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute with a method by its name, (S, B, H, W) float32; what is not finite becomes zero.

    Raises:
        ValueError: when this encoder does not allow the method, with what to do.
    """
    if method in lens.unavailable:
        raise ValueError(f"`method` {method} cannot be used: {lens.unavailable[method]}")
    return METHODS[check_method(method)](lens, images, directions).nan_to_num(0.0, 0.0, 0.0)


def available(lens: AttributionTarget, wanted: Sequence[str] | None) -> list[str]:
    """List the methods to run: those wanted, by default all, that the encoder allows."""
    return [name for name in (wanted if wanted is not None else METHODS) if check_method(name) not in lens.unavailable]
