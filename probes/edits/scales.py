"""Edits of coarse and fine scales in space: blur, what a blur takes away, and images put together from two of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from probes.edits.colour import luma
from probes.edits.spectrum import peaks, with_loudness_of

if TYPE_CHECKING:
    from torch import Tensor

COARSE = 1 / 16
"""Width of the blur that divides layout from detail, as a share of the shorter side: two pixels of 32."""

TRACE_PIXELS = 1.0
"""Width in pixels of the blur that hides what cameras, codecs and generators leave between neighbouring pixels."""


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of standard deviation `sigma` pixels, edges mirrored; (B, C, H, W) to the same."""
    import torch
    from torch.nn import functional as F

    channels = images.shape[1]
    for axis, side in ((2, images.shape[2]), (3, images.shape[3])):
        radius = min(math.ceil(3 * sigma), side - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).view(1, 1, -1, 1) if axis == 2 else (kernel / kernel.sum()).view(1, 1, 1, -1)
        margin = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        images = F.conv2d(F.pad(images, margin, mode="reflect"), kernel.expand(channels, *kernel.shape[1:]), groups=channels)
    return images


def low_pass(images: Tensor) -> Tensor:
    """Keep the coarse layout only; (B, 3, H, W) in [0, 1] to the same."""
    return gaussian(images, _coarse(images)).clamp(0, 1)


def high_pass(images: Tensor) -> Tensor:
    """Keep the fine detail of the brightness only, around mid-grey; (B, 3, H, W) in [0, 1] to the same."""
    brightness = luma(images)
    return (brightness - gaussian(brightness, _coarse(images)) + 0.5).clamp(0, 1).expand_as(images).contiguous()


def blur(images: Tensor) -> Tensor:
    """Blur by one pixel; (B, 3, H, W) in [0, 1] to the same."""
    return gaussian(images, TRACE_PIXELS).clamp(0, 1)


def sharpen(images: Tensor, *, amount: float = 1.0) -> Tensor:
    """Add `amount` times what a blur of one pixel takes away (an unsharp mask); (B, 3, H, W) in [0, 1] to the same."""
    return (images + amount * (images - gaussian(images, TRACE_PIXELS))).clamp(0, 1)


def exchange_detail(images: Tensor, partner: Tensor) -> Tensor:
    """Take the fine detail of the brightness from a partner, as loud as the image's own; both (B, 3, H, W) in [0, 1].

    Colours, layout, narrow frequency peaks and sharpness stay, so that a cue of those does not pass for one of texture.

    Source: hybrid images, Oliva, Torralba & Schyns (2006), on brightness alone and with levelled amplitudes.
    """
    sigma = _coarse(images)
    plain = [part - peaks(part) for part in (luma(images), luma(partner))]
    own, other = (part - gaussian(part, sigma) for part in plain)
    return (images - own + with_loudness_of(other, own)).clamp(0, 1)


def exchange_layout(images: Tensor, partner: Tensor) -> Tensor:
    """Take the coarse layout of the brightness from a partner, at the image's own exposure and contrast; both (B, 3, H, W) in [0, 1].

    Colours, exposure and detail stay, so that a cast or a brighter image does not pass for a shape.

    Source: hybrid images, Oliva, Torralba & Schyns (2006), on levelled brightness alone.
    """
    sigma = _coarse(images)
    own, other = gaussian(luma(images), sigma), gaussian(luma(partner), sigma)
    mean, other_mean = (part.mean(dim=(2, 3), keepdim=True) for part in (own, other))
    spread, other_spread = (part.std(dim=(2, 3), keepdim=True, correction=0).clamp_min(1e-3) for part in (own, other))
    return (images - own + mean + (other - other_mean) / other_spread * spread).clamp(0, 1)


def _coarse(images: Tensor) -> float:
    return COARSE * min(images.shape[-2:])
