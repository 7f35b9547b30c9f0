"""Edits in the Fourier domain: narrow peaks notched out, amplitudes or the energy of fine frequencies taken from another image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from probes.edits.colour import luma

if TYPE_CHECKING:
    from torch import Tensor

PEAK = 4.0
"""A peak is a frequency with more than this many times the geometric mean amplitude of its ring; for amplitudes that only scatter
(Rayleigh) about 1 in 8,000 frequencies is that large."""

FINE = 0.25
"""Frequencies above this share of the Nyquist frequency are the fine ones, whose energy says how sharp or noisy an image is."""

LARGEST_GAIN = 10.0
"""Detail that a blur took away is not made of nothing: no ring is made more than ten times as loud, or quieter."""

_LITTLE = 1e-4


def notch(images: Tensor) -> Tensor:
    """Pull narrow frequency peaks down to the mean amplitude of their ring, phases kept; (B, 3, H, W) in [0, 1] to the same.

    Repeating patterns (gratings, grids of an upsampler, moiré) live in such peaks. The mean of the image stays.
    """
    return (images - peaks(images)).clamp(0, 1)


def peaks(images: Tensor) -> Tensor:
    """Return what `notch` takes out, (B, K, H, W), around 0."""
    import torch

    spectrum = torch.fft.rfft2(images)
    ring = _rings(images)
    above = (_loudness(spectrum) - _over_rings(_loudness(spectrum), ring)).clamp_min(0)
    peak = (above > math.log(PEAK)) & (ring > 0)
    return torch.fft.irfft2(torch.where(peak, spectrum * (1 - torch.exp(-above)), 0), s=images.shape[-2:])


def exchange_peaks(images: Tensor, partner: Tensor) -> Tensor:
    """Take narrow frequency peaks, and nothing else, from a partner.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: ours.
    """
    return (images - peaks(images) + peaks(partner)).clamp(0, 1)


def exchange_amplitude(images: Tensor, partner: Tensor) -> Tensor:
    """Keep an image's phases and mean colour, and take the amplitude of every other frequency from its partner.

    Phases carry outlines; amplitudes carry contrast, texture statistics and repeating patterns.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: Oppenheim & Lim (1981); as a domain exchange Yang & Soatto (2020), here for all frequencies but the mean.
    """
    import torch

    spectrum, partner_spectrum = torch.fft.rfft2(images), torch.fft.rfft2(partner)
    mixed = spectrum / spectrum.abs().clamp_min(_LITTLE) * partner_spectrum.abs()
    mixed[..., 0, 0] = spectrum[..., 0, 0]
    return torch.fft.irfft2(mixed, s=images.shape[-2:]).clamp(0, 1)


def exchange_sharpness(images: Tensor, partner: Tensor) -> Tensor:
    """Set the mean amplitude of every ring of fine frequencies to that of the partner.

    Outlines, coarse colours and layout stay; blur, sharpening and loss by compression go over. The mean is geometric, so that a narrow
    peak of the partner counts as one frequency among many. Brightness and colour have rings of their own, as codecs treat them apart.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: ours.
    """
    fine = FINE * min(images.shape[-2:]) / 2
    brightness, partner_brightness = luma(images), luma(partner)
    sharpened = with_loudness_of(brightness, partner_brightness, above=fine)
    return (sharpened + with_loudness_of(images - brightness, partner - partner_brightness, above=fine)).clamp(0, 1)


def with_loudness_of(images: Tensor, partner: Tensor, *, above: float = 0.0) -> Tensor:
    """Multiply each ring of frequencies beyond `above` so that its geometric mean amplitude, over channels too, is the partner's.

    The result is not clipped to [0, 1].

    Args:
        images: (B, K, H, W).
        partner: the same shape.
        above: frequency in cycles per shorter side from which rings are changed.

    Returns:
        (B, K, H, W).
    """
    import torch

    spectrum, partner_spectrum = torch.fft.rfft2(images), torch.fft.rfft2(partner)
    ring = _rings(images)
    quiet, wanted = (_over_rings(_loudness(part).mean(dim=1, keepdim=True), ring) for part in (spectrum, partner_spectrum))
    gain = torch.exp((wanted - quiet).clamp(-math.log(LARGEST_GAIN), math.log(LARGEST_GAIN)))
    return torch.fft.irfft2(torch.where(ring > above, spectrum * gain, spectrum), s=images.shape[-2:])


def _loudness(spectrum: Tensor) -> Tensor:
    return (spectrum.abs() + _LITTLE).log()


def _rings(images: Tensor) -> Tensor:
    """Number each frequency by its distance from zero in cycles per shorter side, (H, W // 2 + 1) int64; ring 0 is the mean alone."""
    import torch

    height, width = images.shape[-2:]
    down, across = torch.fft.fftfreq(height, device=images.device), torch.fft.rfftfreq(width, device=images.device)
    radius = (down[:, None] ** 2 + across[None, :] ** 2).sqrt() * min(height, width)
    ring = radius.round().long()
    ring[(radius > 0) & (ring == 0)] = 1
    return ring


def _over_rings(values: Tensor, ring: Tensor) -> Tensor:
    """Replace each value (..., H, W // 2 + 1) by the mean over its ring."""
    import torch

    flat, where = values.flatten(-2), ring.flatten()
    count = torch.bincount(where).clamp_min(1).to(flat.dtype)
    total = torch.zeros(*flat.shape[:-1], len(count), dtype=flat.dtype, device=flat.device)
    total.index_add_(-1, where, flat)
    return (total / count)[..., where].view_as(values)
