"""Which spatial frequencies carry a map, and which frequencies of the image carry the number that is explained."""

from __future__ import annotations

import numpy as np

BANDS = ("mean", "low", "mid", "high")
"""The image's mean colour; below a quarter of the Nyquist frequency; up to a half; above."""


def band_of(height: int, width: int) -> np.ndarray:
    """Compute the band of every coefficient of a two-dimensional Fourier transform, (H, W) index into `BANDS`."""
    radius = 2 * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])  # 1 at the Nyquist frequency of an axis
    band = 1 + (radius >= 0.25).astype(int) + (radius >= 0.5)
    band[0, 0] = 0
    return band


def used_contributions(difference: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Divide f(image) - f(baseline) among the frequencies of the image.

    The sum of (image - baseline) x mean gradient over pixels is, by Parseval, the sum over frequencies of
    Re(transform of the difference x conjugate transform of the gradient) / (H W): integrated gradients of the Fourier coefficients.

    Args:
        difference: image - baseline, (n, 3, H, W).
        gradients: mean gradients, (n, 3, H, W).

    Returns:
        (n, H, W) signed; its sum over frequencies is that of the pixel map.

    Source: ours; integrated gradients do not depend on the linear basis that the image is written in.
    """
    height, width = difference.shape[-2:]
    product = np.fft.fft2(difference) * np.conj(np.fft.fft2(gradients))
    return product.real.sum(axis=1) / (height * width)


def band_shares(values: np.ndarray) -> np.ndarray:
    """Compute the share of absolute values in each band, (n, 4), rows sum to one; NaN where all are zero.

    Args:
        values: (n, H, W) over frequencies.
    """
    size, band = np.abs(values), band_of(*values.shape[1:])
    sums = np.stack([size[:, band == number].sum(axis=1) for number in range(len(BANDS))], axis=1)
    total = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def map_band_shares(maps: np.ndarray) -> np.ndarray:
    """Compute the share of each map's own power in each band, its mean left out, (n, 4); chance is `white_shares`."""
    power = np.abs(np.fft.fft2(maps)) ** 2
    power[:, 0, 0] = 0
    return band_shares(power)


def white_shares(height: int, width: int) -> np.ndarray:
    """Compute the shares of a map of white noise, (4,)."""
    values = np.ones((1, height, width))
    values[0, 0, 0] = 0
    return band_shares(values)[0]
