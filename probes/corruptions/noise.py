"""Noise: Gaussian, shot and impulse. Images (B, 3, H, W) float32 in [0, 1] to the same; one random stream an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.corruptions.severity import CorruptionSettings

Streams = Sequence[np.random.Generator]
"""One generator for each image, so that an image's corruption does not depend on its batch."""


def gaussian_noise(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Add normal noise to every value; the number is its standard deviation."""
    drawn = np.stack([stream.standard_normal(images.shape[1:], dtype=np.float32) for stream in streams])
    return images + settings.numbers * drawn


def shot_noise(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Draw every value as a count of photons; the number is the count at full brightness."""
    return np.stack([stream.poisson(image * settings.numbers) for image, stream in zip(images, streams, strict=True)]) / settings.numbers


def impulse_noise(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Set a share of the values to black or white, half of them each; the number is the share."""
    drawn = np.stack([stream.random(images.shape[1:], dtype=np.float32) for stream in streams])
    return np.where(drawn < settings.numbers / 2, 0.0, np.where(drawn < settings.numbers, 1.0, images))
