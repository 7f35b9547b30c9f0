"""Edits of colour: take it away, turn it, level it, or give an image the colours of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LEVEL_MEAN, LEVEL_STD = 0.5, 0.2
"""Mean and spread that `level_colour` gives every channel: mid-grey, and a spread that rarely leaves [0, 1]."""

_FLAT = 1e-3  # a spread below a quarter of one 8-bit step is none


def luma(images: Tensor) -> Tensor:
    """Give the brightness of images, (B, 1, H, W) in [0, 1], from (B, 3, H, W) in [0, 1].

    Source: ITU-R BT.601.
    """
    red, green, blue = images.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def grey(images: Tensor) -> Tensor:
    """Take all colour away and keep the brightness; (B, 3, H, W) in [0, 1] to the same."""
    return luma(images).expand_as(images).contiguous()


def saturation(images: Tensor, *, factor: float = 0.3) -> Tensor:
    """Multiply the distance from grey by `factor`; (B, 3, H, W) in [0, 1] to the same."""
    brightness = luma(images)
    return (brightness + factor * (images - brightness)).clamp(0, 1)


def hue(images: Tensor) -> Tensor:
    """Turn every hue to its opposite at the same brightness (clipped to what a screen shows); (B, 3, H, W) to the same."""
    return (2 * luma(images) - images).clamp(0, 1)


def level_colour(images: Tensor) -> Tensor:
    """Give every channel of every image the same mean and spread, which removes casts, exposure and contrast; (B, 3, H, W) to the same."""
    mean, std = _statistics(images)
    return ((images - mean) / std.clamp_min(_FLAT) * LEVEL_STD + LEVEL_MEAN).clamp(0, 1)


def exchange_channel_statistics(images: Tensor, partner: Tensor) -> Tensor:
    """Give each channel of an image the mean and spread of its partner's; both (B, 3, H, W) in [0, 1].

    Source: Reinhard et al. (2001), without their colour space.
    """
    mean, std = _statistics(images)
    wanted_mean, wanted_std = _statistics(partner)
    return ((images - mean) / std.clamp_min(_FLAT) * wanted_std + wanted_mean).clamp(0, 1)


def exchange_chroma(images: Tensor, partner: Tensor) -> Tensor:
    """Keep an image's brightness and take hue and saturation, pixel by pixel, from its partner; both (B, 3, H, W) in [0, 1]."""
    return (luma(images) + partner - luma(partner)).clamp(0, 1)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and population spread of each channel, both (B, 3, 1, 1)."""
    return images.mean(dim=(2, 3), keepdim=True), images.std(dim=(2, 3), keepdim=True, correction=0)
