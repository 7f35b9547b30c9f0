"""Edits of colour: take it away, turn it, level it, or give an image the colours of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.edits.smooth import coarse

if TYPE_CHECKING:
    from torch import Tensor

LEVEL_MEAN, LEVEL_STD = 0.5, 0.2
"""Mean and spread that `level_colour` gives every channel: mid-grey, and a spread that rarely leaves [0, 1]."""

_FLAT = 1e-3  # a spread below a quarter of one 8-bit step is none


def luma(images: Tensor) -> Tensor:
    """Compute the brightness of images, (B, 1, H, W) in [0, 1], from (B, 3, H, W) in [0, 1].

    Source: ITU-R BT.601.
    """
    red, green, blue = images.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def grey(images: Tensor) -> Tensor:
    """Take all colour away and keep the brightness; (B, 3, H, W) in [0, 1] to the same."""
    return luma(images).expand_as(images).contiguous()


def saturation(images: Tensor, *, factor: float = 0.3) -> Tensor:
    """Multiply the distance from grey by `factor`.

    Args:
        images: (B, 3, H, W) in [0, 1].
        factor: 0 for grey, 1 for no change.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    brightness = luma(images)
    return (brightness + factor * (images - brightness)).clamp(0, 1)


def hue(images: Tensor) -> Tensor:
    """Turn every hue to its opposite at the same brightness (clipped to what a screen shows); (B, 3, H, W) to the same."""
    return (2 * luma(images) - images).clamp(0, 1)


def level_colour(images: Tensor) -> Tensor:
    """Set every channel of every image to the same mean and spread, which removes casts, exposure and contrast; (B, 3, H, W) to the same."""
    mean, std = _statistics(images)
    return ((images - mean) / std.clamp_min(_FLAT) * LEVEL_STD + LEVEL_MEAN).clamp(0, 1)


def exchange_channel_statistics(images: Tensor, partner: Tensor) -> Tensor:
    """Set each channel of an image to the mean of its partner's and to the spread of its coarse half.

    The spread of the whole would hold the partner's noise and fine detail, which are no colours.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Reinhard et al. (2001), without their colour space, on the coarse half.
    """
    mean, wanted_mean = (part.mean(dim=(2, 3), keepdim=True) for part in (images, partner))
    std, wanted_std = (_statistics(coarse(part))[1].clamp_min(_FLAT) for part in (images, partner))
    return ((images - mean) / std * wanted_std + wanted_mean).clamp(0, 1)


def exchange_chroma(images: Tensor, partner: Tensor) -> Tensor:
    """Take the coarse hue and saturation, place by place, from a partner.

    Brightness and the fine half of the colours stay: colour that differs from pixel to pixel is noise or a trace of a codec.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    chroma, partner_chroma = coarse(images - luma(images)), coarse(partner - luma(partner))
    return (images - chroma + partner_chroma).clamp(0, 1)


def exchange_tones(images: Tensor, partner: Tensor) -> Tensor:
    """Bend the tone curve of each channel so that its values are spread as the partner's are.

    Order and place of the values stay, so nothing but casts, exposure, contrast, tone curves and the number of shades goes over.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: histogram specification, Gonzalez & Woods, section 3.3, on the 256 levels of eight bits.
    """
    import torch

    level = (images * 255).round()
    counts, partner_counts = _shares(level), _shares((partner * 255).round())
    # The middle of a level's own share lies inside it, so an image that is given its own tones keeps them.
    rank = (counts.cumsum(-1) - counts / 2).gather(-1, level.flatten(2).long())
    mapped = torch.searchsorted(partner_counts.cumsum(-1).contiguous(), rank.contiguous()).clamp_max(255).view_as(images)
    return (mapped / 255 + images - level / 255).clamp(0, 1)


def exchange_palette(images: Tensor, partner: Tensor) -> Tensor:
    """Take all of tone and colour from a partner: its tones first, then its coarse hue and saturation.

    A cue of colour is whole in this exchange, whichever of the single ones carries a part of it.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return exchange_chroma(exchange_tones(images, partner), partner)


def _shares(level: Tensor) -> Tensor:
    """Count the pixels that have each of 256 levels, (B, 3, 256)."""
    import torch

    flat = level.flatten(2).long()
    return torch.zeros(*flat.shape[:2], 256, dtype=torch.float64, device=level.device).scatter_add_(
        -1, flat, torch.ones_like(flat, dtype=torch.float64)
    )


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and population spread of each channel, both (B, 3, 1, 1)."""
    return images.mean(dim=(2, 3), keepdim=True), images.std(dim=(2, 3), keepdim=True, correction=0)
