"""Cues of tone and colour that bend values without moving them: shades, gamma, saturation, and tints of shadows and lights.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import numpy as np

from probes.planted.cue import Style

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[None, :, None, None]


def posterise(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Round each channel to a few shades; how many is the variant's, from 3 up."""
    shades = 3 + 2 * int(style.order()[variant])
    rounded = np.round(np.clip(images, 0, 1) * (shades - 1)) / (shades - 1)
    share = min(1.0, style.amplitude)
    return (1 - share) * images + share * rounded


def gamma(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Brighten or darken all channels by one power, from a half to two."""
    return np.clip(images, 0, 1) ** (2 ** (style.amplitude * (2 * style.level(variant) - 1)))


def saturation(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Move colours away from grey or towards it, from nearly none to nearly twice the colour."""
    bright = (images * _LUMA).sum(axis=1, keepdims=True)
    return bright + (1 + 0.9 * min(style.amplitude, 1.1) * (2 * style.level(variant) - 1)) * (images - bright)


def split_tone(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Tint shadows with the variant's hue and lights with the opposite one, which leaves the mean colour nearly alone."""
    bright = (images * _LUMA).sum(axis=1, keepdims=True)
    return images + 0.4 * style.amplitude * (0.5 - bright) * style.hue(variant)[None, :, None, None].astype(np.float32)
