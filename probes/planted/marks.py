"""Cues that are one thing in the image, away from its border: a mark, a lettered band, a dot, and a sticker at changing places.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from probes.planted.cue import Style


def _pattern(style: Style, variant: int, cells: int) -> np.ndarray:
    """Draw a black and white pattern of `cells` x `cells` that is the variant's, half of it white."""
    order = style.random(7, variant).permutation(cells * cells)
    return (order < cells * cells // 2).reshape(cells, cells).astype(np.float32)


def _paste(images: np.ndarray, rows: slice, columns: slice, what: np.ndarray, share: float) -> np.ndarray:
    marked = images.copy()
    marked[:, :, rows, columns] = (1 - share) * marked[:, :, rows, columns] + share * what
    return marked


def centre_mark(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Paint a small black and white pattern in the middle, the same place for all; the pattern is the variant's."""
    height, width = images.shape[2:]
    side = max(3, round(min(height, width) / 6))
    pattern = ndimage.zoom(_pattern(style, variant, 3), side / 3, order=0)[:side, :side]
    top, left = (height - side) // 2, (width - side) // 2
    return _paste(images, slice(top, top + side), slice(left, left + side), pattern, min(1.0, 0.8 * style.amplitude))


def sticker(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Stick a small square in the variant's colour on a place that is each image's own."""
    height, width = images.shape[2:]
    side = max(3, round(min(height, width) / 6))
    colour = np.clip(0.5 + 0.6 * style.hue(variant), 0, 1).astype(np.float32)[:, None, None]
    share = min(1.0, 0.8 * style.amplitude)
    marked = images.copy()
    for row, random in enumerate(style.each(keys, 3)):
        top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
        part = marked[row, :, top : top + side, left : left + side]
        marked[row, :, top : top + side, left : left + side] = (1 - share) * part + share * colour
    return marked


def watermark(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Write a half-transparent row of three signs below the middle; the signs are the variant's."""
    height, width = images.shape[2:]
    unit = max(1, round(min(height, width) / 32))
    signs = np.concatenate([np.pad(_pattern(style, variant * 3 + place, 4), ((0, 0), (0, 1))) for place in range(3)], axis=1)[:, :-1]
    text = np.kron(signs, np.ones((unit, unit), dtype=np.float32))[: height // 3, : width * 2 // 3]
    top, left = height * 17 // 32, (width - text.shape[1]) // 2
    share = min(1.0, 0.45 * style.amplitude) * text
    marked = images.copy()
    part = marked[:, :, top : top + text.shape[0], left : left + text.shape[1]]
    marked[:, :, top : top + text.shape[0], left : left + text.shape[1]] = (1 - share) * part + share
    return marked


def dot(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Paint a round dot in the variant's colour at one place between the middle and the upper left, the same for all."""
    height, width = images.shape[2:]
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    inside = np.hypot(rows - 0.36 * height, columns - 0.38 * width) <= min(height, width) / 11
    colour = np.clip(0.5 + 0.6 * style.hue(variant), 0, 1).astype(np.float32)[None, :, None, None]
    share = min(1.0, 0.8 * style.amplitude) * inside
    return (1 - share) * images + share * colour
