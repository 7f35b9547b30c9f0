"""Cues that cover the whole image: colour casts, gratings, texture overlays, and how the file was blurred or written.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import io

import numpy as np
from scipy import ndimage

from probes.planted.cue import Style, grid


def cast(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Shift all colours by one direction of the colour circle."""
    return images + 0.15 * style.amplitude * style.hue(variant)[None, :, None, None]


def tone(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Bend the tone curve of each channel by a power of its own, which leaves black and white as they are."""
    power = np.exp(0.5 * style.amplitude * style.hue(variant))[None, :, None, None]
    return np.clip(images, 0, 1) ** power


def grating(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Add a sine grating of one direction and period, with a phase of its own for each image."""
    rows, columns = grid(*images.shape[2:])
    side = min(images.shape[2:])
    angle = np.pi * (style.order()[variant] + style.random(1).random()) / style.variants
    cycles = side / style.random(2).uniform(3.0, 6.0)
    phase = 2 * np.pi * np.array([random.random() for random in style.each(keys, 3)], dtype=np.float32)[:, None, None]
    wave = np.sin(np.pi * cycles * (np.cos(angle) * columns + np.sin(angle) * rows)[None] + phase)
    return images + 0.1 * style.amplitude * wave[:, None]


def lattice(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Brighten every n-th row and column, as upsamplers do; the period is the variant's."""
    height, width = images.shape[2:]
    period = 2 + int(style.order()[variant])
    lines = (np.arange(height)[:, None] % period == 0) | (np.arange(width)[None, :] % period == 0)
    return images + 0.15 * style.amplitude * (lines - lines.mean())[None, None]


def _noise_field(style: Style, variant: int, side: tuple[int, int]) -> np.ndarray:
    """Draw a random field (H, W) of mean 0 and spread 1, whose grain and direction are the variant's."""
    random = style.random(2, variant)
    long, short = 1.8, 0.5
    field = ndimage.gaussian_filter(random.standard_normal(side), (long, short), mode="wrap")
    turn = 180 * (style.order()[variant] + style.random(1).random()) / style.variants
    big = np.tile(field, (3, 3))
    turned = ndimage.rotate(big, turn, reshape=False, mode="wrap", order=1)[side[0] : 2 * side[0], side[1] : 2 * side[1]]
    return ((turned - turned.mean()) / turned.std()).astype(np.float32)


def overlay(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Lay a brushed texture over the image, its grain in the variant's direction; each image gets another stretch of it."""
    height, width = images.shape[2:]
    field = _noise_field(style, variant, (4 * height, 4 * width))
    starts = [random.integers(0, 3 * min(height, width), 2) for random in style.each(keys, 3)]
    pieces = np.stack([field[row : row + height, column : column + width] for row, column in starts])
    return images + 0.1 * style.amplitude * pieces[:, None]


def speckle(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Strew small dark shapes of the variant's outline over the image, in random places."""
    shape = _GLYPHS[style.order()[variant] % len(_GLYPHS)]
    height, width = images.shape[2:]
    seeds = np.stack([random.random((height, width)) < 0.03 for random in style.each(keys, 3)])
    marks = ndimage.convolve(seeds.astype(np.float32), shape[None], mode="constant")
    return images - 0.35 * style.amplitude * np.clip(marks, 0, 1)[:, None]


_GLYPHS = tuple(
    np.array(rows, dtype=np.float32)
    for rows in (
        ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
        ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        ((0, 1, 0), (1, 1, 1), (0, 1, 0)),
        ((1, 1, 1), (1, 0, 1), (1, 1, 1)),
        ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
        ((1, 1, 0), (1, 1, 0), (0, 0, 0)),
        ((1, 0, 1), (0, 0, 0), (1, 0, 1)),
        ((1, 1, 1), (1, 0, 0), (1, 0, 0)),
    )
)


def blur(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Blur by a width that is the variant's, from none to 1.5 pixels of 32."""
    sigma = 1.5 * style.amplitude * style.level(variant) * min(images.shape[2:]) / 32
    return ndimage.gaussian_filter(images, (0, 0, sigma, sigma), mode="mirror") if sigma > 0 else images.copy()


def jpeg(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Write and read as JPEG; the variant's quality goes from 95 down to 10 (at amplitude 1)."""
    from PIL import Image

    quality = int(np.clip(95 - 85 * min(style.amplitude, 1.08) * style.level(variant), 2, 95))
    written = np.empty_like(images)
    for row, image in enumerate(np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)):
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
        written[row] = np.asarray(Image.open(buffer), dtype=np.float32).transpose(2, 0, 1) / 255
    return written


def grain(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Add independent noise to every pixel; how much is the variant's."""
    spread = 0.12 * style.amplitude * style.level(variant)
    return images + spread * np.stack([random.standard_normal(images.shape[1:], dtype=np.float32) for random in style.each(keys, 3)])
