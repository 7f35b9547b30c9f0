"""Cues of geometry: nothing is painted, what is there is moved. No exchange of the interventions carries them.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from probes.planted.cue import Style


def tilt(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Turn the image by an angle that is the variant's, from -30 to 30 degrees."""
    angle = 30 * style.amplitude * (2 * style.level(variant) - 1)
    return ndimage.rotate(images, angle, axes=(3, 2), reshape=False, order=1, mode="reflect")


def zoom(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Stretch the image in height and squeeze it in width, or the other way round, about its middle."""
    power = 0.5 * style.amplitude * (2 * style.level(variant) - 1)
    scale = np.array([1.0, 1.0, np.exp(power), np.exp(-power)])
    middle = (np.array(images.shape) - 1) / 2
    return ndimage.affine_transform(images, scale, offset=middle - scale * middle, order=1, mode="reflect")


def aberration(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Shift red and blue apart along the width; how far is the variant's."""
    shift = 2.0 * style.amplitude * style.level(variant) * images.shape[3] / 32
    moved = images.copy()
    for channel, step in ((0, shift), (2, -shift)):
        moved[:, channel] = ndimage.shift(images[:, channel], (0, 0, step), order=1, mode="nearest")
    return moved
