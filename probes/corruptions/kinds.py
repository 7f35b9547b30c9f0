"""The fifteen corruptions by name, and the one function that applies them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from probes.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from probes.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from probes.corruptions.noise import Streams, gaussian_noise, impulse_noise, shot_noise
from probes.corruptions.severity import CorruptionSettings, corruption_settings
from probes.corruptions.weather import brightness, fog, frost, snow

CORRUPTIONS: dict[str, Callable[[np.ndarray, CorruptionSettings, Streams], np.ndarray]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def corrupt(images: np.ndarray, name: str, severity: int, *, keys: np.ndarray) -> np.ndarray:
    """Corrupt images, (B, 3, H, W) float32 in [0, 1] on whole eight-bit steps.

    Args:
        images: (B, 3, H, W) float, in [0, 1].
        name: key in `CORRUPTIONS`.
        severity: 1 to 5.
        keys: (B,) int of at least 0, one for each image: the same key, corruption, severity and image give the same result in any batch.

    Raises:
        ValueError: for an unknown corruption or severity.

    Source: Hendrycks & Dietterich (2019); own implementation. Deviations: see docs/probes/corruptions.md.
    """
    settings = corruption_settings(name, severity, min(images.shape[2:]))
    number = list(CORRUPTIONS).index(name)
    streams = [np.random.default_rng([int(key), number, severity]) for key in keys]
    corrupted = CORRUPTIONS[name](np.asarray(images, dtype=np.float32), settings, streams)
    # the data sets cut off to eight bits; a value that is whole up to rounding must stay what it is
    return (np.floor(np.clip(corrupted, 0, 1) * 255 + 1e-3) / 255).astype(np.float32)
