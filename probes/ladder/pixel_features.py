"""What a classifier can see without any encoder: a small picture, colours, the spectrum, and differences of neighbouring pixels."""

from __future__ import annotations

import numpy as np

PICTURE_SIDE = 16
COORDINATES = 64
BANDS = 12


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Describe images by about a hundred numbers, (N, F) float64; linear in them is quadratic in the pixels, as traces of codecs are.

    64 principal coordinates of the picture shrunk to at most 16 x 16, mean and spread of each colour, log power of the brightness in 12 rings of
    frequency, log mean size of first and second differences along rows and columns in each colour.

    Args:
        images: (N, 3, H, W) float in [0, 1].

    Source: ours; power spectra as in Durall et al. (2020).
    """
    images = np.asarray(images, dtype=np.float64)
    small = _shrunk(images).reshape(len(images), -1)
    small = small - small.mean(axis=0)
    values, vectors = np.linalg.eigh(small.T @ small)
    picture = small @ vectors[:, np.argsort(-values, kind="stable")[:COORDINATES]]
    colour = np.concatenate([images.mean(axis=(2, 3)), images.std(axis=(2, 3))], axis=1)
    steps = [np.log(np.abs(np.diff(images, n=order, axis=axis)).mean(axis=(2, 3)) + 1e-4) for order in (1, 2) for axis in (2, 3)]
    return np.concatenate([picture, colour, _spectrum(images.mean(axis=1)), *steps], axis=1)


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Average over near-equal cells, at most 16 x 16."""
    for axis in (2, 3):
        side = images.shape[axis]
        edges = np.linspace(0, side, min(side, PICTURE_SIDE) + 1).astype(int)
        widths = np.diff(edges).reshape([-1 if place == axis else 1 for place in range(4)])
        images = np.add.reduceat(images, edges[:-1], axis=axis) / widths
    return images


def _spectrum(brightness: np.ndarray) -> np.ndarray:
    """Compute the log power of (N, H, W) in rings of frequency, (N, 12)."""
    height, width = brightness.shape[1:]
    power = np.abs(np.fft.rfft2(brightness - brightness.mean(axis=(1, 2), keepdims=True))) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    ring = np.minimum((radius / 0.5 * BANDS).astype(int), BANDS - 1)
    sums = np.stack([power[:, ring == band].sum(axis=1) / max(int((ring == band).sum()), 1) for band in range(BANDS)], axis=1)
    return np.log(sums / (height * width) + 1e-8)
