"""Edits of coarse and fine scales in space: blur, what a blur takes away, and images put together from two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.edits.colour import luma
from probes.edits.smooth import coarse, gaussian
from probes.edits.spectrum import peaks, with_loudness_of

if TYPE_CHECKING:
    from torch import Tensor

TRACE_PIXELS = 1.0
"""Width in pixels of the blur that hides what cameras, codecs and generators leave between neighbouring pixels."""


def low_pass(images: Tensor) -> Tensor:
    """Keep the coarse layout only; (B, 3, H, W) in [0, 1] to the same."""
    return coarse(images).clamp(0, 1)


def high_pass(images: Tensor) -> Tensor:
    """Keep the fine detail of the brightness only, around mid-grey; (B, 3, H, W) in [0, 1] to the same."""
    brightness = luma(images)
    return (brightness - coarse(brightness) + 0.5).clamp(0, 1).expand_as(images).contiguous()


def blur(images: Tensor) -> Tensor:
    """Blur by one pixel; (B, 3, H, W) in [0, 1] to the same."""
    return gaussian(images, TRACE_PIXELS).clamp(0, 1)


def sharpen(images: Tensor, *, amount: float = 1.0) -> Tensor:
    """Add `amount` times what a blur of one pixel takes away (an unsharp mask).

    Args:
        images: (B, 3, H, W) in [0, 1].
        amount: 0 for no change.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return (images + amount * (images - gaussian(images, TRACE_PIXELS))).clamp(0, 1)


def exchange_detail(images: Tensor, partner: Tensor) -> Tensor:
    """Take the fine detail of the brightness from a partner, as loud as the image's own.

    Colours, layout, narrow frequency peaks and sharpness stay, so that a cue of those does not pass for one of texture.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: hybrid images, Oliva, Torralba & Schyns (2006), on brightness alone and with levelled amplitudes.
    """
    plain = [part - peaks(part) for part in (luma(images), luma(partner))]
    detail, partner_detail = (part - coarse(part) for part in plain)
    return (images - detail + with_loudness_of(partner_detail, detail)).clamp(0, 1)


def exchange_layout(images: Tensor, partner: Tensor) -> Tensor:
    """Take the coarse layout of the brightness from a partner, at the image's own exposure and contrast.

    Colours, exposure and detail stay, so that a cast or a brighter image does not pass for a shape.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: hybrid images, Oliva, Torralba & Schyns (2006), on levelled brightness alone.
    """
    layout, partner_layout = coarse(luma(images)), coarse(luma(partner))
    mean, partner_mean = (part.mean(dim=(2, 3), keepdim=True) for part in (layout, partner_layout))
    spread, partner_spread = (part.std(dim=(2, 3), keepdim=True, correction=0).clamp_min(1e-3) for part in (layout, partner_layout))
    return (images - layout + mean + (partner_layout - partner_mean) / partner_spread * spread).clamp(0, 1)
